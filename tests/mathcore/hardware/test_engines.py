"""Engines a device could run follow from its architecture."""

import pytest

from mathcore.data import read_rows
from mathcore.hardware.described import describe
from mathcore.hardware.engines import engines_for
from mathcore.hardware.facts import KINDS, cpus, gpus
from mathcore.quant.families import ENGINES

ROWS = read_rows("hardware", "engines.csv")


@pytest.mark.parametrize(
    ("text", "engines"),
    [
        ("H100", "llama.cpp ollama sglang tgi vllm"),
        ("RTX 5090", "llama.cpp ollama sglang vllm"),
        ("GTX 1080 Ti", "llama.cpp ollama"),  # vLLM needs compute capability 7.0
        ("V100", "llama.cpp ollama vllm"),
        ("MI300X", "llama.cpp ollama sglang tgi vllm"),
        ("MI50 32GB", "llama.cpp ollama"),
        ("7900 XTX", "llama.cpp ollama vllm"),
        ("RX 6800 XT", "llama.cpp ollama"),
        ("Arc B580", "llama.cpp"),
        ("M4 Max", "llama.cpp mlx ollama"),
        ("Mac Studio 192GB", "llama.cpp mlx ollama"),
        ("EPYC 9654 768GB", "llama.cpp ollama"),
        ("CPU 64GB", "llama.cpp ollama"),
        ("banana 24GB", "llama.cpp"),
        ("TPU v5e", "vllm"),
        ("SN40L", ""),
    ],
)
def test_hardware_could_run_these(text: str, engines: str) -> None:
    what = describe(text)
    assert engines_for(what.facts, what.kind) == tuple(engines.split())


def test_every_row_says_why_and_names_an_engine_and_architectures_we_know() -> None:
    known = {fact.arch for fact in gpus() + cpus()} | set(KINDS)
    for row in ROWS:
        assert row["engine"] in ENGINES
        assert row["why"]
        assert set(row["architectures"].split()) <= known, row
    pairs = [(row["engine"], arch) for row in ROWS for arch in row["architectures"].split()]
    assert len(pairs) == len(set(pairs))


def test_every_device_but_the_one_with_a_stack_of_its_own_runs_something() -> None:
    idle = {fact.name for fact in gpus() + cpus() if not engines_for(fact, fact.kind)}
    assert idle == {"SN40L"}
