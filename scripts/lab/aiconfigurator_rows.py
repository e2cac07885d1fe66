"""AIConfigurator's own estimates of a table's server rows, for `speed-report --aiconfigurator`.

Run it with a Python that has the PyPI package `aiconfigurator`, which is none of ours:
python -m scripts.lab.aiconfigurator_rows SPEED.csv.gz --out FILE.csv [--every 10]
"""

import argparse
import contextlib
import csv
import gzip
import io
import logging
import re
from pathlib import Path

from scripts.lab.speed_served import Row, number, served

FIELDS = ("index", "tpot_ms", "refused")


def stated(row: Row, what: str) -> int:
    """ "tp", "pp", "dp_attn", "moe_tp" or "moe_ep" of a row's notes; 1 where it is not said."""
    found = re.search(rf"\b{what}=(\d+)", row.get("notes") or "")
    return int(found[1]) if found else 1


def arguments(row: Row) -> dict[str, object]:
    """What it is asked: the row's own split, batch and lengths, the newest release it has."""
    how = served(row)
    copies = stated(row, "dp_attn")
    many = re.search(r"silicon_concurrency=(\d+)", row.get("notes") or "")
    batch = int(many[1]) // copies if many else how.batch // copies
    return {
        "model_path": row["model"],
        "system_name": row["device"],
        "backend_name": row["engine"],
        "isl": int(number(row, "prompt_tokens")),
        "osl": int(number(row, "gen_tokens")),
        "batch_size": max(1, batch),
        "tp_size": stated(row, "tp"),
        "pp_size": stated(row, "pp"),
        "attention_dp_size": copies,
        "moe_tp_size": stated(row, "moe_tp"),
        "moe_ep_size": stated(row, "moe_ep"),
    }


def estimate(row: Row) -> tuple[str, str]:
    """(milliseconds a token, "") or ("", why not)."""
    from aiconfigurator.cli.api import cli_estimate  # type: ignore[import-not-found]

    try:
        with contextlib.redirect_stdout(io.StringIO()):
            return f"{cli_estimate(**arguments(row)).tpot:.4f}", ""
    except Exception as error:  # its own reasons are of many kinds
        return "", f"{type(error).__name__}: {str(error)[:100]}"


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
