"""How long a Retry-After holds, in each of its forms, and what names no wait at all."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.rental.contract import Reply
from providers.rental.waits import DAY_MS, LEAST_MS, MAX_RETRY_AFTER_S, hold_ms

DATE = "Mon, 30 Nov 2026 01:02:03 GMT"
NOW = 1_790_000_000_000  # this machine's: it counts for nothing here


def held(said: str, date: str = DATE) -> int:
    headers = {"retry-after": said} | ({"date": date} if date else {})
    return hold_ms(Reply(status=429, headers=headers), 0, NOW)


@pytest.mark.parametrize(
    ("said", "ms"),
    [
        ("120", 120_000),
        (" 60 ", 60_000),
        ("1.5", 1_500),
        ("0.0001", 1),
        ("120, 30", 120_000),
        ("30,120", 120_000),
        ("7.25, 7, soon", 7_250),
    ],
)
def test_seconds_hold_the_longest_where_there_are_several(said: str, ms: int) -> None:
    assert held(said) == ms


@pytest.mark.parametrize(
    ("said", "ms"),
    [
        ("Mon, 30 Nov 2026 01:12:03 GMT", 600_000),
        ("Mon, 30 Nov 2026 01:12:03 GMT, 30", 600_000),
        ("900, Mon, 30 Nov 2026 01:12:03 GMT", 900_000),
        ("Mon, 30 Nov 2026 01:02:13 GMT, Mon, 30 Nov 2026 01:02:23 GMT", 20_000),
    ],
)
def test_a_date_is_measured_against_the_replys_own(said: str, ms: int) -> None:
    assert held(said) == ms


@pytest.mark.parametrize("date", ["", "yesterday", "Mon, 99 Foo 2026 01:02:03 GMT"])
def test_a_date_without_another_to_measure_it_against_names_no_wait(date: str) -> None:
    assert held("Mon, 30 Nov 2026 01:12:03 GMT", date) == LEAST_MS
    assert held("Mon, 30 Nov 2026 01:12:03 GMT, 90", date) == 90_000


@pytest.mark.parametrize("said", ["86401", "999999999.9", "Mon, 30 Nov 2099 01:02:03 GMT"])
def test_a_wait_of_more_than_a_day_is_a_day(said: str) -> None:
    assert held(said) == 1000 * MAX_RETRY_AFTER_S == DAY_MS


@pytest.mark.parametrize(
    "said",
    [
        "", "-3", "-1.5", "nan", "NaN", "inf", "1e9", "0x10", "soon", "1.", ".5", "1_000", "+5",
        "٣", "99999999999", "1.0000000000", ", ,", "9" * 5_000,
        "Mon, 30 Nov 2026 01:02:02 GMT", "Mon, 99 Foo 2026 01:02:03 GMT",
    ],
)  # fmt: skip
def test_what_is_no_wait_leaves_the_usual_one(said: str) -> None:
    assert held(said) == LEAST_MS


@given(said=st.text(), date=st.text())
def test_no_header_raises_or_holds_for_more_than_a_day(said: str, date: str) -> None:
    assert 0 <= held(said, date) <= DAY_MS
