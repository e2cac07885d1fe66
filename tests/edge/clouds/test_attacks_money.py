"""No order of things passes a cap, and no provider keeps a machine by what it says."""

import asyncio
import contextlib

import pytest

from mesh.policy.rentals.caps import reserve_nusd
from mesh.policy.rentals.timers import MAX_SAID
from mesh.policy.rentals.values import Shares
from mesh.state.rentals.life import MAX_STEPS
from mesh.state.state import State
from tests.edge.clouds.attacked import ME, Attacked

USD = 10**9
HOUR_MS = 3_600_000


async def test_two_accounts_at_once_do_not_pass_the_days_cap_together() -> None:
    state, lock = State(), asyncio.Lock()
    one_machine = Shares(day_nusd=reserve_nusd(USD, HOUR_MS) * 3 // 2)
    both = [
        Attacked(one_machine, account=name, state=state, spending=lock)
        for name in ("main", "other")
    ]
    for at, peer in enumerate(both):
        await peer.steps(10)
        peer.count += 1_000 * at
        asked = {"request_id": f"r{at}", "life_ms": HOUR_MS, "cap_nusd": 100 * USD}
        peer.write("rental_requested", ME, **asked)
    for _ in range(30):
        await asyncio.gather(*(peer.steps() for peer in both))
    assert sum(len(peer.cloud.made) for peer in both) == 1
    assert "day_cap" in {why for peer in both for why in peer.actor.reasons.values()}


@pytest.mark.parametrize("why", ["full disk", "forked key"])
async def test_a_machine_ends_with_its_label_though_nothing_can_be_written(why: str) -> None:
    peer = Attacked()
    rental_id = await peer.rented()
    peer.full, peer.may = why == "full disk", why != "forked key"
    one = peer.actor.rental(rental_id)
    assert one is not None
    for hours in (HOUR_MS // 2, HOUR_MS):
        early = peer.cloud.ended.copy()
        peer.pass_ms(hours)
        running = asyncio.create_task(peer.actor.run())
        for _ in range(200):
            peer.pass_ms(100)
            await asyncio.sleep(0)
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running
    assert (early, peer.cloud.ended[:1]) == ([], [one.instance_id])
    assert len(peer.cloud.ended) < 20


async def test_a_machine_that_changes_at_every_look_is_returned_while_that_is_heard() -> None:
    peer = Attacked()
    rental_id = await peer.rented()
    one = peer.actor.rental(rental_id)
    assert one is not None
    row = peer.cloud.rows[0]
    for at in range(MAX_SAID):
        looked = {"status": "up", "price_nusd": row.price_nusd, "rate_nusd": row.rate_nusd - at % 2}
        times = {"since_ms": 0, "begun_ms": 0, "turn": one.turn(0), "at_ms": peer.actor.clock.now()}
        peer.write("instance_changed", ME, rental_id=rental_id, **looked, **times)
    await peer.steps(10)
    one = peer.actor.rental(rental_id)
    assert one is not None
    assert (one.over, peer.cloud.ended[:1]) == ("restless", [one.instance_id])
    before = len(one.steps)
    for at in range(200):
        peer.cloud.rows = [peer.row(one.instance_id, one.label, less=at % 2)]
        await peer.steps(2, 15_000)
    assert len(one.steps) - before < 100 < MAX_STEPS - MAX_SAID
    peer.cloud.rows = []
    await peer.steps(40, 15_000)
    assert not one.is_open
