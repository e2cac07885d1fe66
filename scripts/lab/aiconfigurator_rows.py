"""AIConfigurator's own estimates of a table's server rows, for `speed-report --aiconfigurator`.

Run it with a Python that has the PyPI package `aiconfigurator` (0.12.0 was tried), none of ours:
python -m scripts.lab.aiconfigurator_rows SPEED.csv.gz --out FILE.csv [--every 10]
It needs nothing from the network, and some minutes for 1,846 rows.
"""

import argparse
import contextlib
import csv
import gzip
import io
import logging
import re
from functools import cache
from pathlib import Path

from scripts.lab.speed_served import Row, number, served

FIELDS = ("index", "tpot_ms", "refused")

# The published checkpoint of a row's model in the row's type whose config.json the package ships;
# of others it ships that of the row's own name.
CHECKPOINTS: dict[tuple[str, str], str] = {
    ("meta-llama/Llama-3.1-8B-Instruct", ""): "meta-llama/Meta-Llama-3.1-8B",
    ("zhipuai/GLM-5", "fp8"): "zai-org/GLM-5-FP8",
    ("zhipuai/GLM-5", "fp4"): "nvidia/GLM-5-NVFP4",
    ("MiniMaxAI/MiniMax-M2.5", "fp4"): "nvidia/MiniMax-M2.5-NVFP4",
    ("moonshotai/Kimi-K2.5", "fp4"): "nvidia/Kimi-K2.5-NVFP4",
    # R1, V3 and V3.1 are one architecture, quantised alike.
    ("deepseek-ai/DeepSeek-R1", "fp4"): "nvidia/DeepSeek-V3.1-NVFP4",
    ("deepseek-ai/DeepSeek-V3", "fp4"): "nvidia/DeepSeek-V3.1-NVFP4",
    ("nvidia/DeepSeek-R1-NVFP4", "fp4"): "nvidia/DeepSeek-V3.1-NVFP4",
}
# Kernels for MXFP4 experts that also round activations: what it calls recommended on Blackwell and
# TensorRT-LLM runs there; its own choice goes without, at a third of the speed.
MXFP4_KERNELS = {"moe_quant_mode": "w4a8_mxfp4_mxfp8"}
MEANINGS = (
    (r"OOM|does not fit|KV cache capacity", "does not fit the cards, it says"),
    (r"PerfDataNotAvailable|perf database|No (silicon|perf) data", "its tables lack a kernel"),
    (r"HuggingFaceDownload", "its package has no such model"),
)
APART = "prompts are read on other cards, the row does not say how many"


def stated(row: Row, what: str) -> int:
    """ "tp", "pp", "dp_attn", "moe_tp" or "moe_ep" of a row's notes; 1 where it is not said."""
    found = re.search(rf"\b{what}=(\d+)", row.get("notes") or "")
    return int(found[1]) if found else 1


def split_of(row: Row) -> dict[str, int]:
    """The parallelism of the devices it really ran on (see `served`): experts are divided as
    stated, and as whole experts where two ways of k devices each are stated of the same k."""
    how = served(row)
    copies = min(stated(row, "dp_attn"), how.devices)
    stages = stated(row, "pp")
    tensor, expert = stated(row, "moe_tp"), stated(row, "moe_ep")
    if tensor * expert != how.devices // stages:
        tensor, expert = (1, how.devices // stages) if expert > 1 else (how.devices // stages, 1)
    return {
        "tp_size": how.devices // (copies * stages),
        "pp_size": stages,
        "attention_dp_size": copies,
        "moe_tp_size": tensor,
        "moe_ep_size": expert,
    }


def arguments(row: Row) -> dict[str, object]:
    """What it is asked: the row's own split, batch and lengths, the newest release it has."""
    how, split = served(row), split_of(row)
    model = CHECKPOINTS.get((row["model"], row.get("quant") or ""), row["model"])
    return {
        "model_path": model,
        "system_name": row["device"],
        "backend_name": row["engine"],
        "isl": int(number(row, "prompt_tokens")),
        "osl": int(number(row, "gen_tokens")),
        "batch_size": max(1, how.batch // split["attention_dp_size"]),  # of each copy of attention
        **split,
    }


def meaning(reason: str) -> str:
    """Its reason in few words, so that rows can be counted by it."""
    for pattern, words in MEANINGS:
        if re.search(pattern, reason):
            return words
    return reason[:100]


@cache
def newest(system: str, engine: str) -> str | None:
    """The release it takes where none is said; looking it up for each row takes it a second."""
    from aiconfigurator_core.sdk.perf_database import (  # type: ignore[import-not-found]
        get_latest_database_version,
    )

    found: str | None = get_latest_database_version(system=system, backend=engine)
    return found


def ask(arguments: dict[str, object]) -> tuple[str, str]:
    """(milliseconds a token, "") or ("", why not)."""
    from aiconfigurator.cli.api import cli_estimate  # type: ignore[import-not-found]

    release = newest(str(arguments["system_name"]), str(arguments["backend_name"]))
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            return f"{cli_estimate(**arguments, backend_version=release).tpot:.4f}", ""
    except Exception as error:  # its own reasons are of many kinds
        return "", meaning(f"{type(error).__name__}: {error}")


def kernels(row: Row) -> list[dict[str, str]]:
    """The kernels to ask for, best first; {} is its own choice. A row in FP8 says which it ran."""
    if row["model"].startswith("openai/gpt-oss"):
        return [MXFP4_KERNELS, {}] if row["engine"] == "trtllm" else [{}, MXFP4_KERNELS]
    found = re.search(r"\bgemm=(fp8\w*) moe=(fp8\w*)", row.get("notes") or "")
    said = {"gemm_quant_mode": found[1], "moe_quant_mode": found[2]} if found else {}
    return [said, {}] if said else [{}]


def estimate(row: Row) -> tuple[str, str]:
    """The same of a row, by the first kernels its tables have."""
    if served(row).apart:
        return "", APART
    asked, why = arguments(row), ""
    for modes in kernels(row):
        tpot, why = ask({**asked, **modes})
        if tpot:
            return tpot, ""
    return "", why


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--every", type=int, default=1, help="ask of every so manieth row")
    asked = parser.parse_args()
    logging.disable(logging.CRITICAL)
    with gzip.open(asked.file, "rt") as source:
        rows = list(csv.DictReader(source))
    own = [i for i, row in enumerate(rows) if row["source_id"] == "aic_silicon"]
    with asked.out.open("w", newline="") as target:
        writer = csv.DictWriter(target, FIELDS)
        writer.writeheader()
        for index in own[:: asked.every]:
            tpot, refused = estimate(rows[index])
            writer.writerow({"index": index, "tpot_ms": tpot, "refused": refused})


if __name__ == "__main__":
    main()
