"""Vast.ai's stand-in in what only Vast.ai does; scripts/test-vendors has its own client ask it."""

from __future__ import annotations

import random
from typing import Any

import pytest

from providers.rental import contract as c
from providers.rental.contract import Ask, Reply
from providers.rental.waits import hold_ms
from providers.vastai.cloud import VastAI
from tests.emulators.base import Asked
from tests.emulators.machines import HOUR, S
from tests.emulators.vast_shapes import limits
from tests.emulators.vast_stock import as_offer
from tests.emulators.vastai import VastEmulator
from tests.emulators.wire import LocalWire
from tests.providers.rental.acceptance import MINUTE, UP, Stage, Tap, order_of

NOW = 1_790_000_000_000


def on_stage(**more: Any) -> Stage:
    emulator = VastEmulator(random.Random(5), **more)
    line = LocalWire(emulator, now=NOW)
    tap = Tap(line)
    return Stage(VastAI(tap), emulator, tap, line)


def ask(emulator: VastEmulator, method: str, path: str, body: object = None, **more: Any) -> Reply:
    headers = more.pop("headers", {"authorization": f"Bearer {emulator.key}"})
    asked = Asked(method=method, path=path, body=body, headers=headers, query=more)
    return emulator.handle(NOW, asked)


async def bid_for(on: Stage, **more: Any) -> tuple[c.Order, c.Created]:
    offer = await on.offer(Ask(spot=True))
    order = order_of(offer, "spot", **more)
    return order, await on.cloud.create(order)


async def test_offers_to_bid_for_are_the_stock() -> None:
    on = on_stage()
    assert isinstance(on.emulator, VastEmulator)
    found = await on.cloud.offers(Ask(spot=True, disk_bytes=100 << 30))
    assert isinstance(found, tuple)
    stock = on.emulator.stock(Ask(spot=True, disk_bytes=100 << 30))
    assert {one.offer_id: one for one in found} == {one.offer_id: one for one in stock}
    assert [one.hourly_nusd for one in found] != [one.hourly_nusd for one in on.emulator.stock()]


async def test_a_bid_costs_what_was_quoted_for_it() -> None:
    on = on_stage()
    order, made = await bid_for(on)
    assert isinstance(made, c.Made)
    on.passes(UP)
    row = (await on.listed())[order.label]
    assert row.status == "up"
    assert row.rate_nusd == order.offer.hourly_nusd


async def test_an_outbid_machine_is_stopped_and_its_disk_is_paid_for() -> None:
    on = on_stage()
    order, made = await bid_for(on)
    assert isinstance(made, c.Made)
    on.passes(UP)
    on.emulator.outbid(made.instance_id, on.now())
    row = (await on.listed())[order.label]
    assert row.status == "stopped"
    assert row.rate_nusd == order.offer.stopped_hourly_nusd


async def test_a_bid_below_the_least_makes_nothing_for_us() -> None:
    on = on_stage()
    _, made = await bid_for(on, bid_hourly_nusd=10_000_000)
    assert made == c.Refused(code="no_such_ask", text=made.text)  # type: ignore[union-attr]
    assert not on.emulator.machines.all


async def test_a_dearer_machine_shows_its_price() -> None:
    on = on_stage()
    offer = await on.offer()
    on.faults.append(("create", "price_higher"))
    label, _ = await on.make(offer=offer)
    assert (await on.listed())[label].price_nusd == offer.hourly_nusd * 12 // 10


async def test_a_rise_is_read_and_refused_and_accepted_by_nobody() -> None:
    on = on_stage()
    offer = await on.offer()
    label, made = await on.make(offer=offer)
    assert isinstance(on.emulator, VastEmulator)
    on.emulator.ask_rise(made.instance_id, offer.hourly_nusd * 2)
    found = await on.cloud.rises()
    assert isinstance(found, tuple)
    (rise,) = found
    assert rise.instance_id == made.instance_id
    assert abs(rise.new_hourly_nusd - offer.hourly_nusd * 2) <= 1
    assert await on.cloud.refuse(rise) == c.Accepted()
    assert await on.cloud.refuse(rise) == c.Accepted(gone=True)
    assert (await on.listed())[label].price_nusd == offer.hourly_nusd
    assert await on.cloud.rises() == ()


async def test_charges_come_late() -> None:
    on = on_stage(charges_late_ms=6 * HOUR)
    begin = on.now()
    _, made = await on.make()
    assert await on.cloud.charges(made.instance_id, begin, on.now()) == c.Unread(why="not_yet")
    await on.cloud.terminate(made.instance_id)
    on.passes(7 * HOUR)
    found = await on.cloud.charges(made.instance_id, begin, on.now())
    assert isinstance(found, c.Charges)
    assert found.amount_nusd == on.emulator.invoice(made.instance_id, on.now())


async def test_charges_are_read_over_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("providers.vastai.charges.LIMIT", 2)
    on = on_stage()
    waits: list[float] = []

    async def pause(seconds: float) -> None:
        waits.append(seconds)

    on.cloud = VastAI(on.tap, pause=pause)
    begin = on.now()
    made = [(await on.make(str(n)))[1].instance_id for n in range(4)]
    found = await on.cloud.charges(made[0], begin, on.now())
    assert isinstance(found, c.Charges)
    assert found.amount_nusd == on.emulator.invoice(made[0], on.now())
    assert waits == [1.0]


async def test_calls_that_follow_too_closely_are_answered_429() -> None:
    on = on_stage()
    assert isinstance(on.emulator, VastEmulator)
    on.emulator.spaced = {str(op): ms for op, ms in on.cloud.profile.spacing_ms.items()}
    assert isinstance(await on.cloud.page(""), c.Page)
    assert isinstance(await on.cloud.page(""), c.Unread)
    on.passes(1000)
    assert isinstance(await on.cloud.page(""), c.Page)


@pytest.mark.parametrize("fault", ["lag", "hides"])
async def test_a_listing_may_lack_a_machine_that_is_there(fault: str) -> None:
    on = on_stage()
    label, _ = await on.make() if fault == "hides" else (None, None)
    if fault == "lag":
        order = order_of(await on.offer())
        label = order.label
        await on.cloud.create(order)
        on.passes(S)
    lacking = 0
    for _ in range(20):
        on.faults.append(("list", fault))
        lacking += label not in await on.listed()
        on.passes(0 if fault == "lag" else 180 * S)
    assert lacking > 0


async def test_a_page_that_fails_is_not_the_last() -> None:
    on = on_stage(page_size=2)
    for n in range(3):
        await on.make(str(n))
    on.faults.extend([("list", "page_fails")] * 2)
    first = await on.cloud.page("")
    assert isinstance(first, c.Page)
    assert (first.total, bool(first.after)) == (3, True)
    assert await on.cloud.page(first.after) == c.Unread(why="5xx", text="bad gateway")


def test_the_old_listing_is_retired() -> None:
    reply = ask(VastEmulator(random.Random(1)), "GET", "/api/v0/instances/")
    assert reply.status == 410
    assert reply.body == {
        "success": False,
        "error": "deprecated_endpoint",
        "msg": "/api/v0/instances/ is deprecated. Use /api/v1/instances/ instead.",
    }


def test_offers_need_no_key_and_machines_do() -> None:
    emulator = VastEmulator(random.Random(1))
    assert ask(emulator, "POST", "/api/v0/bundles/", {}, headers={}).status == 200
    assert ask(emulator, "GET", "/api/v1/instances/", headers={}).status == 403
    wrong = {"authorization": "Bearer x"}
    assert ask(emulator, "GET", "/api/v1/instances/", headers=wrong).status == 404
    assert ask(emulator, "POST", "/api/v0/bundles/", {}, headers=wrong).status == 404


def test_a_machines_own_key_ends_it_and_no_other() -> None:
    emulator = VastEmulator(random.Random(1), end_ms=0)
    body = {"image": "img", "disk": 8}
    made: list[Any] = [ask(emulator, "PUT", "/api/v0/asks/1001/", body).body for _ in range(2)]
    own = {"authorization": f"Bearer {made[0]['instance_api_key']}"}
    first, second = (one["new_contract"] for one in made)
    assert ask(emulator, "DELETE", f"/api/v0/instances/{second}/", {}, headers=own).status == 404
    assert ask(emulator, "GET", "/api/v1/instances/", headers=own).status == 404
    assert ask(emulator, "DELETE", f"/api/v0/instances/{first}/", {}, headers=own).status == 200
    assert [one.ended is None for one in emulator.machines.all.values()] == [False, True]


def test_a_host_has_no_more_machines_than_it_has() -> None:
    emulator = VastEmulator(random.Random(1), end_ms=0)
    host = emulator.hosts[0]
    assert as_offer(host, Ask()) in emulator.stock()
    for _ in range(host.free):
        assert ask(emulator, "PUT", "/api/v0/asks/1001/", {"image": "img"}).status == 200
    assert ask(emulator, "PUT", "/api/v0/asks/1001/", {"image": "img"}).status in (404, 410)
    assert as_offer(host, Ask()) not in emulator.stock()
    ask(emulator, "DELETE", f"/api/v0/instances/{next(iter(emulator.machines.all))}/", {})
    ask(emulator, "GET", "/api/v1/instances/")
    assert as_offer(host, Ask()) in emulator.stock()


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({}, 400),
        ({"image": "x", "disk": 2}, 400),
        ({"image": "x", "label": "l" * 257}, 400),
        ({"image": "x", "onstart": "o" * 4097}, 400),
        ({"image": "x", "price": 129}, 400),
        ({"image": "x"}, 200),
    ],
)
def test_a_create_is_bounded_as_its_description_says(body: object, status: int) -> None:
    assert ask(VastEmulator(random.Random(1)), "PUT", "/api/v0/asks/1001/", body).status == status


@pytest.mark.parametrize("op", ["offers", "create", "list", "terminate", "charges"])
def test_every_shape_of_a_429_is_waited_out(op: str) -> None:
    for reply, hold in limits(op, NOW):
        heard = Reply(
            status=reply.status,
            body=reply.body,
            headers={name.lower(): value for name, value in reply.headers.items()},
        )
        assert hold <= hold_ms(heard, 0, NOW) <= hold + 13 * S


@pytest.mark.parametrize("what", ["current", "history", "locations"])
def test_the_markets_figures_are_there(what: str) -> None:
    body: Any = ask(VastEmulator(random.Random(1)), "GET", f"/api/v0/metrics/gpu/{what}/").body
    assert body["success"] is True
    if what == "history":
        pricing = body["gpus"]["RTX 4090"]["pricing"]
        assert pricing["avail_p10"][0] <= pricing["avail_median"][0] <= pricing["avail_p90"][0]


def test_a_machine_that_hangs_never_comes_up() -> None:
    emulator = VastEmulator(random.Random(1))
    asked = Asked(
        method="PUT",
        path="/api/v0/asks/1001/",
        body={"image": "img"},
        headers={"authorization": f"Bearer {emulator.key}"},
    )
    emulator.handle(NOW, asked, "hang")
    emulator.machines.advance(NOW + 60 * MINUTE)
    (one,) = emulator.machines.all.values()
    assert not one.reached("engine", NOW + 60 * MINUTE)
