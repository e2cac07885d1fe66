"""Devices are put in order by moving those out of it, and nobody else."""

from hypothesis import given
from hypothesis import strategies as st

from scripts.lab.fit_order import SETTLED, in_order, ordered


def test_what_is_in_order_stays() -> None:
    assert in_order([1.0, 2.0, 3.0], [[], [0], [0, 1]], [True, False, True]) == [1.0, 2.0, 3.0]


def test_two_that_were_measured_meet_half_way() -> None:
    one, other = in_order([2.0, 1.0], [[], [0]], [True, True])
    assert abs(one - 1.5) < 1e-5
    assert abs(other - 1.5) < 1e-5


def test_one_nobody_measured_is_held_to_what_beats_it_or_raised_to_what_it_beats() -> None:
    assert in_order([2.0, 1.0], [[], [0]], [False, True]) == [1.0, 1.0]
    assert in_order([2.0, 1.0], [[], [0]], [True, False]) == [2.0, 2.0]


@given(st.lists(st.tuples(st.floats(-3, 3), st.booleans()), min_size=2, max_size=12))
def test_afterwards_none_is_below_one_it_beats(chips: list[tuple[float, bool]]) -> None:
    beaten = [list(range(i)) for i in range(len(chips))]
    found = in_order([worth for worth, _ in chips], beaten, [seen for _, seen in chips])
    assert all(a <= b + SETTLED for a, b in zip(found, found[1:], strict=False))


def test_a_card_slower_than_a_lesser_one_is_raised_to_it() -> None:
    effects = {"eta local on RTX 4090": -0.3, "eta local": -0.2}
    after = ordered(effects, {"local RTX 3090"})
    # 936 GB/s of the RTX 3090 are what the 1,008 of the RTX 4090 must reach at least.
    assert after["eta local on RTX 4090"] >= -0.0742
