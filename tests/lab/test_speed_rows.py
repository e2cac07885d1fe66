"""A table of measured speeds, however badly written, gets an answer or a reason per row."""

import csv
import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from scripts.lab.accuracy_speed import COLUMNS, command, observations, predicted, predictions
from scripts.lab.other_planners import llmfit_tps, whichllm_tps
from scripts.lab.speed_models import bits_of, named_size, rule_quant
from scripts.lab.speed_rows import case_of, engine_of
from scripts.lab.speed_served import served

FIELDS = (
    "source_id",
    "engine",
    "engine_version",
    "backend",
    "device",
    "hardware",
    "n_devices",
    "model",
    "params_b",
    "active_params_b",
    "quant",
    "model_gib",
    "test",
    "prompt_tokens",
    "gen_tokens",
    "depth",
    "batch",
    "flash_attn",
    "prefill_tps",
    "decode_tps",
    "total_tps",
    "spec_decode",
    "notes",
)
GOOD = {
    "engine": "llama.cpp",
    "hardware": "NVIDIA GeForce RTX 4090",
    "n_devices": "1",
    "model": "llama 8B",
    "params_b": "8.03",
    "quant": "Q4_K - Medium",
    "model_gib": "4.58",
    "test": "tg128",
    "gen_tokens": "128",
    "batch": "1",
}
NOWHERE = Path("/nonexistent-configs")


@settings(max_examples=150)
@given(
    st.dictionaries(
        st.sampled_from(FIELDS),
        st.one_of(
            st.text(max_size=20),
            st.integers(-5, 10**19).map(str),
            st.floats().map(str),
            st.sampled_from(["RTX 4090", "Apple M1", "llama 8B", "vllm", "Q4_K_M", "1e999"]),
        ),
    )
)
def test_no_row_stops_the_table(row: dict[str, str]) -> None:
    answer = predicted(0, {**GOOD, **row}, NOWHERE, {})
    assert answer.get("refused") or set(answer) == set(COLUMNS)
    assert "refused" in predicted(0, {"decode_tps": "3"}, NOWHERE, {})


def test_a_good_row_is_answered_with_ordered_percentiles_and_its_basis() -> None:
    answer = predicted(0, GOOD, NOWHERE, {})
    low, middle, high = (float(answer[f"decode_tps_{part}"]) for part in ("p10", "p50", "p90"))
    assert 50 < low < middle < high < 400
    assert answer["basis"].startswith("prior")


def test_observed_rows_are_learned_from_and_change_only_their_device() -> None:
    slow = {**GOOD, "decode_tps": "60"}
    other = {**GOOD, "hardware": "NVIDIA GeForce RTX 3090"}
    cold = predictions([GOOD, other], NOWHERE, [])
    warm = predictions([GOOD, other], NOWHERE, [slow])
    assert float(warm[0]["decode_tps_p50"]) < float(cold[0]["decode_tps_p50"])
    assert warm[0]["basis"] == "measured"
    assert warm[1] == cold[1]
    assert len(observations([slow, {"model": "?"}], NOWHERE)) == 1


def test_the_command_writes_every_row_in_order_with_its_columns(tmp_path: Path) -> None:
    table, out = tmp_path / "rows.csv", tmp_path / "out.csv"
    rows = [{**GOOD, "decode_tps": "130"}, {**GOOD, "model": "?", "params_b": "", "model_gib": ""}]
    with table.open("w", newline="") as target:
        writer = csv.DictWriter(target, FIELDS)
        writer.writeheader()
        writer.writerows(rows)
    asked = [str(table), "--configs", str(tmp_path), "--out", str(out), "--json"]
    done = CliRunner().invoke(command, asked)
    assert done.exit_code == 0, done.output
    said = json.loads(done.output)
    assert said["decode_tps"]["gddr"]["rows"] == 1
    written = list(csv.DictReader(out.read_text().splitlines()))
    assert [bool(row["refused"]) for row in written] == [False, True]
    assert set(COLUMNS) <= set(written[0])


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("empty.csv", b"", "no column model"),
        ("other.csv", b"a,b\n1,2\n", "no column model"),
        ("where.csv", b"model,quant\nx,y\n", "no column hardware or device"),
        ("torn.csv.gz", b"\x1f\x8b\x08torn", "is not gzip"),
        ("text.csv.gz", b"model", "is not gzip"),
    ],
)
def test_a_file_that_is_no_table_of_speeds_gets_one_clear_line(
    tmp_path: Path, name: str, content: bytes, said: str
) -> None:
    (tmp_path / name).write_bytes(content)
    done = CliRunner().invoke(command, [str(tmp_path / name), "--configs", str(tmp_path)])
    assert done.exit_code == 1
    assert said in done.output
    assert len(done.output.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("stated", "notes", "source", "meant"),
    [
        # Tensor and expert parallel over the same eight; the table multiplied them.
        ("64", "dp_attn=1 moe_tp=8 moe_ep=8", "agg_c32_tp8_ep8_9", (8, 1, 32, False)),
        ("16", "dp_attn=16 moe_tp=4 moe_ep=4; silicon_concurrency=64", "cfg717", (4, 4, 64, False)),
        ("16", "dp_attn=4 moe_tp=1 moe_ep=16", "agg_c8_tp4_ep4_1", (4, 4, 8, False)),
        # Two by two is four when the run's name says so.
        ("4", "dp_attn= moe_tp=2 moe_ep=2", "agg_c320_tp4_epnone_4", (4, 1, 320, False)),
        # Heads cannot be split over 72: groups of their own, some of them for prompts.
        ("72", "dp_attn=1 moe_tp=72 moe_ep=1", "agg_c448_tp72_ep1_1", (72, 72, 448, True)),
        ("8", "dp_attn=1 moe_tp=8 moe_ep=1", "agg_c16_tp8_ep1_1", (8, 1, 16, False)),
    ],
)
def test_a_served_row_says_how_many_devices_really_ran_it(
    stated: str, notes: str, source: str, meant: tuple[int, int, int, bool]
) -> None:
    how = served({"n_devices": stated, "notes": notes, "source": source, "batch": "2"})
    assert (how.devices, how.replicas, how.batch, how.apart) == meant


def test_what_rows_write_is_read_as_meant() -> None:
    assert engine_of("TensorRT-LLM") == engine_of("trtllm") == "trtllm"
    assert engine_of("llama.cpp (Vulkan)") == "llama.cpp"
    assert named_size("Qwen3-235B-A22B-Instruct") == (235.0, 22.0)
    assert named_size("Qwen2.5-0.5B-Instruct") == (0.5, 0.0)
    assert rule_quant("Q4_K - Medium", "llama 8B") == "Q4_K_M"
    assert rule_quant("mlx q4 g32", "x") == "MLX-4bit-g32"
    assert rule_quant("", "phi-4-Q4_K_M.gguf") == "Q4_K_M"
    assert bits_of("nvfp4", "") == 4.5


def test_the_other_planners_formulas_are_those_they_publish() -> None:
    row = {**GOOD, "decode_tps": "130"}
    case = case_of(0, row, NOWHERE)
    # 1,008 GB/s over half a byte per parameter, times 0.55.
    assert abs(llmfit_tps(case, row) - 0.55 * 1008e9 / (case.work.active * 0.5)) < 1e-6
    assert abs(whichllm_tps(case, row) - 0.55 * 1008e9 / case.work.weight_bytes(1)) < 1e-6
