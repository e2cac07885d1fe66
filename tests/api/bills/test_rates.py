"""What somebody says things cost: words in, the fact to sign out."""

from datetime import date
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.api.bills.rates import PARSERS, parse_charge, parse_rate, parse_tariff, parse_worth
from mesh.api.errors import RequestError
from mesh.state.bills.calendar import QUARTER_MS, bounds_ms
from mesh.state.bills.reading import MAX_BANDS, READERS, Said
from mesh.state.facts.fact import encode

BERLIN = ZoneInfo("Europe/Berlin")
NOW = 1_796_000_123_456


def fact(parse: Any, **body: Any) -> Any:
    return parse(body, NOW, BERLIN).fact


def test_a_card_of_1600_dollars_is_said_in_millionths_and_milliwatts() -> None:
    said = fact(
        parse_rate, device="rig", price="1600", bought="2026-01-15", months="60", resale="200.50",
        watts="450", idle_watts="20.5", tariff="home",
    )  # fmt: skip
    assert (said.price_micro, said.resale_micro) == (1_600_000_000, 200_500_000)
    assert (said.tdp_mw, said.idle_mw, said.life_months) == (450_000, 20_500, 60)
    assert said.bought_ms == bounds_ms("2026-01-15", BERLIN)[0]
    assert (said.from_ms, said.currency, said.count) == (NOW, "USD", 1)


def test_a_tariff_of_a_day_and_a_night_is_two_bands_the_first_first() -> None:
    said = fact(parse_tariff, name="home", bands=["mon-fri 06:00-22:00 0.36", "0.29"])
    first, rest = said.bands
    assert (first.weekdays, first.from_min, first.to_min) == ("01234", 360, 1320)
    assert (first.price, rest.price) == (360_000_000, 290_000_000)
    assert (rest.weekdays, rest.from_min, rest.to_min) == ("0123456", 0, 1440)
    assert (said.zone, said.from_ms % QUARTER_MS) == ("Europe/Berlin", 0)


def bands(text: str) -> list[tuple[str, int, int]]:
    (*parts,) = fact(parse_tariff, name="home", bands=[text]).bands
    return [(one.weekdays, one.from_min, one.to_min) for one in parts]


def test_a_band_over_midnight_is_two_the_second_on_the_day_that_follows() -> None:
    assert bands("fri 22:00-06:00 0.20") == [("4", 1320, 1440), ("5", 0, 360)]
    assert bands("sun 22:00-06:00 0.20") == [("6", 1320, 1440), ("0", 0, 360)]
    assert bands("22:00-06:00 0.20") == [("0123456", 1320, 1440), ("0123456", 0, 360)]
    assert bands("fri 22:00-24:00 0.20") == bands("fri 22:00-00:00 0.20") == [("4", 1320, 1440)]


def test_weekdays_may_go_round_the_end_of_the_week() -> None:
    assert bands("sat-mon 22:00-06:00 0.20") == [("056", 1320, 1440), ("016", 0, 360)]


def test_a_tariffs_days_are_those_of_its_own_zone() -> None:
    new_york = ZoneInfo("America/New_York")
    body = {"name": "home", "bands": ["0.3"], "zone": "America/New_York", "from": "2027-01-01"}
    said = parse_tariff(body, NOW, BERLIN).fact
    assert said.from_ms == bounds_ms("2027-01-01", new_york)[0]  # type: ignore[attr-defined]


def test_a_tariff_has_as_many_bands_as_every_peer_reads_and_one_over_midnight_is_two() -> None:
    said = parse_tariff({"name": "t", "bands": ["22:00-06:00 0.2"] * 32}, NOW, BERLIN)
    assert len(said.fact.bands) == MAX_BANDS  # type: ignore[attr-defined]
    assert READERS["tariff_set"](Said("a", "", NOW, encode(said.fact))) is not None
    with pytest.raises(RequestError, match="60 prices are 120 bands"):
        parse_tariff({"name": "t", "bands": ["22:00-06:00 0.2"] * 60}, NOW, BERLIN)


def test_what_was_bought_for_a_later_day_is_said_from_that_day_on() -> None:
    later = {"bought": "2027-02-01", "from": "2027-02-01"}
    assert fact(parse_rate, device="rig", price="1600", **later).bought_ms > NOW


def test_a_charge_is_of_a_whole_local_month_and_may_be_a_credit() -> None:
    said = fact(parse_charge, device="rig", period="2026-10", usd="-5.000000001")
    assert (said.from_ms, said.to_ms) == bounds_ms("2026-10", BERLIN)
    assert said.amount_nusd == -5_000_000_001


def test_a_currency_is_worth_whole_nano_dollars() -> None:
    assert fact(parse_worth, currency="eur", usd="1.08").nusd == 1_080_000_000


@pytest.mark.parametrize(
    ("what", "body", "words"),
    [
        ("rate", {}, "device: which device?"),
        ("rate", {"device": "rig", "price": "cheap"}, "'cheap' is no amount"),
        ("rate", {"device": "rig", "price": "-1"}, "below 0"),
        ("rate", {"device": "rig", "price": "1", "resale": "2"}, "more than the price"),
        ("rate", {"device": "rig", "bought": "last year"}, "is no day"),
        ("rate", {"device": "rig", "bought": "26-1-15"}, "'26-1-15' is no day and no month"),
        ("rate", {"device": "rig", "bought": "1965-01-01"}, "bought: 1965-01-01 is outside"),
        ("rate", {"device": "rig", "bought": "1999-06-01"}, "the years of bills, 2000 to 2099"),
        ("rate", {"device": "rig", "bought": "2062-01-15"}, "bought: 2062-01-15 has not come"),
        ("rate", {"device": "rig", "from": "1999-06"}, "from: 1999-06 is outside"),
        ("rate", {"device": "rig", "from": "2100-01"}, "from: 2100-01 is outside"),
        ("rate", {"device": "rig", "from": "2026-1-5"}, "is no day and no month"),
        ("rate", {"device": "rig", "months": "0"}, "from 1 to 1200"),
        ("rate", {"device": "rig", "currency": "euros"}, "is none"),
        ("rate", {"device": "rig", "watts": "NaN"}, "is no amount"),
        ("rate", {"device": "rig", "watts": "1e99"}, "is no amount"),
        ("rate", {"device": "rig", "colour": "red"}, "colour"),
        ("rate", {"device": 7}, "must be a text"),
        ("tariff", {"name": "home"}, "say one to 64 prices"),
        ("tariff", {"name": "home", "bands": ["0.3"] * 65}, "say one to 64 prices"),
        ("tariff", {"name": "home", "bands": ["free"]}, "is no price of a kWh"),
        ("tariff", {"name": "home", "bands": ["06:07-22:00 1"]}, "no quarter of an hour"),
        ("tariff", {"name": "home", "bands": ["someday 0.3"]}, "is no weekday"),
        ("tariff", {"name": "home", "bands": ["1.2.3"]}, "is no amount"),
        ("tariff", {"name": "a/b", "bands": ["1"]}, "is no name"),
        ("tariff", {"name": "home", "bands": ["1"], "zone": "Mars"}, "no time zone 'Mars'"),
        ("tariff", {"name": "t", "bands": ["1"], "from": "1995-01"}, "from: 1995-01 is outside"),
        ("currency", {"currency": "EUR", "usd": "1", "from": "1990-01"}, "1990-01 is outside"),
        ("currency", {"currency": "USD", "usd": "1"}, "a dollar is a dollar"),
        ("currency", {"currency": "EUR", "usd": "0"}, "no worth"),
        ("charge", {"device": "rig", "period": "2026", "usd": "1"}, "is no day"),
        ("charge", {"device": "rig", "period": "1999-01", "usd": "5"}, "1999-01 is outside"),
        ("charge", {"device": "rig", "period": "2062-10", "usd": "5"}, "2062-10 has not begun"),
        ("charge", {"device": "rig", "period": "2026-10", "usd": "1", "component": "electricity"},
         "'electricity' is no part of a bill"),
        ("charge", {"device": "rig", "period": "2026-10", "usd": "1e9"}, "more than any device"),
        ("charge", {"device": "rig", "period": "2026-10", "usd": "1", "basis": "guess"}, "guess"),
        ("undo", {"seq": "first"}, "is not a whole number"),
        ("undo", {}, "which event?"),
    ],
)  # fmt: skip
def test_a_wrong_word_is_one_line_that_names_it(what: str, body: Any, words: str) -> None:
    with pytest.raises(RequestError) as caught:
        PARSERS[what](body, NOW, BERLIN)
    assert words in caught.value.text
    assert caught.value.hint
    assert "\n" not in caught.value.text


VALUES = st.text(max_size=30) | st.integers() | st.lists(st.text(max_size=30), max_size=3)
SANE = {
    "rate": {"device": "rig"},
    "tariff": {"name": "home", "bands": ["0.3"]},
    "currency": {"currency": "EUR", "usd": "1.08"},
    "charge": {"device": "rig", "period": "2026-10", "usd": "5"},
}
DAYS = st.dates(min_value=date(1900, 1, 1), max_value=date(2300, 1, 1)).map(str)
NIGHTS = st.lists(st.just("22:00-06:00 0.3"), min_size=1, max_size=70)
NAMES = ("device", "price", "resale", "bought", "months", "watts", "tariff", "currency", "count",
         "from", "name", "bands", "zone", "usd", "period", "basis", "seq")  # fmt: skip


@given(st.sampled_from(sorted(PARSERS)), st.dictionaries(st.sampled_from(NAMES), VALUES))
def test_whatever_is_typed_is_a_fact_that_every_peer_reads_or_one_plain_no(
    what: str, body: dict[str, object]
) -> None:
    try:
        said = PARSERS[what](body, NOW, BERLIN)
    except RequestError:
        return
    if said.event_type in READERS:
        read = READERS[said.event_type](Said("a" * 64, said.device or "d", NOW, encode(said.fact)))
        assert read is not None


@given(st.sampled_from(sorted(SANE)), st.sampled_from(("from", "bought", "period")), DAYS, NIGHTS)
def test_no_day_and_no_night_is_confirmed_that_a_peer_does_not_read(
    what: str, name: str, day: str, nights: list[str]
) -> None:
    body = {**SANE[what], name: day} | ({"bands": nights} if what == "tariff" else {})
    try:
        said = PARSERS[what](body, NOW, BERLIN)
    except RequestError:
        return
    read = READERS[said.event_type](Said("a" * 64, said.device, NOW, encode(said.fact)))
    assert read is not None
