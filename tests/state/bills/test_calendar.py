"""Days of any zone are whole quarter-hours."""

import os
import subprocess
import sys
import zoneinfo
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mathcore.units import HOUR_MS
from mesh.state.bills.calendar import QUARTER_MS, bounds_ms, day_of, zone_of
from tests.simulation.bills.history import ZONES

FIRST, LAST = 946_684_800_000 // QUARTER_MS, 2_208_988_800_000 // QUARTER_MS  # 2000 to 2040


def test_the_offsets_of_all_zones_are_multiples_of_15_minutes_since_2000() -> None:
    for name in sorted(zoneinfo.available_timezones()):
        zone = zone_of(name)
        assert zone is not None, name
        at = datetime(2000, 1, 1, tzinfo=UTC)
        while at.year < 2040:
            offset = at.astimezone(zone).utcoffset()
            assert offset is not None
            assert offset.total_seconds() % 900 == 0, name
            at += timedelta(days=56)


@given(st.integers(FIRST, LAST), st.sampled_from(ZONES))
def test_an_instant_lies_within_its_day_and_its_month(quarters: int, name: str) -> None:
    zone, at = zone_of(name), quarters * QUARTER_MS
    assert zone is not None
    day = day_of(at, zone)
    for period in (day, day[:7]):
        start, end = bounds_ms(period, zone)
        assert start <= at < end
        assert (day_of(start, zone)[: len(period)], day_of(end - 1, zone)[: len(period)]) == (
            period, period,
        )  # fmt: skip
        assert day_of(start - 1, zone)[: len(period)] < period < day_of(end, zone)[: len(period)]


@pytest.mark.parametrize(
    ("zone", "day", "hours"),
    [
        ("Europe/Berlin", "2026-03-29", 23), ("Europe/Berlin", "2026-10-25", 25),
        ("Australia/Lord_Howe", "2026-10-04", 23.5), ("Australia/Lord_Howe", "2026-04-05", 24.5),
        ("America/Havana", "2026-03-08", 23), ("America/Havana", "2026-11-01", 25),
        ("Asia/Kathmandu", "2026-03-29", 24), ("UTC", "2028-02-29", 24),
    ],
)  # fmt: skip
def test_a_day_lasts_as_long_as_clocks_make_it(zone: str, day: str, hours: float) -> None:
    found = zone_of(zone)
    assert found is not None
    start, end = bounds_ms(day, found)
    assert (end - start) / HOUR_MS == hours


@pytest.mark.parametrize(
    "name",
    ["", "Nowhere/Land", "../etc/passwd", "/etc/passwd", "America", "a" * 1000, "A\0B", "US/../UTC",
     "Europe/Berlin/", "é"],
)  # fmt: skip
def test_what_names_no_zone_is_none(name: str) -> None:
    assert zone_of(name) is None


@pytest.mark.parametrize("period", ["2026", "2026-13", "2026-02-30", "2026/04", "today", ""])
def test_what_names_no_day_or_month_is_refused(period: str) -> None:
    zone = zone_of("UTC")
    assert zone is not None
    with pytest.raises(ValueError):  # noqa: PT011
        bounds_ms(period, zone)


def test_zones_are_known_on_a_machine_without_a_table_of_them() -> None:
    words = (
        "from mesh.state.bills.calendar import zone_of as z; print(z('Europe/Berlin'), z('UTC'))"
    )
    env = {**os.environ, "PYTHONTZPATH": ""}  # as in a bare container, and on Windows
    done = subprocess.run(
        [sys.executable, "-c", words], env=env, capture_output=True, text=True, check=True
    )
    assert done.stdout == "Europe/Berlin UTC\n"
