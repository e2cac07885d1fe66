"""Processors wait for memory, for each other, or unpack weights: which of them, and how long."""

from dataclasses import replace

import pytest

from mathcore.catalogue.models import find_model
from mathcore.data import read_rows
from mathcore.hardware.described import describe
from mathcore.hardware.facts import cpus
from mathcore.hardware.names import lookup_cpu
from mathcore.speed.chip import Chip, chip_of_facts
from mathcore.speed.predict import Speed, prior_speed
from mathcore.speed.processors import QUICK, USUAL_CORES, barriers, cores_of
from mathcore.speed.terms import Run, decode_terms
from mathcore.speed.work import Work, work_of

ROWS = read_rows("speed", "cores.csv")
RUN = Run(prompt=512, generated=128, depth=576.0, bits=4.9)


def work(name: str, quant: str = "Q4_K_M") -> Work:
    spec = find_model(name)
    assert spec is not None
    return work_of(spec, quant)


def chip(name: str) -> Chip:
    facts = lookup_cpu(name)
    assert facts is not None
    return chip_of_facts(facts)


def speed(text: str, model: str) -> Speed:
    """Of a processor as somebody writes it, with its memory."""
    what = describe(text)
    assert what.facts is not None
    found = replace(chip_of_facts(what.facts), bandwidth=float(what.bandwidth_bytes_per_s))
    return prior_speed(found, RUN, work(model))


def test_every_processor_has_its_cores_and_every_row_is_a_processor() -> None:
    assert {row["name"] for row in ROWS} == {fact.name for fact in cpus()} | {"Apple"}


@pytest.mark.parametrize("row", ROWS, ids=[row["name"] for row in ROWS])
def test_a_row_of_cores_is_in_its_units(row: dict[str, str]) -> None:
    assert list(row) == ["name", "cores", "ghz", "instructions", "share"]
    assert 1 <= int(row["cores"]) <= 256
    assert 1.0 <= float(row["ghz"]) <= 7.0
    assert row["instructions"] in QUICK | {"neon", "ssse3"}
    assert 0.1 <= float(row["share"]) <= 1.0


def test_case_06_a_described_processor_is_as_fast_as_its_memory() -> None:
    """llama.cpp#19480: Ryzen AI 9 HX PRO 370, DDR5-5600 x2, Q4_K_M: 3.54 and, early, 7.74 tok/s;
    15.4 (5.7-41.8) and 72.8 (26.8-197.9) were planned as if it were a graphics card."""
    for model, measured in (("qwen2.5-32b", 3.54), ("qwen3-next-80b-a3b", 7.74)):
        rate = speed("Ryzen AI 9 HX PRO 370 DDR5-5600 x2 96GB", model).decode_tps
        assert rate.p10 < measured < rate.p90
    # 89.6 GB/s over 19.8 GB is 4.5 steps a second: no engine reaches it, none is far below half.
    assert 2.0 < speed("Ryzen AI 9 HX PRO 370 DDR5-5600 x2", "qwen2.5-32b").decode_tps.p50 < 4.5


@pytest.mark.parametrize(
    ("slow", "fast"),
    [
        ("Ryzen 9 9950X 2x32GB DDR5-3600", "Ryzen 9 9950X 2x32GB DDR5-6400"),
        ("Core i9-14900K 1x32GB DDR5-5600", "Core i9-14900K 2x32GB DDR5-5600"),
        ("EPYC 7763 DDR4-3200 x4 256GB", "EPYC 7763 DDR4-3200 x8 256GB"),
    ],
)
def test_more_channels_and_faster_modules_are_faster(slow: str, fast: str) -> None:
    for model in ("llama-3-8b", "qwen2.5-32b"):
        assert speed(fast, model).decode_tps.p50 > speed(slow, model).decode_tps.p50


def test_a_layer_s_barriers_cost_more_the_more_cores_wait() -> None:
    assert barriers(USUAL_CORES) == 1.0
    assert barriers(192) > barriers(96) > barriers(24) > 1.0 > barriers(4)


def test_an_old_core_unpacks_more_slowly_than_memory_brings() -> None:
    """Published: 1.09 tok/s of a 3B model on a Core 2 Quad, 1.60 on a Raspberry Pi 400."""
    small = work("llama-3.2-3b")
    for name, measured in (("Core 2 Quad Q8400", 1.09), ("Raspberry Pi 400", 1.60)):
        old = chip(name)
        bound = decode_terms(old, RUN, small).weights
        assert bound > small.weight_bytes(1.0) / old.bandwidth
        rate = prior_speed(old, RUN, small).decode_tps
        assert rate.p10 < measured < rate.p90


def test_an_unknown_processor_has_the_usual_cores() -> None:
    assert cores_of("Core i5-12400").count == USUAL_CORES
    assert cores_of("Apple M2 Pro").share < 1.0


def test_cores_answer_many_at_once_no_faster_than_they_multiply() -> None:
    """A column comes free while memory brings the weights; sixty-four do not."""
    cpu, model = chip("Ryzen 9 9950X"), work("llama-3-8b")
    one = prior_speed(cpu, RUN, model)
    many = prior_speed(cpu, replace(RUN, batch=64), model)
    together = 64 * many.decode_tps.p50
    assert one.decode_tps.p50 < together
    # 64 tokens a step are 64 x 16 billion operations: at 0.7 TFLOP/s at least 1.4 s.
    assert many.step_s.p50 > 2.0 * model.active * 63 / cpu.flops
