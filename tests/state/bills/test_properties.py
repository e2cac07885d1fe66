"""What holds of the bill of any history; `scripts/sim bills` is the long lane."""

from fractions import Fraction
from random import Random

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mesh.state.bills.cells import occupancy
from mesh.state.bills.inputs import Run
from mesh.state.bills.lines import apportion
from tests.simulation.bills.checks import (
    adds_up,
    check,
    order_changes_nothing,
    rentals_are_whole,
    sane,
    stays_as_known,
    wear_is_whole,
    windows_change_nothing,
)
from tests.simulation.bills.history import ZONES, History

SLOW = [HealthCheck.too_slow, HealthCheck.data_too_large]
FEW = settings(max_examples=15, suppress_health_check=SLOW)
dice = st.randoms(use_true_random=False)


@FEW
@given(dice)
def test_jobs_idle_and_unknown_are_the_device_and_the_fleet_in_every_zone(one: Random) -> None:
    history = History(one)
    for zone in ZONES:
        adds_up(history.bill().lines, zone)


@FEW
@given(dice)
def test_a_bill_is_what_an_account_in_fractions_says(one: Random) -> None:
    assert check(one) >= 0


@FEW
@given(dice)
def test_the_order_of_events_and_copies_change_nothing(one: Random) -> None:
    history = History(one)
    order_changes_nothing(history, history.bill())


@FEW
@given(dice)
def test_idle_is_never_below_zero_and_unknown_never_zero(one: Random) -> None:
    sane(History(one).bill().lines)


@FEW
@given(dice)
def test_wear_is_exactly_what_the_device_lost(one: Random) -> None:
    history = History(one)
    wear_is_whole(history.given(), history.bill().lines, history.now)


@FEW
@given(dice)
def test_a_rental_costs_its_prices_its_minimum_and_its_disk(one: Random) -> None:
    history = History(one)
    rentals_are_whole(history.given(), history.bill(), history.now)


@FEW
@given(dice)
def test_a_bill_as_known_stays_and_a_bill_since_a_day_is_the_whole_bills_end(one: Random) -> None:
    history = History(one)
    windows_change_nothing(history, history.given(), history.bill())
    stays_as_known(history, history.bill())


run = st.builds(
    lambda n, units, memory: Run(
        job=f"j{n}", device="d", spans=((0, 1),), units=units, reserved_bytes=memory
    ),
    st.integers(0, 3),
    st.integers(1, 9),
    st.none() | st.integers(1, 1 << 40),
)


@given(st.integers(0, 9), st.lists(run, min_size=1, max_size=5))
def test_nobody_pays_more_with_others_than_alone(count: int, runs: list[Run]) -> None:
    together = occupancy(count, runs, "idle")
    whole = sum(together.values())
    assert (count > 0) == bool(together)
    for place, one in enumerate(runs if count else ()):
        by_itself = occupancy(count, [one], "idle")
        alone = Fraction(by_itself[one.job, 0], sum(by_itself.values()))
        assert Fraction(together[one.job, place], whole) <= alone


@given(
    st.integers(-(10**20), 10**20),
    st.dictionaries(st.text(max_size=3), st.integers(0, 10**12), min_size=1, max_size=9),
)
def test_parts_add_up_and_each_is_next_to_its_share(whole: int, weights: dict[str, int]) -> None:
    parts = apportion(whole, weights)
    assert sum(parts.values()) == whole
    below = sum(weights.values())
    for key, part in parts.items():
        share = Fraction(whole * weights[key], below) if below else Fraction(whole, len(weights))
        assert abs(part - share) < 1
