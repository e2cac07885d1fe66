"""What this peer says things cost: what is not typed stays, and nothing is confirmed in vain."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from msgspec import structs

from mathcore.units import DAY_MS, HOUR_MS, NUSD
from mesh.api.bills.rates import OF_RATE, RATE_FIELDS
from mesh.api.errors import RequestError
from mesh.edge.bills.rates import Rates
from mesh.edge.store.ledger import Ledger
from mesh.edge.store.state import current_state
from mesh.ledger.event import Event
from mesh.state.bills.bill import bill
from mesh.state.bills.calendar import bounds_ms
from mesh.state.bills.given import gather, latest
from mesh.state.bills.inputs import Rate, Run, Watched
from mesh.state.bills.reading import READERS, Said, rate_fact
from mesh.state.facts.fact import encode
from mesh.state.facts.money import DeviceRateSet
from mesh.state.fold import apply
from mesh.state.members import Members
from mesh.state.state import State
from tests.state.trust_story import Key

NOW = 1_796_000_000_000  # 2026-11-30
UTC = ZoneInfo("UTC")
BOUGHT = {"price": "1600", "bought": "2026-01-15"}


class Peer:
    """A peer alone with a ledger, and what it says of money."""

    def __init__(self, home: Path) -> None:
        self.now = NOW
        self.ledger = Ledger.open(home)
        self.author = self.ledger.author
        self.register("rig")
        self.rates = Rates(
            self.author, lambda: self.state, self.emit, lambda: self.now, UTC, lambda: None
        )

    def register(self, name: str, **payload: object) -> None:
        said = {"name": name, "count": 1, **payload}
        self.ledger.append("device_registered", f"dev-{name}", said, NOW - 1000)

    @property
    def state(self) -> State:
        return current_state(self.ledger)

    async def emit(self, event_type: str, device_id: str, payload: dict[str, object]) -> Event:
        return self.ledger.append(event_type, device_id, payload, self.now)

    async def say(self, what: str, **body: object) -> int:
        """The event's number."""
        self.now += 1000
        return int((await self.rates.say(what, body))["seq"])

    async def set(self, device: str = "rig", **body: object) -> int:
        return await self.say("rate", device=device, **body)

    def shown(self, device: str = "rig") -> dict[str, Any]:
        """The row of `fleet rates show`."""
        return next(one for one in self.rates.rows()["devices"] if one["name"] == device)

    def rate(self, day: str = "", device: str = "dev-rig") -> Rate:
        """What a bill counts with on a day, else now."""
        at_ms = bounds_ms(day, UTC)[0] if day else self.now
        given = gather(self.state.books.inputs(lambda *_: True))
        found = latest(given.rates[device], at_ms)
        assert found is not None
        return found


@pytest.fixture
def peer(tmp_path: Path) -> Iterator[Peer]:
    made = Peer(tmp_path)
    yield made
    made.ledger.close()


async def test_of_two_rates_from_one_day_the_last_said_goes_on_and_is_shown(peer: Peer) -> None:
    await peer.set(**BOUGHT, **{"from": "2026-11"})
    await peer.set(price="2000", **{"from": "2026-11"})
    assert peer.shown()["price_nusd"] == 2000 * NUSD
    await peer.set(watts="300", **{"from": "2026-11"})
    assert peer.shown()["price_nusd"] == peer.rate().price == 2000 * NUSD
    assert peer.rate().tdp_mw == 300_000


async def test_what_is_not_typed_stays_as_it_was_in_every_field_of_a_rate(peer: Peer) -> None:
    every = {
        "count": "4", "owner": "acme", "price": "1600", "resale": "100", "currency": "EUR",
        "bought": "2026-01-15", "months": "36", "idle_watts": "20", "tariff": "home",
        "tariff_by": "b" * 64,
    }  # fmt: skip
    await peer.set(**every)
    before = structs.asdict(rate_fact(peer.rate(), peer.author))
    await peer.set(watts="300")
    after = structs.asdict(rate_fact(peer.rate(), peer.author))
    changed = {name for name, value in after.items() if value != before[name]}
    assert changed == {"from_ms", "tdp_mw"}
    assert peer.rate().count == 4
    assert peer.rate().owner == "acme"


def test_a_rate_said_once_more_has_every_field_as_it_was() -> None:
    other: dict[str, Any] = {"currency": "EUR", "idle_basis": "measured", "tariff_by": "ben",
                             "from_ms": NOW, "bought_ms": NOW - 1}  # fmt: skip
    values = {}
    for n, field in enumerate(structs.fields(DeviceRateSet)):
        is_text = field.default == "" or field.name in other
        values[field.name] = other.get(field.name, f"text{n}" if is_text else 100 + n)
        assert values[field.name] != field.default
    fact = DeviceRateSet(**values)
    read = READERS["device_rate_set"](Said("ana", "rig", NOW, encode(fact)))
    assert isinstance(read, Rate)
    assert rate_fact(read, "ana") == fact


def test_every_field_of_a_rate_can_be_typed_or_is_kept_with_one_that_can() -> None:
    fields = {one.name for one in structs.fields(DeviceRateSet)}
    assert fields == {name for names in OF_RATE.values() for name in names}
    assert set(OF_RATE) == set(RATE_FIELDS) - {"device"}


async def test_a_tariff_that_is_typed_alone_is_this_peers_own(peer: Peer) -> None:
    await peer.set(tariff="home", tariff_by="b" * 64)
    assert peer.rate().tariff == f"{'b' * 64}/home"
    await peer.set(tariff="home")
    assert peer.rate().tariff == f"{peer.author}/home"


async def test_what_is_said_of_a_day_goes_on_from_what_held_on_that_day(peer: Peer) -> None:
    await peer.set(**BOUGHT, **{"from": "2026-02"})
    await peer.set(price="1000", **{"from": "2026-10"})
    await peer.set(price="900", **{"from": "2027-01"})
    await peer.set(watts="300", **{"from": "2026-05"})
    assert (peer.rate("2026-06").price, peer.rate("2026-06").tdp_mw) == (1600 * NUSD, 300_000)
    await peer.set(watts="310", **{"from": "2027-02"})
    assert (peer.rate("2027-03").price, peer.rate("2027-03").tdp_mw) == (900 * NUSD, 310_000)
    assert peer.rate().price == 1000 * NUSD


async def test_a_resale_above_the_price_said_before_is_refused_not_free(peer: Peer) -> None:
    await peer.set(**BOUGHT)
    with pytest.raises(RequestError, match="resale: 5000 is more than the price 1600"):
        await peer.set(resale="5000")
    await peer.set(resale="200")
    with pytest.raises(RequestError, match="resale: 200 is more than the price 150.5") as caught:
        await peer.set(price="150.5")
    assert "--resale 0" in caught.value.hint
    await peer.set(price="150.5", resale="0")
    assert (peer.rate().price, peer.rate().resale) == (150_500_000_000, 0)


async def test_a_price_counts_from_the_day_it_was_bought_which_somebody_says_once(
    peer: Peer,
) -> None:
    peer.register("old", price_nusd=1600 * NUSD, lifetime_months=60)
    for device in ("rig", "old"):
        with pytest.raises(RequestError, match="bought: since when does it wear"):
            await peer.set(device, price="1500")
    with pytest.raises(RequestError, match="bought: since when does it wear"):
        await peer.set("old", watts="300")  # the last registration is no day of a purchase
    await peer.set("rig", watts="300")  # without a price nothing wears
    await peer.set("rig", bought="2026-01-15")
    await peer.set("rig", price="1500")
    assert peer.rate().bought_ms == bounds_ms("2026-01-15", UTC)[0]


async def test_what_is_written_off_has_a_price_of_nothing_and_no_day(peer: Peer) -> None:
    await peer.set(price="0")
    assert peer.rate().price == 0
    with pytest.raises(RequestError, match="since when does it wear"):
        await peer.set(price="500")


async def test_no_year_of_a_clock_is_confirmed_that_no_bill_counts_with(peer: Peer) -> None:
    for now in (0, 5_000_000_000_000):  # 1970, 2128
        peer.now = now
        for what, body in (
            ("rate", {"device": "rig", "watts": "300"}),
            ("tariff", {"name": "home", "bands": ["0.3"]}),
            ("currency", {"currency": "EUR", "usd": "1.08"}),
        ):
            with pytest.raises(RequestError, match="no bill counts with event") as caught:
                await peer.say(what, **body)
            assert (caught.value.code, caught.value.status) == ("NotTaken", 409)


class Stranger(Peer):
    """A peer whose word counts for less than an admin's, or for nothing."""

    role = ""

    @property
    def state(self) -> State:
        """Its own word is folded as a member's of another's fleet."""
        root = Key("root")
        found = State(members=Members(root=root.author))
        since = [root.found()]
        if self.role:
            added = {"key": self.author, "name": "ana", "role": self.role, "tls": "", "since": 1}
            since.append(root.say("peer_added", "", **added))
        for event in [*since, *(one for _, one in self.ledger.events())]:
            apply(found, event, lambda *_: True)
        return found


@pytest.fixture
def stranger(tmp_path: Path) -> Iterator[Stranger]:
    made = Stranger(tmp_path)
    yield made
    made.ledger.close()


async def test_what_a_currency_is_worth_an_admin_says(stranger: Stranger) -> None:
    stranger.role = "runner"
    await stranger.set(watts="300")
    with pytest.raises(RequestError, match="needs the role admin") as caught:
        await stranger.say("currency", currency="GBP", usd="1.3")
    assert (caught.value.code, caught.value.status) == ("WrongRole", 403)
    stranger.role = "admin"
    await stranger.say("currency", currency="GBP", usd="1.3")


async def test_a_word_that_the_fleet_does_not_take_is_not_confirmed(stranger: Stranger) -> None:
    with pytest.raises(RequestError, match="no bill counts with event"):
        await stranger.say("tariff", name="home", bands=["0.3"])


async def test_a_correction_is_confirmed_where_it_counts(peer: Peer) -> None:
    seq = await peer.say("tariff", name="home", bands=["0.3"])
    await peer.say("undo", seq=str(seq))
    assert peer.rates.rows()["said"][0]["undone"]


async def test_of_what_is_rented_nobody_says_a_price(peer: Peer) -> None:
    peer.register("lent", hourly_nusd=NUSD, described_by="hand")
    with pytest.raises(RequestError, match="lent is rented by the hour") as caught:
        await peer.set("lent", **BOUGHT)
    assert "fleet devices set lent --rate" in caught.value.hint
    await peer.say("charge", device="lent", period="2026-10", usd="5", component="rent")
    peer.register("vast-1", location="cloud", described_by="probe")
    for body in ({"what": "rate"}, {"what": "charge", "period": "2026-10", "usd": "5"}):
        with pytest.raises(RequestError, match="vast-1 is of a rented machine"):
            await peer.say(**body, device="vast-1")


async def test_a_charge_takes_the_place_of_a_part_that_the_bill_has(peer: Peer) -> None:
    about = {"device": "rig", "period": "2026-10", "usd": "31.20"}
    await peer.say("charge", **about, component="power")
    await peer.say("charge", **about)
    with pytest.raises(RequestError, match="rig is owned, no part of its bill is rent") as caught:
        await peer.say("charge", **about, component="rent")
    assert caught.value.hint == "power or wear; none = all but wear"
    with pytest.raises(RequestError, match="no bill goes back further than ten years"):
        await peer.say("charge", **{**about, "period": "2016-10"})


WHOLE: dict[str, str] = {**BOUGHT, "watts": "300", "idle_watts": "9", "tariff": "home"}


def unknown(peer: Peer) -> bool:
    """Whether the bill of the week up to now has a part that nobody knows."""
    peer.now += 7 * DAY_MS
    since = peer.now - 7 * DAY_MS
    watched = Watched(device="dev-rig", from_ms=since, to_ms=peer.now)
    run = Run(job="j", device="dev-rig", spans=((since, since + HOUR_MS),))
    lines = bill(gather([*peer.state.books.inputs(lambda *_: True), watched, run]), peer.now, since)
    assert lines.lines
    return any(one.unknown_ms for one in lines.lines)


async def test_nothing_is_missing_where_a_bill_knows_all_of_a_week(peer: Peer) -> None:
    await peer.say("currency", currency="EUR", usd="1.08", **{"from": "2026-01"})
    await peer.say("tariff", name="home", bands=["mon-fri 06:00-22:00 0.36", "0.29"],
                   currency="EUR", zone="Europe/Berlin")  # fmt: skip
    await peer.set(**WHOLE, currency="EUR")
    assert peer.shown()["missing"] == []
    assert not unknown(peer)


@pytest.mark.parametrize(
    ("tariff", "rate", "words"),
    [
        ({"name": "other"}, {}, ["tariff home is not said"]),
        ({"from": "2027-01-01"}, {}, ["tariff home is not said before 2027-01-01"]),
        ({}, {"currency": "DKK"}, ["no rate of DKK on 2026-01-15"]),
        ({"currency": "EUR"}, {}, ["no rate of EUR on 2026-11-30"]),
        ({"bands": ["mon-fri 0.36"]}, {}, ["no band of home holds on sat 00:00"]),
        ({"bands": ["06:00-22:00 0.36"]}, {}, ["no band of home holds on mon 00:00"]),
        ({"bands": ["00:00-22:00 0.36", "22:15-24:00 0.3"]}, {},
         ["no band of home holds on mon 22:00"]),
        ({}, {"tariff": ""}, ["tariff"]),
        ({"currency": "EUR", "bands": ["mon 1"]}, {"currency": "DKK"},
         ["no rate of DKK on 2026-01-15", "no rate of EUR on 2026-11-30",
          "no band of home holds on tue 00:00"]),
    ],
)  # fmt: skip
async def test_whatever_a_bill_does_not_know_is_named(
    peer: Peer, tariff: dict[str, Any], rate: dict[str, str], words: list[str]
) -> None:
    await peer.say("tariff", **{"name": "home", "bands": ["0.3"], **tariff})
    await peer.set(**{**WHOLE, **rate})
    assert peer.shown()["missing"] == words
    assert unknown(peer)


async def test_a_currency_said_for_later_than_the_purchase_is_missing_on_its_day(
    peer: Peer,
) -> None:
    await peer.say("tariff", name="home", bands=["0.3"])
    await peer.say("currency", currency="DKK", usd="0.15", **{"from": "2026-02"})
    await peer.set(**WHOLE, currency="DKK")
    assert peer.shown()["missing"] == ["no rate of DKK on 2026-01-15"]
    await peer.say("currency", currency="DKK", usd="0.14", **{"from": "2026-01"})
    assert peer.shown()["missing"] == []


async def test_a_price_without_a_day_from_an_older_version_is_missing_its_day(peer: Peer) -> None:
    await peer.say("tariff", name="home", bands=["0.3"])
    await peer.set(**WHOLE)
    said = structs.replace(rate_fact(peer.rate(), peer.author), bought_ms=0)
    await peer.emit("device_rate_set", "dev-rig", encode(said))
    assert peer.shown()["missing"] == ["the day it was bought"]


async def test_what_is_there_no_more_lacks_nothing_and_how_many_there_are_is_shown(
    peer: Peer,
) -> None:
    await peer.set(count="4", watts="300")
    assert (peer.shown()["count"], peer.shown()["missing"]) == (
        4,
        ["price", "idle watts", "tariff"],
    )
    await peer.set(count="0")
    assert peer.shown()["missing"] == []


async def test_a_machine_rented_elsewhere_costs_what_its_month_was_billed(peer: Peer) -> None:
    await peer.set(price="0", **{"from": "2026-10"})
    await peer.say("charge", device="rig", period="2026-10", usd="31.20")
    start, end = bounds_ms("2026-10", UTC)
    lines = bill(gather(peer.state.books.inputs(lambda *_: True)), end, start).lines
    assert sum(one.nusd or 0 for one in lines) == 31_200_000_000
    assert not any(one.unknown_ms for one in lines)
