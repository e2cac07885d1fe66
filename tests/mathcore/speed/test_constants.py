"""Twenty constants in one list; each part of a time follows from the constant of its name."""

from dataclasses import fields, replace
from math import fsum

import pytest

from mathcore.speed.constants import (
    CONSTANTS,
    NAMES,
    PACE,
    Constant,
    Rates,
    prompt_parts,
    shown_parts,
    step_parts,
    step_s,
)
from mathcore.speed.terms import Terms

# Every term and rate a number of its own, so that no two parts are alike by chance.
TERMS = Terms(
    **{one.name: 1.0 + 0.17 * i for i, one in enumerate(fields(Terms)) if one.name != "passes"}
)
RATES = Rates(**{one.field: 0.3 + 0.11 * i for i, one in enumerate(CONSTANTS)})
# Constants that another one's part also depends on: cache over eta, wasted prompt work over mfu.
ALSO = {"eta": {"kappa"}, "mfu": {"fill", "scatter"}}


def moved(parts: list[float], others: list[float]) -> set[str]:
    return {name for name, a, b in zip(NAMES, parts, others, strict=True) if a != b}


def test_every_field_of_rates_is_one_constant() -> None:
    assert [one.field for one in CONSTANTS] + [PACE] == [one.name for one in fields(Rates)]
    assert len(set(NAMES)) == len(CONSTANTS)


@pytest.mark.parametrize("one", CONSTANTS, ids=NAMES)
def test_a_part_follows_from_the_constant_of_its_name(one: Constant) -> None:
    other = replace(RATES, **{one.field: 2.0 * getattr(RATES, one.field)})
    steps = moved(step_parts(TERMS, RATES), step_parts(TERMS, other))
    prompts = moved(prompt_parts(TERMS, RATES), prompt_parts(TERMS, other))
    assert steps | prompts == {one.name} | ALSO.get(one.name, set())


def test_a_release_s_pace_is_all_of_a_step_s_and_none_of_a_prompt_s() -> None:
    slower = replace(RATES, pace=1.3)
    assert step_s(TERMS, slower) == pytest.approx(1.3 * step_s(TERMS, RATES))
    assert prompt_parts(TERMS, slower) == prompt_parts(TERMS, RATES)


def test_what_is_shown_adds_up_to_the_step() -> None:
    shown = shown_parts(step_parts(TERMS, RATES))
    assert fsum(part for _, part in shown) == pytest.approx(step_s(TERMS, RATES))
    assert [cause for cause, _ in shown] == [
        "weights", "cache", "compute", "layers", "links", "sequences", "prompts", "host memory",
    ]  # fmt: skip
