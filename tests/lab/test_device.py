"""A table of real machines' memory: rows answered in their own unit, or refused with the reason."""

import csv
import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from scripts.lab.accuracy import main
from scripts.lab.device.models import base_name, quant_of, spec_of
from scripts.lab.device.report import answers, by_class, refusals, spread
from scripts.lab.device.rows import Answer, Row, backend_of, build_of

FIELDS = (
    "evidence engine engine_version model arch quant device n_gpu parallel n_ctx n_seq n_batch "
    "n_ubatch flash_attn kv_type_k kv_type_v swa_full kv_unified component buffer value unit note "
    "source"
).split()


def row(**given: str) -> Row:
    """A line of a log of Llama 3 8B on one card, but for what is given."""
    usual = {
        "evidence": "measured_log",
        "engine": "llama.cpp",
        "engine_version": "2824 4426e298",
        "model": "Meta-Llama-3-8B",
        "quant": "Q4_K - Medium",
        "device": "3090",
        "n_gpu": "1",
        "n_ctx": "8192",
        "n_ubatch": "512",
        "flash_attn": "0",
        "kv_type_k": "f16",
        "kv_type_v": "f16",
        "buffer": "CUDA0",
        "unit": "MiB",
    }
    return {**dict.fromkeys(FIELDS, ""), **usual, **given}


ROWS = [
    row(component="weights", value="4403.49"),
    row(component="weights", buffer="CPU", value="281.81"),
    row(component="kv", value="1024.00"),
    row(component="compute", value="560.00"),
    row(component="compute", buffer="CUDA_Host", value="24.01"),
    row(component="output", buffer="CUDA_Host", value="0.49"),
    row(component="kv", n_gpu="4", buffer="CUDA3", value="224.00"),
    row(component="compute", n_gpu="4", buffer="CUDA3", value="640.02"),
    row(component="weights", n_gpu="4", buffer="CUDA0", value="1130.62"),
]
APU = row(
    engine_version="5863 a4575513",
    model="shisa-v2-llama3.1-8b.i1-Q4_K_M.gguf",
    device="Strix Halo (AMD Eng Sample: 100-) Vulkan",
    n_ctx="2048",
    n_ubatch="",
    flash_attn="True",
    component="peak (GTT+VRAM)",
    buffer="UMA",
    value="5.40",
    unit="GiB",
    note="weights 4.575 GiB; vram_start=155 gtt_start=14",
)
FORK = row(engine="ik_llama.cpp (fork)", model="DeepSeek V3 0324", n_ctx="32768", flash_attn="1")
BOOT = row(
    engine="vLLM",
    engine_version="0.5.x",
    model="Llama-3.1-8B",
    quant="bf16",
    n_ctx="20000",
    kv_type_k="auto",
    component="kv_available",
    value="3.81",
    unit="GiB",
)


def test_lines_of_a_log_are_answered_to_the_log_s_own_digits() -> None:
    found = by_class(ROWS, answers(ROWS, None))
    assert sum(len(off) for off in found.values()) == len(ROWS)
    assert max(max(off) for off in found.values()) < 1e-9


def test_a_peak_of_an_apu_is_within_two_percent() -> None:
    off = by_class([APU], answers([APU], None))
    assert off["peak, vulkan on an APU"][0] < 2.0


def test_a_fork_s_cache_is_answered_by_the_type_its_log_declares() -> None:
    total = {"note": "mla=3 c^KV (q8_0): 1166.62 MiB, kv^T: not used", "component": "kv_total"}
    rows = [
        {**FORK, "component": "kv", "value": "1166.65", "note": "mla=3"},
        {**FORK, **total, "buffer": "all", "value": "1166.62"},
        {**FORK, "component": "compute", "value": "3425.00"},
    ]
    found = answers(rows, None)
    off = by_class(rows, found)["kv, fork"]
    assert len(off) == 2
    assert max(off) < 1e-4
    assert refusals(found) == [
        ("a fork's own graphs (fused experts, its modes of latent attention)", 1)
    ]


def test_blocks_follow_from_the_cache_the_same_boot_printed() -> None:
    blocks = {**BOOT, "component": "kv_blocks", "value": "1952", "unit": "blocks of 16"}
    found = answers([BOOT, blocks], None)
    assert isinstance(found[0], str)
    assert by_class([BOOT, blocks], found) == {"vLLM kv_blocks": [0.0]}
    assert answers([blocks], None) == ["the boot's own available cache is not in the table"]


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"model": "nobody-7b"}, "a model we do not know"),
        ({"engine": "hipfire"}, "an engine we do not plan"),
        ({"n_ctx": ""}, "the row names no context"),
        ({"kv_type_k": "turbo2"}, "unknown cache type 'turbo2'"),
        ({"component": "kv_weird"}, "no term of ours"),
    ],
)
def test_what_a_row_does_not_say_is_the_reason_it_is_not_answered(
    given: dict[str, str], reason: str
) -> None:
    found = answers([row(**{"component": "kv", "value": "1", **given})], None)
    assert isinstance(found[0], str)
    assert reason in found[0]


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Qwen3-30B-A3B-UD-Q4_K_XL.gguf", "qwen3-30b-a3b"),
        ("unsloth/Qwen3.6-27B-MTP-GGUF", "qwen3.6-27b"),
        ("GLM-4.5-Air-UD-Q4_K_XL-00001-of-00002.gguf", "glm-4.5-air"),
        ("google/gemma-3-1b-it", "gemma-3-1b"),
    ],
)
def test_names_of_files_lead_to_models(text: str, name: str) -> None:
    assert base_name(text) == name
    found = spec_of(text, None)
    assert found is not None
    assert found.name == name


def test_builds_backends_and_types_are_read_from_a_row() -> None:
    assert build_of(row(engine_version="b10102 / 85e22ea0b")) == 10102
    assert build_of(row(engine_version="")) == 0
    assert [backend_of(row(buffer=name)) for name in ("CUDA1", "Metal", "CPU")] == [
        "cuda",
        "metal",
        "cpu",
    ]
    assert backend_of(APU) == "vulkan"
    assert [quant_of(name) for name in ("Q4_K - Medium", "q8_0", "IQ4_KS_R4 - 4.25 bpw")] == [
        "Q4_K_M",
        "Q8_0",
        "",
    ]


def test_a_spread_counts_exact_rows() -> None:
    assert spread([0.0, 0.0, 1.0, 3.0]) == (4, 2, 0.5, 3.0, 3.0)


def test_the_command_prints_writes_rows_and_a_page(tmp_path: Path) -> None:
    table, out, doc = (tmp_path / name for name in ("rows.csv", "out.csv", "page.md"))
    with table.open("w", newline="") as target:
        writer = csv.DictWriter(target, FIELDS)
        writer.writeheader()
        writer.writerows([*ROWS, row(engine="hipfire", component="peak", value="1")])
    run = CliRunner().invoke
    arguments = ["device", str(table), "--out", str(out), "--doc", str(doc), "--json"]
    said = json.loads(run(main, arguments, catch_exceptions=False).stdout)
    assert said["rows"] == len(ROWS) + 1
    assert said["classes"]["kv, cuda"][0] == 2
    assert said["refused"] == [["an engine we do not plan", 1]]
    written = list(csv.DictReader(out.read_text().splitlines()))
    assert written[0]["said"] == "4403.4922"
    assert "9 of 10 rows are answered" in doc.read_text()
    assert "| compute, cuda | 2 | 2 |" in run(main, ["device", str(table)]).stdout


def test_an_answer_is_compared_in_the_row_s_unit() -> None:
    found = answers([ROWS[2]], None)[0]
    assert isinstance(found, Answer)
    assert found.said == 1 << 30


def test_mlx_s_own_benchmark_and_an_ollama_peak_are_answered() -> None:
    mlx = row(
        engine="mlx-lm",
        engine_version="0.28.2 / mlx 0.29.2.dev",
        model="Qwen/Qwen3-30B-A3B-Instruct-2507",
        quant="mlx q4",
        n_ctx="2048",
        component="peak",
        buffer="device",
        value="16.95",
        unit="GiB (as reported)",
        note="pp2048+tg128 Memory column is GB(1e9) peak 18.20",
    )
    ollama = row(
        engine="ollama",
        engine_version="",
        model="meta-llama/Llama-3.1-8B-Instruct",
        quant="Q4_K_M",
        device="RTX 3080",
        n_ctx="2048",
        component="peak",
        buffer="device",
        value="5.1",
        unit="GiB (as reported)",
        note="leaderboard gpuLayers=None tp=None kv=None cpu=None vram=12",
    )
    off = by_class([mlx, ollama], answers([mlx, ollama], None))
    assert off["peak, mlx-lm's own benchmark"][0] < 0.5
    assert off["peak, ollama as users noted it"][0] < 5.0


def test_a_boot_s_cache_is_worked_out_where_its_share_is_named() -> None:
    named = {**BOOT, "engine_version": "0.29/0.30", "n_ctx": "8192", "device": "H100"}
    share = {"note": "gpu_memory_utilization .9", "value": "54.0"}
    found = answers([{**named, **share}, named, BOOT], None)
    assert isinstance(found[0], Answer)
    assert found[0].kind == "vLLM available, before the boot"
    assert found[0].said / (1 << 30) == pytest.approx(54.06, abs=0.01)
    assert found[1:] == [
        "vLLM takes the share it is given; the row does not say which",
        "a release whose activations were not compiled",
    ]
