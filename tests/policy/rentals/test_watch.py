"""Money that goes every day alike, and machines that do nothing."""

from dataclasses import replace

import pytest

from mesh.policy.rentals.watch import FLAT_LEAST_NUSD, IDLE_MS, flat_days, is_flat, is_idle
from mesh.state.rentals.rental import Rental
from mesh.state.rentals.terms import DAY_MS, HOUR_MS, READY

USD = 10**9


def rented(hourly_nusd: int, from_ms: int, to_ms: int | None = None) -> Rental:
    one = Rental("r", "vastai", "main", state=READY)
    one.meter.begin(from_ms, hourly_nusd)
    if to_ms is not None:
        one.meter.end(to_ms)
    return one


def test_a_machine_left_on_for_three_days_looks_flat() -> None:
    now = 20 * DAY_MS + 5 * HOUR_MS
    one = rented(USD, now - 4 * DAY_MS)
    assert flat_days([one], now) == (24 * USD, 24 * USD, 24 * USD)
    assert flat_days([one], now - DAY_MS) == ()  # its first day was not a whole one
    assert flat_days([], now) == ()


def test_days_of_work_are_not_flat() -> None:
    now = 20 * DAY_MS
    hours = (8, 3, 6)
    those = [
        rented(USD, now - (back + 1) * DAY_MS, now - (back + 1) * DAY_MS + work * HOUR_MS)
        for back, work in enumerate(hours)
    ]
    assert flat_days(those, now) == ()


@pytest.mark.parametrize(
    ("days", "flat"),
    [
        ((100, 105, 102), True),
        ((100, 106, 102), False),
        ((100, 0, 100), False),
        ((1, 1, 1), True),
    ],
)
def test_alike_is_within_five_per_cent(days: tuple[int, ...], *, flat: bool) -> None:
    assert is_flat([one * USD for one in days]) is flat


def test_cents_a_day_are_no_matter() -> None:
    assert not is_flat([FLAT_LEAST_NUSD - 1] * 3)


def test_only_a_machine_that_is_up_and_known_to_do_nothing_is_idle() -> None:
    one = rented(USD, 0)
    assert is_idle(one, IDLE_MS)
    assert not is_idle(one, IDLE_MS - 1)
    assert not is_idle(one, None)
    assert not is_idle(replace(one, state="booting"), IDLE_MS)
