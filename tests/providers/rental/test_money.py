"""Money and sizes as providers write them: exact, whichever way is taken to read them."""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from providers.rental import units

PRICES = st.floats(-2e6, 2e6) | st.decimals(0, 1000, places=6).map(float)


def nano(value: Decimal) -> int:
    return int((value * 10**9).to_integral_value(ROUND_HALF_UP))


@settings(deadline=None)
@given(PRICES)
def test_dollars_are_read_as_they_were_written(price: float) -> None:
    written = Decimal(repr(price))
    assert units.usd(price) == units.usd(str(price)) == units.usd(written)
    if abs(written) <= 10**6:
        assert units.usd(price) == nano(written)
    else:
        assert units.usd(price) is None


@settings(deadline=None)
@given(PRICES, st.integers(0, 100_000))
def test_a_months_price_is_read_as_it_was_written(price: float, gigabytes: int) -> None:
    written = Decimal(repr(price))
    found = units.usd_per_gb_month(price, gigabytes, 720)
    assert found == units.usd_per_gb_month(written, gigabytes, 720)
    if 0 <= written <= 10**6:
        assert found == nano(written * gigabytes / 720)


@pytest.mark.parametrize(
    "odd",
    [
        None,
        True,
        [],
        {},
        "",
        "x",
        "NaN",
        "inf",
        float("nan"),
        float("inf"),
        pytest.param(10**5000, id="huge"),
    ],
)
def test_what_is_no_number_is_none(odd: object) -> None:
    assert units.decimal_of(odd) is None
    assert units.usd(odd) is None
    assert units.usd_per_gb_month(odd, 10, 720) is None
    assert units.whole(odd) is None
    assert units.scaled(odd, units.MIB) is None


def test_a_unit_is_never_taken_for_another() -> None:
    assert units.usd_per_hour(0.36) == 360_000_000
    assert units.usd_per_second(0.0001) == 360_000_000
    assert units.cents_per_hour(36) == 360_000_000
    assert units.usd_per_hour_each(0.36, 8) == 2_880_000_000
    assert units.usd_per_gb_month(0.72, 10, units.HOURS_IN_MONTH_720) == 10_000_000
    assert units.usd_per_gb_month(0.73, 10, units.HOURS_IN_MONTH_730) == 10_000_000
    assert units.scaled(24564, units.MIB) == 24564 << 20
    assert units.scaled("1.5", units.GIB) == 3 << 29


@pytest.mark.parametrize("free", [0, 0.0, -0.1, "0", "-1"])
def test_nothing_is_free(free: object) -> None:
    assert units.usd_per_hour(free) is None
    assert units.usd_per_second(free) is None
    assert units.cents_per_hour(free) is None
    assert units.usd_per_hour_each(free, 2) is None
