"""An account's offers for a request, what a request may cost, and how adapters are made."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mathcore.units import GIB, NUSD
from mesh.api.rentals.asked import DEFAULT_IDLE, parse_rent
from mesh.edge.clouds.adapters import ADDRESSES, MAKERS, open_line
from mesh.edge.clouds.choosing import Chooser, at_most, fits, reported, with_records
from mesh.edge.clouds.keys import PROVIDERS, Key
from mesh.edge.clouds.prices.market import quote_of
from mesh.policy.rentals.history import Record
from mesh.state.state import State
from providers.rental.contract import Ask, Offer, Unread
from tests.edge.clouds.stand_in import VAST, offer
from tests.policy.rentals.test_choosing import asked
from tests.state.job_story import T0


class Market:
    """Says what it is told to, and notes what it was asked."""

    def __init__(self, *answers: tuple[Offer, ...] | Unread) -> None:
        self.answers, self.asked = list(answers), list[Ask]()

    async def ask(self, ask: Ask) -> tuple[Offer, ...] | Unread:
        self.asked.append(ask)
        return self.answers.pop(0)


def chooser(market: Market) -> Chooser:
    made = Chooser(VAST, State, lambda: T0)
    made.ask = market.ask
    return made


async def test_spot_machines_are_asked_for_only_where_they_will_do() -> None:
    market = Market((offer(0.4),))
    found = await chooser(market).choose(asked(), ())
    assert isinstance(found, Offer)
    assert [one.spot for one in market.asked] == [False]
    market = Market((offer(0.4),), (offer(0.2, spot=True),))
    found = await chooser(market).choose(asked(spot=True), ())
    assert isinstance(found, Offer)
    assert (found.spot, [one.spot for one in market.asked]) == (True, [False, True])


async def test_where_no_spot_machine_is_any_other_will_do() -> None:
    found = await chooser(Market((offer(0.4),), ())).choose(asked(spot=True), ())
    assert isinstance(found, Offer)
    assert not found.spot


async def test_what_is_asked_for_is_what_the_request_wants() -> None:
    market = Market(())
    wants = asked(memory_bytes=20 * GIB, gpu_count=2, disk_bytes=80 * GIB)
    assert await chooser(market).choose(wants, ()) == "nothing_offered"
    (ask,) = market.asked
    assert (ask.memory_bytes, ask.gpu_count, ask.disk_bytes) == (20 * GIB, 2, 80 * GIB)


async def test_why_a_provider_told_nothing_is_the_reason() -> None:
    assert await chooser(Market(Unread(why="quota"))).choose(asked(), ()) == "offers_quota"
    fresh = Chooser(VAST, State, lambda: T0)
    assert await fresh.choose(asked(), ()) == "offers_unreached", "before it has a provider"


@pytest.mark.parametrize("dollars", [0.0004, 400.0])
async def test_a_price_that_nobody_believes_is_not_taken(dollars: float) -> None:
    """A tenth of a cent, or hundreds of dollars an hour, for a card that all others let for 40
    cents."""
    market = Market(tuple(offer(0.4 + n / 100) for n in range(9)) + (offer(dollars),))
    found = await chooser(market).choose(asked(), ())
    assert isinstance(found, Offer)
    assert found.hourly_nusd == int(0.4 * NUSD)
    assert await chooser(Market((offer(dollars),))).choose(asked(), ()) == "price_not_believed"


def rent(**body: str) -> Any:
    return parse_rent({"life": "2h", **body})


def quote(dollars: float = 0.4, **changed: object) -> Any:
    return quote_of(offer(dollars, **changed), VAST, T0)


@pytest.mark.parametrize(
    ("body", "changed", "good"),
    [
        ({}, {}, True),
        ({}, {"spot": True}, False),
        ({"spot": "true"}, {"spot": True}, True),
        ({"max_price": "0.3"}, {}, False),
        ({"max_price": "0.4"}, {}, True),
        ({"gpu": "24GB.."}, {}, True),
        ({"gpu": "25GB.."}, {}, True),  # as sold: what a card reports is less
        ({"gpu": "32GB.."}, {}, False),
        ({"gpu": "H100"}, {}, False),
        ({"count": "2"}, {}, False),
        ({"offer": "id-0.4"}, {}, True),
        ({"offer": "another"}, {}, False),
    ],
)
def test_a_quote_fits_or_does_not(
    body: dict[str, str], changed: dict[str, object], good: object
) -> None:
    assert fits(quote(**changed), rent(**body), [VAST]) is good
    assert not fits(quote(**changed), rent(**body), [("vastai", "another account")])


@given(
    nusd=st.integers(1, 100 * NUSD),
    disk=st.integers(8, 500),
    wanted=st.integers(8, 500),
    stopped=st.integers(0, NUSD),
)
def test_what_it_may_cost_where_nobody_said_is_what_is_shown_and_a_little(
    nusd: int, disk: int, wanted: int, stopped: int
) -> None:
    one = quote(hourly_nusd=nusd, stopped_hourly_nusd=stopped, disk_bytes=disk * GIB)
    most = at_most(one, wanted * GIB)
    more = stopped * max(0, wanted - disk) // disk
    assert nusd + more <= most + 1
    assert most <= (nusd + more) * 105 // 100 + 1
    assert at_most(quote(hourly_nusd=nusd), wanted * GIB) == nusd * 105 // 100


def test_the_memory_of_a_request_is_what_such_cards_report() -> None:
    assert reported(rent()) == 0
    assert reported(rent(gpu="24GB..")) <= 24564 << 20


def test_quotes_are_told_with_what_past_rentals_teach_of_their_host_or_else_of_all() -> None:
    host = Record(tries=3, came_up=3, boot_ms=90_000)
    every = Record(tries=9, came_up=3, boot_ms=200_000)
    known = {("vastai", "h1"): host, ("vastai", ""): every}
    first, second = with_records((quote(host_id="h1"), quote(host_id="h2")), known)
    assert (first.boot_ms, first.success_ppm) == (90_000, host.success_ppm)
    assert (second.boot_ms, second.success_ppm) == (200_000, every.success_ppm)
    assert with_records((quote(),), {}) == (quote(),)


def test_a_body_without_more_has_a_days_worth_of_patience() -> None:
    asked_for = rent()
    assert (asked_for.idle_ms, asked_for.spot, asked_for.cap_nusd) == (15 * 60_000, False, None)
    assert DEFAULT_IDLE == "15m"
    for never in ("0", "never"):
        assert rent(idle=never).idle_ms == 0


# Adapters.


@pytest.mark.parametrize("name", [one.name for one in PROVIDERS])
async def test_each_cloud_with_a_key_has_an_adapter_that_sends_it_nowhere_else(name: str) -> None:
    variable, default = ADDRESSES[name]
    assert default().startswith("https://")
    assert set(MAKERS) == set(ADDRESSES) == {one.name for one in PROVIDERS}
    line = open_line(name, Key("a-key-of-nobody"), {})
    try:
        assert line.cloud.profile.name == name
    finally:
        await line.close()
    for bad in ("http://example.com", "https://me:secret@example.com", "ftp://127.0.0.1", "x"):
        with pytest.raises(ValueError, match=variable):
            open_line(name, Key("a-key-of-nobody"), {variable: bad})
