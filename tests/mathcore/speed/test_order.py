"""A strictly better device is never slower, and fewer bytes never take longer."""

from itertools import pairwise

import pytest

from mathcore.catalogue.models import find_model
from mathcore.hardware.facts import cpus, gpus
from mathcore.speed.chip import Chip, chip_of_facts
from mathcore.speed.constants import prompt_s, rates_of, step_s
from mathcore.speed.terms import Run, decode_terms, prefill_terms
from mathcore.speed.work import Work, work_of
from scripts.lab.fit_order import beats

CHIPS = [chip_of_facts(facts) for facts in (*gpus(), *cpus())]
LADDER = ("F16", "Q8_0", "Q6_K", "Q5_K_M", "Q4_K_M", "IQ4_XS", "Q3_K_M", "Q2_K")
ROUNDING = 1.001  # of the priors' file


def work(name: str, quant: str) -> Work:
    spec = find_model(name)
    assert spec is not None
    return work_of(spec, quant)


def run(model: Work, prompt: int = 512, batch: int = 1) -> Run:
    """Shallow or deep, with the flags the planner gives it; nothing in the host's memory."""
    bits = 8.0 * model.weight_bytes(1.0) / model.active
    return Run(
        prompt=prompt,
        generated=128,
        depth=prompt + 64.0,
        bits=bits,
        batch=batch,
        offloaded_share=0.0,
        flags=("wide",) if bits >= 12 else (),
    )


def times(chip: Chip, how: Run, model: Work) -> tuple[float, float]:
    rates = rates_of(chip, how)
    step = step_s(decode_terms(chip, how, model), rates)
    return step, prompt_s(prefill_terms(chip, how, model), rates)


MODELS = [
    ("llama-3.2-1b", "Q4_K_M", 512, 1),
    ("llama-3.2-1b", "F16", 512, 1),
    ("qwen3-4b", "Q4_K_M", 32_768, 1),
    ("llama-3.1-8b", "Q4_K_M", 512, 1),
    ("llama-3.1-8b", "F16", 8192, 4),
    ("qwen3-32b", "Q8_0", 512, 1),
    ("llama-3.1-70b", "Q4_K_M", 512, 1),
    ("qwen3-30b-a3b", "Q4_K_M", 512, 1),
    ("gpt-oss-120b", "MXFP4_MOE", 2048, 1),
    ("llama-3.1-405b", "Q4_K_M", 512, 1),
]


@pytest.mark.parametrize(("name", "quant", "prompt", "batch"), MODELS)
def test_a_strictly_better_device_is_never_slower(
    name: str, quant: str, prompt: int, batch: int
) -> None:
    model = work(name, quant)
    how = run(model, prompt, batch)
    found = [(chip, times(chip, how, model)) for chip in CHIPS]
    worse = [
        (better.name, other.name, what)
        for better, mine in found
        for other, theirs in found
        if beats(better, other)
        for what, one, two in zip(("decode", "prefill"), mine, theirs, strict=True)
        if one > ROUNDING * two
    ]
    assert worse == []


@pytest.mark.parametrize("name", ["llama-3.2-1b", "llama-3.1-8b", "qwen3-30b-a3b", "qwen3-32b"])
def test_fewer_bytes_never_take_longer_on_any_device(name: str) -> None:
    models = [work(name, quant) for quant in LADDER]
    for chip in CHIPS:
        steps = [times(chip, run(model), model)[0] for model in models]
        for (wide, more), (narrow, less) in pairwise(zip(LADDER, steps, strict=True)):
            assert less <= more, (chip.name, wide, narrow)
