"""`fleet capacity` for every engine: users, contexts, cards, and the figures of its log.

Questions people ask of vLLM (kaito#2319, vllm#34076): users at 8k on an H100, an H20, two A100s.
"""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from mathcore.api import GIB, Query, find_model, plan
from mathcore.engines.options import EngineOptions
from mathcore.model.spec import ModelSpec, SpecError
from mathcore.planner.served.capacity import served_capacity
from mesh.api.errors import RequestError
from mesh.cli.app import fleet
from mesh.cli.exits import Stop
from tests.mathcore.fixtures import device

H100 = [{"name": "h100", "gpu": "H100 80GB", "backends": "vllm"}]
A100S = [{"name": "a100x2", "gpu": "A100 80GB", "count": 2, "backends": "vllm"}]
H20 = [{"name": "h20", "gpu": "H20", "memory": "96GiB", "backends": "vllm"}]
SIX = [{"name": "six", "gpu": "RTX 3090", "count": 6, "backends": "vllm"}]


def model(name: str) -> ModelSpec:
    spec = find_model(name)
    assert spec is not None
    return spec


@pytest.fixture
def ask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Runs `fleet capacity` for hardware described, and gives its rows."""
    monkeypatch.setenv("FLEET_HOME", str(tmp_path / "home"))

    def run(hardware: list[dict[str, object]], *words: str) -> list[dict[str, Any]]:
        path = tmp_path / "fleet.json"
        path.write_text(json.dumps(hardware))
        command = ["capacity", *words, "--fleet", str(path), "-o", "json"]
        said: Result = CliRunner().invoke(fleet, command, catch_exceptions=False)
        found: list[dict[str, Any]] = json.loads(said.stdout)
        return found

    return run


def test_users_at_8k_on_an_h100(ask: Any) -> None:
    words = ("llama-3.1-8b", "-c", "8k", "--gpu-memory-utilization", "0.9")
    (row,) = ask(H100, *words, "--quant", "HF-BF16")
    log = row["engine_log"]
    assert row["engine_build"].startswith("vLLM ")
    assert log["requested_bytes"] == 85_017_493_504 * 9 // 10
    assert log["needed_kv_cache_bytes"] == GIB
    assert row["most_sequences"] == log["available_kv_cache_bytes"] // GIB == 54
    assert log["kv_cache_tokens"] == log["gpu_blocks"] * 16


@pytest.mark.parametrize(
    ("hardware", "name", "quant", "cards"),
    [
        (A100S, "llama-3.3-70b", "HF-BF16", 2),
        (A100S, "qwen2.5-72b", "FP8", 2),
        (H20, "qwen3-32b", "HF-BF16", 1),
        (H20, "gpt-oss-120b", "MXFP4", 1),
        (SIX, "llama-3.3-70b", "FP8", 6),
        (SIX, "qwen3-32b", "FP8", 6),
    ],
)
def test_questions_people_ask_are_answered(
    ask: Any, hardware: list[dict[str, object]], name: str, quant: str, cards: int
) -> None:
    (row,) = ask(hardware, name, "-c", "8k", "--quant", quant)
    assert row["most_sequences"] > 0
    assert row["cards"] == cards
    assert row["largest_context"] >= 8192


def test_six_cards_are_two_that_split_layers_times_three_stages(ask: Any) -> None:
    (row,) = ask(SIX, "llama-3.3-70b", "-c", "8k", "--quant", "FP8")
    assert (row["cards"], row["stages"]) == (6, 3)
    (four,) = ask(SIX, "llama-3.3-70b", "-c", "8k", "--quant", "FP8", "--tensor-parallel", "4")
    assert (four["cards"], four["stages"]) == (4, 1)


def test_the_engine_s_own_flags_decide(ask: Any) -> None:
    words = ("llama-3.1-8b", "--max-model-len", "8192", "--quant", "HF-BF16")
    (usual,) = ask(H100, *words)
    (few,) = ask(H100, *words, "--max-num-seqs", "16")
    (small,) = ask(H100, *words, "--gpu-memory-utilization", "0.5")
    (wide,) = ask(H100, *words, "--kv-cache-dtype", "fp8")
    assert few["most_sequences"] == 16
    assert small["most_sequences"] < usual["most_sequences"] < wide["most_sequences"]
    assert usual["engine_log"]["max_num_seqs"] == 1024
    (states,) = ask(H100, "qwen3-next-80b-a3b", "--quant", "AWQ")
    (floats,) = ask(
        H100, "qwen3-next-80b-a3b", "--quant", "AWQ", "--mamba-ssm-cache-dtype", "float32"
    )
    block = "attention_block_tokens"
    assert (states["engine_log"][block], floats["engine_log"][block]) == (544, 1056)
    (plain,) = ask(H100, "qwen3-next-80b-a3b", "--quant", "AWQ", "--no-prefix-caching")
    assert plain["most_sequences"] > states["most_sequences"]


@pytest.mark.parametrize("engine", ["sglang", "tgi"])
def test_other_servers_answer_too(ask: Any, engine: str) -> None:
    here = [{"name": "h100", "gpu": "H100 80GB", "backends": engine}]
    (row,) = ask(here, "qwen3-32b", "-c", "8k", "--quant", "FP8")
    assert row["engine"] == engine
    assert row["most_sequences"] > 0
    key = "mem_fraction_static" if engine == "sglang" else "kv_cache_tokens"
    assert row["engine_log"][key] > 0


def test_ollama_answers_with_its_own_slots(ask: Any) -> None:
    here = [{"name": "rig", "gpu": "RTX 4090", "backends": "ollama"}]
    (many,) = ask(here, "qwen3-8b", "--quant", "Q4_K_M", "-c", "8k")
    (one,) = ask(here, "qwen3.5-9b", "--quant", "Q4_K_M", "-c", "8k")
    assert many["engine_build"].startswith("Ollama ")
    assert many["engine_start"] == {"num_ctx": 32_768, "num_parallel": 1, "num_batch": 1024}
    assert many["most_sequences"] > one["most_sequences"] == 1


def test_the_smallest_hardware_that_holds_it_is_named(ask: Any) -> None:
    words = ("llama-3.1-8b", "-c", "8k", "--engine", "vllm", "--smallest")
    (one,) = ask(H100, *words, "--quant", "HF-BF16")
    (many,) = ask(H100, *words, "--quant", "HF-BF16", "-b", "32")
    assert one["smallest"] == "RTX 4090"
    assert many["smallest"] in ("RTX A6000", "A100 80GB")


def test_what_an_engine_does_not_know_is_refused_by_name(ask: Any) -> None:
    refused: tuple[tuple[tuple[str, ...], str], ...] = (
        (("--engine", "vlm"), "engine: unknown 'vlm'"),
        (("--kv-type", "q4_0"), "vllm has no cache of q4_0"),
        (("--gpu-memory-utilization", "1.5"), "gpu_memory_utilization"),
        (("-b", "8", "--max-num-seqs", "4"), "max_num_seqs 4 serves 4"),
        (("--engine", "mlx"), "does not run mlx"),
        (("--tensor-parallel", "3"), "told to use 3 cards"),
    )
    for words, text in refused:
        with pytest.raises((Stop, RequestError), match=text):
            ask(H100, "llama-3.1-8b", *words)


@pytest.mark.parametrize(
    ("name", "engine", "changes", "text"),
    [
        ("llama-3.1-8b", "vllm", {"tensor_parallel": 3}, "32 heads do not divide by 3"),
        ("llama-3.1-8b", "vllm", {"tensor_parallel": 8}, "told to use 8 cards, and here are 4"),
        ("llama-3.1-8b", "tgi", {"pipeline_parallel": 2}, "without a pipeline"),
        ("deepseek-v4-flash", "vllm", {}, "compress_ratios"),
        ("qwen3.5-9b", "ollama", {}, "one request at a time"),
    ],
)
def test_a_plan_says_why_an_engine_cannot_even_start(
    name: str, engine: str, changes: dict[str, int], text: str
) -> None:
    here = device("d", 100 * GIB, count=4, engines=(engine,))
    query = Query(
        model=model(name),
        model_ref="m",
        engine=engine,
        batch=2,
        sets=False,
        options=EngineOptions(**changes),  # type: ignore[arg-type]
    )
    (refusal,) = plan(query, [here]).refusals
    assert text in refusal.text


OPTIONS = EngineOptions(memory_permille=900)


def question(spec: ModelSpec, engine: str = "vllm", context: int = 4096) -> Query:
    return Query(
        model=spec,
        model_ref="m",
        engine=engine,
        quant="HF-BF16",
        context=context,
        options=OPTIONS,
    )


@pytest.mark.parametrize("engine", ["vllm", "tgi", "sglang"])
@pytest.mark.parametrize(
    ("name", "free", "context"), [("llama-3.1-8b", 40, 4096), ("qwen3-14b", 60, 3000)]
)
def test_the_most_users_are_planned_and_one_more_is_not(
    engine: str, name: str, free: int, context: int
) -> None:
    spec = model(name)
    here = device("d", free * GIB, engines=(engine,))
    most = served_capacity(question(spec, engine, context), here).sequences
    assert 0 < most < 200

    def planned(batch: int) -> bool:
        query = Query(
            model=spec,
            model_ref="m",
            quant="HF-BF16",
            batch=batch,
            context=context,
            engine=engine,
            options=OPTIONS,
        )
        return bool(plan(query, [here]).placements)

    assert planned(most)
    assert not planned(most + 1)


def test_a_share_that_is_not_free_stops_the_engine() -> None:
    here = device("d", 10 * GIB, memory_bytes=24 * GIB, engines=("vllm",))
    assert served_capacity(question(model("llama-3.2-1b")), here).sequences == 0


def test_a_device_without_the_engine_is_told_so() -> None:
    asked = question(model("llama-3.2-1b"))
    with pytest.raises(SpecError, match="does not run vllm"):
        served_capacity(asked, device("d", 10 * GIB))


@pytest.mark.parametrize(
    ("engine", "words"),
    [
        ("vllm", "GPU KV cache size: "),
        ("sglang", "max_total_num_tokens="),
        ("tgi", "KV-cache blocks: "),
    ],
)
def test_each_log_is_told_in_its_engine_s_own_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, engine: str, words: str
) -> None:
    monkeypatch.setenv("FLEET_HOME", str(tmp_path / "home"))
    command = ["capacity", "llama-3.1-8b", "--what-if", "H100", "--engine", engine, "-c", "8k"]
    said = CliRunner().invoke(fleet, command, catch_exceptions=False).stdout
    assert words in said
    plan_command = ["plan", "llama-3.1-8b", "--what-if", "H100", "--engine", engine, "--explain"]
    assert words in CliRunner().invoke(fleet, plan_command, catch_exceptions=False).stdout
