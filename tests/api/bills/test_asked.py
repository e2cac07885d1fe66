"""Which bill somebody wants: words of a query, checked."""

from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.api.bills import GROUPINGS
from mesh.api.bills.asked import FIELDS, parse_bill
from mesh.api.errors import RequestError
from mesh.state.bills.calendar import bounds_ms

NOW = 1_796_000_000_000


def test_without_a_word_it_is_by_day_in_the_zone_of_the_settings() -> None:
    asked = parse_bill({}, "Europe/Berlin")
    assert (asked.by, asked.zone.key, asked.bounds(NOW)) == ("day", "Europe/Berlin", (0, NOW))


@pytest.mark.parametrize(
    ("since", "until", "first", "after"),
    [
        ("2026-04", "2026-04", "2026-04-01", "2026-05-01"),
        ("2026-04-19", "2026-04-19", "2026-04-19", "2026-04-20"),
        ("2026-10-25", "2026-10", "2026-10-25", "2026-11-01"),
        ("2025-12-31", "2025", None, None),
    ],
)
def test_days_and_months_name_whole_local_days(
    since: str, until: str, first: str | None, after: str | None
) -> None:
    given = {"since": since, "until": until, "tz": "Europe/Berlin"}
    if first is None:
        with pytest.raises(RequestError, match="no day and no month"):
            parse_bill(given)
        return
    asked = parse_bill(given)
    assert (asked.first_day, asked.day_after) == (first, after)
    zone = ZoneInfo("Europe/Berlin")
    assert asked.bounds(NOW)[0] == bounds_ms(first, zone)[0]
    assert asked.bounds(NOW)[1] == min(NOW, bounds_ms(str(after), zone)[0])


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"by": "colour"}, "by='colour'"),
        ({"tz": "Mars/Olympus"}, "no time zone 'Mars/Olympus'"),
        ({"since": "yesterday"}, "'yesterday' is no day and no month"),
        ({"since": "2026-02-30"}, "is no day"),
        ({"until": "9999-12"}, "is no day"),
        ({"until": "0999-01"}, "until: 0999-01 is outside the years of bills, 2000 to 2099 (UTC)"),
        ({"since": "1999-12"}, "since: 1999-12 is outside the years of bills"),
        ({"as_of": "2100-01-01"}, "as_of: 2100-01-01 is outside the years of bills"),
        ({"since": "२०२६-०१"}, "is no day and no month"),
        ({"since": "26-01-15"}, "is no day and no month"),
        ({"since": "2026-05", "until": "2026-04"}, "is after until"),
        ({"as_of": "2026-13"}, "is no day"),
        ({"colour": "red"}, "colour"),
        ({"by": "x" * 65}, "65 characters"),
    ],
)
def test_a_wrong_word_is_named(given: dict[str, str], words: str) -> None:
    with pytest.raises(RequestError) as caught:
        parse_bill(given)
    assert words in caught.value.text
    assert caught.value.hint


@given(st.dictionaries(st.sampled_from(FIELDS), st.text(max_size=70)))
def test_whatever_is_typed_is_a_question_or_one_plain_no(given: dict[str, str]) -> None:
    refused = ""
    try:
        asked = parse_bill(given)
    except RequestError as error:
        refused = error.text
    if refused:
        assert "\n" not in refused
        return
    assert asked.by in GROUPINGS
    start, end = asked.bounds(NOW)
    assert start >= 0
    assert end <= NOW
