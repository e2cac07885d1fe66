"""What somebody says things cost: words in, the fact to sign out."""

from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.api.bills.rates import PARSERS, parse_charge, parse_rate, parse_tariff, parse_worth
from mesh.api.errors import RequestError
from mesh.state.bills.calendar import QUARTER_MS, bounds_ms
from mesh.state.bills.reading import READERS, Said
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


def test_a_band_over_midnight_is_two_and_weekdays_may_go_round() -> None:
    said = fact(parse_tariff, name="home", bands=["sat-mon 22:00-06:00 0.20"])
    assert [(one.from_min, one.to_min) for one in said.bands] == [(1320, 1440), (0, 360)]
    assert {one.weekdays for one in said.bands} == {"056"}


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
        ("currency", {"currency": "USD", "usd": "1"}, "a dollar is a dollar"),
        ("currency", {"currency": "EUR", "usd": "0"}, "no worth"),
        ("charge", {"device": "rig", "period": "2026", "usd": "1"}, "is no day"),
        ("charge", {"device": "rig", "period": "2026-10", "usd": "1e9"}, "more than any device"),
        ("charge", {"device": "rig", "period": "2026-10", "usd": "1", "basis": "guess"}, "guess"),
        ("undo", {"seq": "first"}, "is not a whole number"),
        ("undo", {}, "which event?"),
    ],
)
def test_a_wrong_word_is_one_line_that_names_it(what: str, body: Any, words: str) -> None:
    with pytest.raises(RequestError) as caught:
        PARSERS[what](body, NOW, BERLIN)
    assert words in caught.value.text
    assert caught.value.hint
    assert "\n" not in caught.value.text


VALUES = st.text(max_size=30) | st.integers() | st.lists(st.text(max_size=30), max_size=3)
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
