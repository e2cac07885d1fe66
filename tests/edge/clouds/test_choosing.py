"""An account's offers for a request, what a request may cost, and how adapters are made."""

from collections.abc import Callable
from typing import Any, cast

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
from mesh.state.market.quotes import with_disk
from mesh.state.state import State
from providers.rental.contract import DEFAULT_DISK_BYTES, Ask, Offer, Reply, Unread
from providers.runpod import offers as runpod
from providers.vastai import offers as vastai
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


@given(dollars=st.floats(0.01, 100), gigabyte=st.floats(0, 1), wanted=st.integers(8, 16_000))
def test_a_disk_is_priced_as_its_provider_prices_it_and_so_is_what_it_may_cost(
    dollars: float, gigabyte: float, wanted: int
) -> None:
    """Whatever disk an offer was asked for with."""
    for read in (vast_offer(dollars, gigabyte), runpod_offer(dollars)):
        usual, asked_for = read(DEFAULT_DISK_BYTES), read(wanted * GIB)
        sold = with_disk(quote_of(usual, VAST, T0), wanted * GIB)
        assert sold is not None
        rounding = 17_180  # half a nano-dollar for each GB that there may be
        assert abs(sold.hourly_nusd - asked_for.hourly_nusd) <= rounding
        assert abs(sold.stopped_hourly_nusd - asked_for.stopped_hourly_nusd) <= rounding
        assert sold.disk_bytes == asked_for.disk_bytes
        assert at_most(sold) >= asked_for.hourly_nusd, "else it would wait for ever"


def test_what_comes_with_its_disk_is_sold_as_it_is_or_not_at_all() -> None:
    whole = quote(disk_bytes=1400 * GIB)
    assert with_disk(whole, 200 * GIB) == whole
    assert with_disk(whole, 1401 * GIB) is None
    unknown = quote(disk_bytes=0)
    assert with_disk(unknown, 1401 * GIB) == unknown


def vast_offer(dollars: float, gigabyte: float) -> Callable[[int], Offer]:
    row = {"id": 1, "num_gpus": 1, "gpu_ram": 24564, "dph_base": dollars, "storage_cost": gigabyte}

    def read(disk_bytes: int) -> Offer:
        reply = Reply(status=200, body={"offers": [row]})
        (found,) = cast(Any, vastai.offers_from(reply, Ask(disk_bytes=disk_bytes)))
        return cast(Offer, found)

    return read


def runpod_offer(dollars: float) -> Callable[[int], Offer]:
    row = {
        "id": "RTX", "memory": 24, "secure": True, "price": {"secure": dollars},
        "maxCount": {"secure": 8}, "availability": "HIGH",
    }  # fmt: skip

    def read(disk_bytes: int) -> Offer:
        reply = Reply(status=200, body={"gpus": [row]})
        (found,) = cast(Any, runpod.offers_from(reply, "SECURE", 1, disk_bytes))
        return cast(Offer, found)

    return read


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
