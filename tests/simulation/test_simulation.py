"""Seeded schedules hold every invariant, a seed replays, and broken variants are caught.

`scripts/sim` is the long lane: twenty thousand seeds, and every variant.
"""

import subprocess
import sys

import pytest

from tests.simulation.broken import VARIANTS, WITHIN_A_FEW
from tests.simulation.play import play
from tests.simulation.report import play_many

SEEDS = range(120)
FEW = 40


def test_schedules_hold() -> None:
    text = _sim("--count", str(len(SEEDS)))
    assert f"{len(SEEDS)} schedules, 0 failures" in text, text


def test_a_seed_plays_the_same_schedule_again() -> None:
    assert play(7).log == play(7).log


@pytest.mark.parametrize("name", WITHIN_A_FEW)
def test_a_broken_variant_is_caught(name: str) -> None:
    assert name in VARIANTS
    assert any(played.fault for played in play_many(0, FEW, name, stop=True))


def _sim(*arguments: str) -> str:
    command = [sys.executable, "-m", "tests.simulation.sim", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout
