"""Of millions of older jobs eight bytes each remain, and each is still known."""

import random

from hypothesis import given
from hypothesis import strategies as st

from mesh.state import retired
from mesh.state.peer_id import short_id
from mesh.state.retired import Hashes, Retired
from tests.state.trust_story import NAMES

ANA, BEN = NAMES["ana"], NAMES["ben"]


@given(st.sets(st.integers(0, 2**64 - 2), max_size=400), st.integers(2, 40))
def test_a_set_of_hashes_holds_what_was_put_in_and_nothing_else(
    numbers: set[int], run: int
) -> None:
    was, retired.RUN = retired.RUN, run
    try:
        kept = Hashes()
        for one in numbers:
            kept.add(one)
    finally:
        retired.RUN = was
    assert kept.every() == sorted(numbers)
    assert all(one in kept for one in numbers)
    assert not any(one + 1 in kept for one in numbers if one + 1 not in numbers)


def test_runs_stay_few_and_small() -> None:
    rng, kept = random.Random(7), Hashes()
    for _ in range(50_000):
        kept.add(rng.randrange(2**64))
    assert len(kept.runs) <= 4
    assert sum(map(len, kept.runs)) + 8 * len(kept.fresh) == 8 * 50_000


def test_an_older_job_is_known_by_its_home_and_counted_by_how_it_ended() -> None:
    old = Retired()
    named = f"j-{short_id(ANA)}-1"
    old.add(named, "succeeded", ANA, (5, 0, 1), set())
    old.add("a-clients-own", "failed", BEN, (6, 0, 2), {ANA})
    assert (old.home(named), old.home("a-clients-own"), old.home("j-other")) == (ANA, BEN, None)
    assert old.home(f"j-{short_id(ANA)}-2") is None
    assert sorted(old.statuses()) == [("failed", 1), ("succeeded", 1)]
    assert (old.count(ANA), old.count(BEN), old.count("nobody")) == (1, 1, 0)
    assert old.named_by(ANA)  # it spoke of a job of ben's
    assert old.named_by(BEN)  # somebody spoke of its own
