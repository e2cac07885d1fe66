"""Bills of seeded histories hold, and each broken variant is caught.

`scripts/sim bills` is the long lane: ten thousand histories, and every variant.
"""

import pytest

from tests.simulation.bills.mutants import MUTANTS
from tests.simulation.bills.play import caught, play, play_many

SEEDS = 16
WITHIN = 40


def test_bills_hold() -> None:
    played = list(play_many(0, SEEDS, 1))
    assert [one.fault for one in played if one.fault] == []
    assert sum(one.lines for one in played) > 1000


def test_a_seed_gives_the_same_bill_again() -> None:
    assert play(5).lines == play(5).lines


@pytest.mark.parametrize("name", sorted(MUTANTS))
def test_a_broken_variant_is_caught(name: str) -> None:
    assert caught(name, WITHIN) != ""
