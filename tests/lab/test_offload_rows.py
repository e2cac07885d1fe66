"""Runs with part of the weights in host memory, as the planner is asked of them."""

from dataclasses import replace
from pathlib import Path

import pytest

from mathcore.speed.bars import NOBODY_KNOWS, fallbacks, spread_keys
from scripts.lab.fit_bars import bars_without_device, miss_of, surely_spilled
from scripts.lab.fit_model import facts_of
from scripts.lab.offload_rows import aside, device_of, flags_of, offload_cases, read_offload
from scripts.lab.speed_rows import chip_of_case, run_of

HEAD = "engine,model,file_gb,device,cpu_ram,placement,n_ctx,prefill_tps,decode_tps,vram_gb,source\n"
SPLIT = "llama.cpp,Qwen3-30B-A3B,18,1x RTX 3090,DDR5 80 GB/s,-ncmoe 24,8192,30,40,,x\n"
TWO = "llama.cpp,gpt-oss-120b (ggml-org GGUF),,2x RTX 5090,,--n-cpu-moe 3,131072,,108,,x\n"
BARE = "ollama,qwen3-8b,5,none (CPU only),DDR5,CPU,,,9,,x\n"
FORK = "fork,qwen3-8b,5,RTX 4090,,experts host RAM read over PCIe,,,40,,x\n"


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "offload.csv"
    path.write_text(HEAD + SPLIT + TWO + BARE + FORK)
    return path


def test_a_row_s_words_are_llama_cpps_options() -> None:
    assert flags_of("-ncmoe 38 + per_layer_token_embd=CPU").cpu_experts == 38
    assert flags_of("-ncmoe 38 + per_layer_token_embd=CPU").on_host == ("per_layer_token_embd",)
    assert flags_of("-ncmoe 24 -ts 2.7,1").split == (2700, 1000)
    assert flags_of("-cmoe -b 2048 -ub 2048").micro_batch == 2048
    assert flags_of("-cmoe").cpu_experts == flags_of("-cmoe -ub 512").cpu_experts == 1000
    assert flags_of("--n-cpu-moe 3").cpu_experts == 3
    assert flags_of("MoE split").cpu_experts is None


def test_rows_that_ask_something_else_are_left_aside_with_a_reason(table: Path) -> None:
    cases, left = offload_cases(read_offload(table), 1000)
    assert [case.index for case in cases] == [1000, 1001]
    assert [one.why.split()[0] for one in left] == ["nothing", "a"]
    assert aside(left[0].row)


def test_a_row_the_planner_refuses_is_left_aside_with_its_words(tmp_path: Path) -> None:
    path = tmp_path / "offload.csv"
    path.write_text(HEAD + TWO.replace("2x", "1x"))
    cases, (one,) = offload_cases(read_offload(path), 0)
    assert cases == []
    assert "missing" in one.why


def test_the_run_is_the_planner_s_own_and_the_work_as_large_as_the_file(table: Path) -> None:
    (split, two), _ = offload_cases(read_offload(table), 0)
    assert run_of(split) is split.asked
    assert split.asked is not None
    assert 0.1 < (split.asked.offloaded_share or 0.0) < 0.6  # half of the routed experts
    assert split.asked.ram_bandwidth == 80e9
    assert split.work.total_bytes == 18_000_000_000
    assert two.devices == 2
    assert two.facts is not None
    assert two.facts.name == "RTX 5090"
    assert device_of(read_offload(table)[1]).count == 2


def test_they_make_bars_of_partial_offload(table: Path) -> None:
    cases, _ = offload_cases(read_offload(table), 0)
    assert {fact.what for fact in facts_of(cases)} == {"decode"}
    misses = [miss_of(case, "decode", 0.4, 0.4) for case in cases]
    assert [miss.kind for miss in misses if miss is not None] == ["spilled", "spilled"]
    low, high = bars_without_device([miss for miss in misses if miss is not None])[0]
    assert low < 0.0 < high


def test_a_model_that_merely_may_not_fit_says_nothing_of_partial_offload(table: Path) -> None:
    (case, _), _ = offload_cases(read_offload(table), 0)
    chip = chip_of_case(case)
    assert chip is not None
    assert surely_spilled(case, chip)
    assert chip.memory_bytes > case.work.total_bytes
    assert not surely_spilled(replace(case, asked=None), chip)


def test_bars_of_whole_models_never_stand_for_those_of_split_ones() -> None:
    assert spread_keys("decode", "gddr", "spilled") == ["decode gddr spilled", "decode spilled"]
    assert fallbacks("reported") == ("reported", "known")
    assert NOBODY_KNOWS == (-1.0, 1.0)
