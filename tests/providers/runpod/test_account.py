"""The adapter on the stand-in: a pod's whole life, its bill, and what goes wrong on the way."""

from __future__ import annotations

from dataclasses import replace

import pytest

from providers.rental.contract import (
    Accepted,
    Ask,
    Balance,
    Charges,
    Made,
    Page,
    Refused,
    Rise,
    Unclear,
    Unread,
)
from providers.rental.waits import hold_ms
from tests.emulators.base import Asked
from tests.emulators.machines import HOUR
from tests.providers.runpod.world import MIN, OFFER, START, World, order, world

SECURE_ONE = replace(OFFER, offer_id="SECURE/1/NVIDIA GeForce RTX 4090")
NO_SUCH_GPU = replace(OFFER, offer_id="SECURE/1/NVIDIA GeForce RTX 5090")


async def gone(here: World, instance_id: str) -> bool:
    """Whether it is ended and seen to be."""
    assert await here.cloud.terminate(instance_id) == Accepted()
    here.now += 5_000
    return await here.row(instance_id) is None


async def test_the_offers_are_the_stock_to_the_nano_dollar() -> None:
    here = world()
    assert await here.cloud.offers(Ask(limit=1000)) == tuple(here.emulator.stock())


async def test_the_offers_of_a_count_are_of_that_count_and_free_as_it_says() -> None:
    here = world()
    two = await here.cloud.offers(Ask(gpu_count=2, memory_bytes=80 << 30))
    assert isinstance(two, tuple)
    assert {(o.offer_id, o.available) for o in two} == {
        ("SECURE/2/NVIDIA A100 80GB PCIe", False),
        ("COMMUNITY/2/NVIDIA A100 80GB PCIe", False),
        ("SECURE/2/NVIDIA H200", False),
        ("COMMUNITY/2/NVIDIA H200", True),
    }
    assert len(here.wire.seen) == 2


async def test_spot_machines_are_not_asked_for_as_there_are_none() -> None:
    here = world()
    assert await here.cloud.offers(Ask(spot=True)) == ()
    assert here.wire.seen == []


async def test_the_first_failure_ends_a_look_at_the_catalogue() -> None:
    here = world()
    here.wire.faults = [("offers", "limited")]
    found = await here.cloud.offers(Ask())
    assert isinstance(found, Unread)
    assert (found.why, len(here.wire.seen)) == ("429", 1)


async def test_a_pod_goes_through_its_steps_and_away() -> None:
    here = world()
    made = await here.made()
    seen: list[str] = []
    for _ in range(100):
        row = await here.row(made)
        assert row is not None
        assert row.label == "fl-m1-j1-6a000000"
        if not seen or seen[-1] != row.status:
            seen.append(row.status)
        here.now += 1_000
    assert seen == ["placing", "image", "container", "up"]
    assert row is not None
    assert row.ssh is not None
    assert await gone(here, made)
    assert await here.cloud.terminate(made) == Accepted(gone=True)


async def test_a_pod_can_be_ended_while_it_boots() -> None:
    here = world()
    made = await here.made()
    assert await gone(here, made)
    here.now += 5 * MIN
    assert await here.rows() == []


async def test_the_rate_seen_is_the_rate_quoted_from_the_first_look_on() -> None:
    here = world()
    row = await here.row(await here.made())
    assert row is not None
    assert row.price_nusd == row.rate_nusd == OFFER.hourly_nusd


async def test_a_dead_container_is_seen_and_costs_on() -> None:
    here = world()
    made = await here.made()
    here.now += 5 * MIN
    assert (await here.rows())[0].status == "up"
    here.emulator.machines.turn(here.emulator.machines.all[made], "exited", here.now)
    row = await here.row(made)
    assert row is not None
    assert (row.status, row.rate_nusd, row.ssh) == ("exited", OFFER.hourly_nusd, None)


async def test_a_pod_ends_itself_when_nobody_came_and_not_when_its_container_died() -> None:
    here = world()
    left, dead = await here.made("fl-m1-a-6a000000"), await here.made("fl-m1-b-6a000000")
    here.now += 5 * MIN
    await here.rows()
    here.emulator.machines.turn(here.emulator.machines.all[dead], "exited", here.now)
    here.now += 31 * MIN
    assert [row.instance_id for row in await here.rows()] == [dead]
    assert here.emulator.machines.all[left].ended is not None


async def test_a_pod_ends_itself_at_the_end_of_its_life_though_somebody_comes() -> None:
    here = world()
    made = await here.made()
    for _ in range(19):
        here.now += 10 * MIN
        if await here.row(made) is not None:
            here.emulator.machines.touch(here.emulator.machines.all[made], here.now)
    ended = here.emulator.machines.all[made].ended
    assert ended is not None
    assert 180 * MIN <= ended - START <= 182 * MIN


@pytest.mark.parametrize("offer", [NO_SUCH_GPU, replace(OFFER, offer_id="SECURE/8/NVIDIA H200")])
async def test_no_capacity_is_a_refusal_that_made_nothing(offer: object) -> None:
    here = world()
    created = await here.cloud.create(order(offer=offer))  # type: ignore[arg-type]
    assert isinstance(created, Refused)
    assert created.code == "rule_or_capacity"
    assert "no longer any instances" in created.text
    assert await here.rows() == []


async def test_an_offer_of_another_provider_is_refused_unsent() -> None:
    here = world()
    created = await here.cloud.create(order(offer=replace(OFFER, offer_id="7")))
    assert isinstance(created, Refused)
    assert here.wire.seen == []


async def test_an_empty_account_is_refused_by_its_own_code() -> None:
    here = world()
    here.emulator.account.balance_nusd = 0
    created = await here.cloud.create(order())
    assert isinstance(created, Refused)
    assert created.code == "balance"


async def test_a_price_above_the_quote_shows_at_the_first_look() -> None:
    here = world()
    here.wire.faults = [("create", "price_higher")]
    row = await here.row(await here.made())
    assert row is not None
    disk = OFFER.hourly_nusd - 340_000_000
    assert row.price_nusd == 340_000_000 * 12 // 10 + disk


async def test_a_429_holds_for_the_longest_of_its_windows() -> None:
    here = world()
    held = set()
    for _ in range(60):
        reply, hold = here.emulator.limited(here.now, Asked(method="GET", path="/v2/pods"))
        assert hold_ms(reply, 0, here.now) == hold
        held.add(hold)
    assert max(held) == 150_000
    here.wire.faults = [("create", "limited"), ("terminate", "limited"), ("list", "limited")]
    assert await here.cloud.create(order()) == Unclear(code="429")
    assert await here.cloud.terminate("0000071") == Unclear(code="429")
    assert isinstance(await here.cloud.page(""), Unread)
    assert here.emulator.machines.all == {}


async def test_a_key_that_is_none_is_refused_everywhere() -> None:
    here = world()
    here.wire.key = "wrong"
    for unread in (
        await here.cloud.page(""),
        await here.cloud.offers(Ask()),
        await here.cloud.balance(),
        await here.cloud.charges("1", 0, 1),
    ):
        assert isinstance(unread, Unread)
        assert unread.why == "auth"
    assert await here.cloud.create(order()) == Refused(code="auth", text="invalid bearer token")


@pytest.mark.parametrize(
    ("fault", "why"),
    [
        ("empty", "malformed"),
        ("success_false", "malformed"),
        ("malformed", "malformed"),
        ("retired", "retired"),
    ],
)
async def test_a_broken_listing_is_never_an_empty_one(fault: str, why: str) -> None:
    for seed in range(20):
        here = world(seed=seed)
        await here.made()
        here.wire.faults = [("list", fault)]
        found = await here.cloud.page("")
        assert isinstance(found, Unread)
        assert found.why == why


async def test_pages_hold_every_pod_once_and_a_failed_page_is_no_end() -> None:
    here = world(page_size=2)
    made = [await here.made(f"fl-m1-j{n}-6a000000") for n in range(5)]
    assert [row.instance_id for row in await here.rows()] == made
    assert len([asked for asked in here.wire.seen if asked.method == "GET"]) == 3
    first = await here.cloud.page("")
    assert isinstance(first, Page)
    here.wire.faults = [("list", "page_fails")]
    assert isinstance(await here.cloud.page(first.after), Unread)


async def test_an_account_without_pages_is_listed_whole() -> None:
    here = world(page_size=None)
    made = [await here.made(f"fl-m1-j{n}-6a000000") for n in range(5)]
    page = await here.cloud.page("")
    assert isinstance(page, Page)
    assert ([row.instance_id for row in page.rows], page.after) == (made, "")


async def test_a_late_listing_may_not_show_what_was_just_made() -> None:
    here = world()
    made = await here.made()
    here.now += 30_000
    shown = set()
    for _ in range(40):
        here.wire.faults = [("list", "lag")]
        shown.add(await here.row(made) is not None)
    assert shown == {True, False}
    assert await here.row(made) is not None


async def test_an_end_that_is_ignored_is_taken_and_the_pod_stays() -> None:
    here = world()
    made = await here.made()
    here.wire.faults = [("terminate", "ignored")]
    assert await here.cloud.terminate(made) == Accepted()
    here.now += MIN
    assert await here.row(made) is not None
    assert await gone(here, made)


async def test_a_member_of_a_cluster_is_listed_and_cannot_be_ended() -> None:
    here = world()
    member = here.emulator.account.add_cluster_pod("training", here.now)
    row = await here.row(member.id)
    assert row is not None
    assert (row.status, row.price_nusd) == ("up", member.price)
    ended = await here.cloud.terminate(member.id)
    assert isinstance(ended, Refused)
    assert ended.code == "conflict"


async def test_the_charges_are_the_invoice_and_within_the_rounding_of_the_meter() -> None:
    here = world()
    here.now += 37 * MIN  # over the end of an hour
    made = await here.made()
    here.now += 25 * MIN
    here.emulator.machines.touch(here.emulator.machines.all[made], here.now)
    here.now += 25 * MIN
    assert await gone(here, made)
    here.now += 3 * 60 * MIN
    found = await here.cloud.charges(made, START, here.now)
    assert isinstance(found, Charges)
    assert found.amount_nusd == here.emulator.invoice(made, here.now) > 0
    exact = here.emulator.machines.all[made].meter(here.now) // HOUR
    assert abs(found.amount_nusd - exact) <= found.step_nusd
    assert (found.from_ms, found.to_ms % (60 * MIN)) == (START, 0)


async def test_charges_come_late_and_then_stay() -> None:
    here = world()
    made = await here.made()
    here.now += 30 * MIN
    here.emulator.account.late_ms = 2 * 60 * MIN
    assert await here.cloud.charges(made, START, here.now) == Unread(why="not_yet")
    assert await gone(here, made)
    here.now += 24 * 60 * MIN
    late = await here.cloud.charges(made, START, here.now)
    assert isinstance(late, Charges)
    assert late.amount_nusd == here.emulator.invoice(made, here.now) > 0


async def test_the_balance_falls_by_what_is_spent_and_says_what_goes() -> None:
    here = world()
    await here.made()
    here.now += 20 * MIN
    found = await here.cloud.balance()
    assert found == Balance(
        left_nusd=1_000_000_000_000 - OFFER.hourly_nusd // 3, hourly_nusd=OFFER.hourly_nusd
    )


async def test_nobody_asks_for_more_and_nothing_is_there_to_refuse() -> None:
    here = world()
    assert await here.cloud.rises() == ()
    rise = Rise(request_id="1", instance_id="1", new_hourly_nusd=1)
    assert isinstance(await here.cloud.refuse(rise), Refused)


async def test_the_same_seed_and_the_same_calls_give_the_same_account() -> None:
    async def story(seed: int) -> list[object]:
        here = world(seed=seed)
        told: list[object] = [await here.cloud.create(order())]
        for _ in range(30):
            here.now += 5_000
            here.wire.faults = [("list", "lag")]
            told.append(await here.rows())
        return told

    assert await story(7) == await story(7)
    assert await story(7) != await story(8)


async def test_a_secure_machine_hangs_where_it_hangs_and_costs_from_the_create_on() -> None:
    here = world(seed=3)
    here.wire.faults = [("create", "hang")]
    created = await here.cloud.create(order(offer=SECURE_ONE))
    assert isinstance(created, Made)
    here.now += 20 * MIN
    machine = here.emulator.machines.all[created.instance_id]
    await here.rows()
    assert "engine" not in machine.boots
    assert machine.meter(here.now) == machine.price * 20 * MIN
