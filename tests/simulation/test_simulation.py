"""Two hundred seeded schedules hold every invariant, and each broken variant breaks one."""

import pytest

from tests.simulation.broken import VARIANTS
from tests.simulation.net import Broken
from tests.simulation.world import play

SEEDS = range(200)


@pytest.mark.parametrize("first", range(0, len(SEEDS), 20))
def test_peers_converge_and_lose_nothing_and_admit_no_forgery(first: int) -> None:
    for seed in SEEDS[first : first + 20]:
        play(seed)


def test_a_seed_plays_the_same_schedule_again() -> None:
    assert play(7).log == play(7).log


@pytest.mark.parametrize("name", sorted(set(VARIANTS) - {""}))
def test_a_broken_variant_is_caught(name: str) -> None:
    assert any(_fails(seed, name) for seed in SEEDS)


def _fails(seed: int, name: str) -> bool:
    try:
        play(seed, name)
    except Broken:
        return True
    return False
