"""Schedules of budgets hold every invariant, and broken variants are caught.

`scripts/sim budgets` is the long lane: ten thousand seeds, and every variant.
"""

import re
import subprocess
import sys

import pytest

from tests.simulation.budgets.mutants import MUTANTS
from tests.simulation.budgets.plots import CALLS, lost_owners, parallel
from tests.simulation.budgets.report import play
from tests.simulation.budgets.world import CENT

SEEDS = 40
# (variant, seeds within which it is caught)
FAST = [
    ("called_before_disk", 6),
    ("checked_now_deducted_when_written", 2),
    ("cap_by_own_view", 2),
    ("forgotten_at_restart", 20),
    ("lost_answers_cost_nothing", 2),
    ("taken_again", 2),
    ("gifts_of_anybody", 4),
]


def test_schedules_hold() -> None:
    text = _sim("--count", str(SEEDS))
    assert f"{SEEDS} schedules, 0 failures" in text, text
    counted = re.search(r"(\d+) purchases admitted \((\d+) with an owner out of reach\)", text)
    assert counted is not None, text
    assert 0 < int(counted[2]) < int(counted[1])


def test_a_seed_plays_the_same_schedule_again() -> None:
    first, again = play(5), play(5)
    first.cpu_s = again.cpu_s = 0
    assert first == again
    assert first.admitted > 0


@pytest.mark.parametrize(("name", "within"), FAST)
def test_a_broken_variant_is_caught(name: str, within: int) -> None:
    text = _sim("--broken", name, "--within", str(within))
    assert f"{name}: caught by" in text, text


def test_every_variant_leaves_the_code_as_it_was() -> None:
    for name in MUTANTS:
        play(0, name)
    assert play(0).fault == ""


@pytest.mark.parametrize("seed", range(4))
def test_of_fifty_requests_at_once_so_many_are_admitted_as_the_cap_has_room_for(seed: int) -> None:
    admitted, run = parallel(seed, CALLS, 100 * CENT, 5 * CENT)
    assert 0 < run <= admitted
    assert admitted >= 20 or run < admitted  # fewer only where the process crashed


def test_with_all_owners_gone_what_was_taken_can_be_spent_and_no_more() -> None:
    assert sum(map(lost_owners, range(4))) > 0


def _sim(*arguments: str) -> str:
    command = [sys.executable, "-m", "tests.simulation.budgets.sim", *arguments, "--jobs", "1"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout + done.stderr
