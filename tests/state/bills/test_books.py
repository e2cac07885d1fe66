"""What peers said of money: kept apart by author, bounded, corrected, never rewritten."""

from random import Random
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mathcore.units import NUSD
from mesh.ledger.event import Event
from mesh.state.bills import books
from mesh.state.bills.bill import bill
from mesh.state.bills.books import AsKnown, Books, Shelf
from mesh.state.bills.given import gather
from mesh.state.bills.inputs import FxRate, Input, Rate, Tariff
from mesh.state.bills.lines import total
from mesh.state.facts.fact import Payload, encode
from mesh.state.facts.money import (
    EVENTS,
    Corrected,
    DeviceRateSet,
    DeviceWatched,
    FxRateSet,
    TariffBand,
    TariffSet,
)
from tests.simulation.bills.history import History, event, ms

AT = ms("2026-07-14")


def worth(seq: int, nusd: int, at: int = AT, author: str = "ann") -> Event:
    fact = FxRateSet(currency="EUR", from_ms=at, nusd=nusd)
    return event(seq, 1000 * seq, "fx_rate_set", fact, author=author)


def corrected(seq: int, of: int, nusd: int | None, author: str = "ann") -> Event:
    fact = FxRateSet(currency="EUR", from_ms=AT, nusd=nusd) if nusd else None
    payload = encode(fact) if fact else None
    said = Corrected(seq=of, event_type="fx_rate_set", fact=payload)
    return event(seq, 1000 * seq, "corrected", said, author=author)


def said(*events: Event, known: AsKnown = books.NOW) -> list[Input]:
    found = Books()
    for one in events:
        found.add(one)
    return found.inputs(lambda _author, _device: True, known)


def worths(*events: Event, known: AsKnown = books.NOW) -> list[int]:
    return [one.nusd for one in said(*events, known=known) if isinstance(one, FxRate)]


def test_a_correction_takes_the_place_of_what_was_wrong_and_the_last_one_counts() -> None:
    every = [worth(1, 5), corrected(2, 1, 6), worth(3, 7), corrected(4, 1, 8)]
    assert worths(*every) == [8, 7]
    assert worths(*reversed(every)) == [8, 7]
    assert worths(*every, known=AsKnown(by_ms=1000)) == [5]
    assert worths(*every, known=AsKnown(by_ms=2000)) == [6]
    assert worths(*every, known=AsKnown(heads={"ann": 3})) == [6, 7]
    assert worths(*every, known=AsKnown(heads={"bob": 3})) == []


def test_a_correction_to_nothing_voids_and_one_of_anothers_word_changes_nothing() -> None:
    assert worths(worth(1, 5), corrected(2, 1, None)) == []
    assert worths(worth(1, 5), corrected(2, 1, 9, author="bob")) == [5]
    assert worths(worth(1, 5), corrected(2, 2, 9)) == [5], "of itself"
    assert worths(worth(1, 5), corrected(2, 1, 6), corrected(3, 2, 9)) == [6], "of a correction"
    assert worths(worth(2, 5), corrected(1, 2, 9)) == [5], "of what came after it"


def test_a_correction_of_another_type_changes_nothing() -> None:
    seen = encode(DeviceWatched(from_ms=AT, to_ms=AT + 1))
    wrong = Corrected(seq=1, event_type="device_watched", fact=seen)
    assert worths(worth(1, 5), event(2, 2000, "corrected", wrong, "d")) == [5]


def test_a_tariff_is_its_authors_own() -> None:
    band = TariffBand(weekdays="0123456", from_min=0, to_min=1440, price=NUSD)
    plan = TariffSet(name="home", from_ms=AT, zone="UTC", currency="USD", bands=(band,))
    rate = DeviceRateSet(from_ms=AT, count=1, currency="USD", bought_ms=0, tariff="home")
    other = DeviceRateSet(
        from_ms=AT + 1, count=1, currency="USD", bought_ms=0, tariff="home", tariff_by="bob"
    )
    found = said(
        event(1, 1, "tariff_set", plan), event(1, 2, "tariff_set", plan, author="bob"),
        event(2, 3, "device_rate_set", rate, "d"), event(3, 4, "device_rate_set", other, "d"),
    )  # fmt: skip
    assert [one.name for one in found if isinstance(one, Tariff)] == ["ann/home", "bob/home"]
    rates = [one for one in found if isinstance(one, Rate)]
    assert [(one.tariff, one.owner) for one in rates] == [("ann/home", "ann"), ("bob/home", "ann")]


def test_a_price_of_millions_of_won_fits_an_event_and_is_read_to_the_last_unit() -> None:
    won = DeviceRateSet(
        from_ms=AT, count=1, currency="KRW", bought_ms=0, price_micro=50_000_000_000_001
    )
    (rate,) = said(event(1, 1, "device_rate_set", won, "d"))
    assert isinstance(rate, Rate)
    assert rate.price == 50_000_000_000_001_000


def test_only_words_that_are_believed_count() -> None:
    rate = DeviceRateSet(from_ms=AT, count=1, currency="USD", bought_ms=0)
    found = Books()
    for one in (event(1, 1, "device_rate_set", rate, "d"), worth(2, 5), worth(1, 6, author="bob")):
        found.add(one)
    assert found.inputs(lambda author, device: (author, device) == ("ann", "d")) != []
    assert [type(one) for one in found.inputs(lambda author, device: device == "d")] == [Rate]
    assert found.heads() == {"ann": 2, "bob": 1}
    found.drop("ann")
    assert [type(one) for one in found.inputs(lambda _a, _d: True)] == [FxRate]


@given(st.permutations(range(1, 41)))
def test_the_newest_of_an_author_stay_whatever_came_first(order: list[int]) -> None:
    was = dict(books.SHELVES)
    books.SHELVES["fx_rate_set"] = Shelf("fx", 8)
    try:
        assert worths(*(worth(seq, seq) for seq in order)) == list(range(33, 41))
    finally:
        books.SHELVES.update(was)


def test_no_author_fills_the_memory() -> None:
    found = Books()
    for seq in range(1, 2 * books.MAX_SET):
        found.add(worth(seq, seq))
    assert len(found.words["ann"].fx) <= books.MAX_SET + books.MAX_SET // books.SPARE


def test_a_price_a_million_times_too_high_is_shown_as_it_was_until_it_was_corrected() -> None:
    span: Payload = {"from_ms": AT, "to_ms": AT + 9, "basis": "invoiced"}
    costs = [span | {"amount_nusd": nusd} for nusd in (1_500 * NUSD, 1_500_000)]
    wrong = Corrected(seq=1, event_type="charge_recorded", fact=costs[1])
    every = [event(1, 10, "charge_recorded", wrong, "api", payload=costs[0])]
    every.append(event(2, 20, "corrected", wrong, "api"))
    for by_ms, nusd in ((9, 0), (10, 1_500 * NUSD), (20, 1_500_000)):
        lines = bill(gather(said(*every, known=AsKnown(by_ms=by_ms))), AT + 10).lines
        assert total(lines) == nusd


def test_books_outlive_a_snapshot() -> None:
    found = Books()
    for one in History(Random(3)).events:
        found.add(one)
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(found), type=Books) == found


def test_of_two_events_of_one_seq_the_later_counts() -> None:
    copied = event(1, 9000, "fx_rate_set", FxRateSet(currency="EUR", from_ms=AT, nusd=9))
    assert worths(worth(1, 5), copied) == worths(copied, worth(1, 5)) == [9]


RATE: Payload = {"from_ms": AT, "count": 1, "currency": "USD", "bought_ms": 0}
SPAN: Payload = {"from_ms": AT, "to_ms": AT + 1}
BAND: Payload = {"weekdays": "0", "from_min": 0, "to_min": 15, "price": 1}
PLAN: Payload = {"name": "t", "from_ms": AT, "zone": "UTC", "currency": "USD", "bands": [BAND]}


@pytest.mark.parametrize(
    ("kind", "sane", "strange"),
    [
        ("device_rate_set", RATE, {"from_ms": 0}),
        ("device_rate_set", RATE, {"from_ms": 10**15}),
        ("device_rate_set", RATE, {"count": 1 << 40}),
        ("device_rate_set", RATE, {"price_micro": -1}),
        ("device_rate_set", RATE, {"price_micro": 10**30}),
        ("device_rate_set", RATE, {"life_months": 10**9}),
        ("device_rate_set", RATE, {"owner": "x" * 10_000}),
        ("device_watched", SPAN, {"to_ms": AT}),
        ("device_watched", SPAN, {"from_ms": 1}),
        ("energy_metered", SPAN, {"energy_mj": 10**30}),
        ("charge_recorded", SPAN | {"basis": "invoiced", "amount_nusd": 1}, {"basis": "guessed"}),
        ("charge_recorded", SPAN | {"basis": "measured"}, {"amount_nusd": -(10**30)}),
        ("tariff_set", PLAN, {"bands": []}),
        ("tariff_set", PLAN, {"bands": [BAND] * 1000}),
        ("tariff_set", PLAN, {"bands": [BAND | {"to_min": 20}]}),
        ("tariff_set", PLAN, {"bands": [BAND | {"weekdays": "7"}]}),
        ("tariff_set", PLAN, {"name": ""}),
        ("fx_rate_set", {"currency": "EUR", "from_ms": AT, "nusd": 1}, {"nusd": 0}),
    ],
)
def test_what_makes_no_sense_is_left_out(kind: str, sane: Payload, strange: Payload) -> None:
    def of(payload: Payload) -> list[Input]:
        made = event(1, 1, kind, Corrected(seq=1, event_type=kind), "d", payload=payload)
        return said(made)

    assert len(of(sane)) == 1
    assert of(sane | strange) == []


json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=8,
)
FIELDS = [
    "seq",
    "event_type",
    "fact",
    "from_ms",
    "to_ms",
    "bands",
    "currency",
    "price_micro",
    "count",
]


@given(
    st.sampled_from(sorted(EVENTS)),
    st.dictionaries(st.sampled_from(FIELDS), json),
    st.sampled_from(["corrected", *EVENTS]),
)
def test_a_peer_may_sign_anything(kind: str, payload: dict[str, Any], named: str) -> None:
    strange = payload | {"event_type": named, "seq": 1, "fact": payload}
    base = Corrected(seq=1, event_type=kind)
    for each in (payload, strange):
        assert isinstance(said(event(2, 1, kind, base, "d", payload=each)), list)
