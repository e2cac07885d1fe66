"""Requests with a key: a minute's worth is held at once, counted down, and settled at its cost."""

from __future__ import annotations

import asyncio

import pytest

from mesh.api.errors import RequestError
from mesh.edge.budgets.requests import MANY, SPAN_MS
from tests.edge.budgets.stage import Peer
from tests.state.held_budgets import USD

CENT = USD // 100


async def keyed(dollars: str, **body: object) -> Peer:
    """A peer with a key called ci and a budget of it."""
    ana = Peer()
    ana.write("key_added", key_id="k-1", name="ci", hash="f" * 64)
    await ana.cap(dollars, key="ci", **body)
    return ana


async def test_many_requests_share_one_hold_and_are_settled_at_what_they_cost() -> None:
    ana = await keyed("5")
    ends = [await ana.service.requests.take("k-1", CENT, rented=True) for _ in range(MANY)]
    assert ana.kinds().count("budget_held") == 1
    assert ana.row["held_nusd"] == MANY * CENT
    for end in ends:
        end(1_000)
    ana.clock += SPAN_MS
    await ana.service.step()
    assert (ana.row["held_nusd"], ana.row["spent_nusd"]) == (0, MANY * 1_000)


async def test_of_fifty_requests_at_once_a_cap_for_twenty_admits_twenty() -> None:
    ana = await keyed("0.2")

    asked = (ana.service.requests.take("k-1", CENT, rented=True) for _ in range(50))
    said = await asyncio.gather(*asked, return_exceptions=True)
    errors = [one for one in said if isinstance(one, RequestError)]
    assert (len(said) - len(errors), len(errors)) == (20, 30)
    assert {(one.code, one.status) for one in errors} == {("OverBudget", 429)}
    assert errors[0].text.startswith("the budget key ci per month has")
    assert "are missing" in errors[0].text


async def test_where_the_money_is_short_of_a_block_one_request_at_a_time_is_held_for() -> None:
    ana = await keyed("0.03")
    for _ in range(3):
        await ana.service.requests.take("k-1", CENT, rented=True)
    assert ana.kinds().count("budget_held") == 3
    with pytest.raises(RequestError, match="are missing"):
        await ana.service.requests.take("k-1", CENT, rented=True)


async def test_what_is_left_of_a_request_that_cost_less_is_there_for_the_next() -> None:
    ana = await keyed("0.01")
    for _ in range(5):
        end = await ana.service.requests.take("k-1", CENT // 2, rented=True)
        end(CENT // 10)
    assert await ana.service.requests.take("k-1", CENT // 2, rented=True)


async def test_a_request_that_is_still_under_way_keeps_its_block_and_an_unused_one_is_let_go() -> (
    None
):
    ana = await keyed("5")
    end = await ana.service.requests.take("k-1", CENT, rented=True)
    ana.clock += 10 * SPAN_MS
    await ana.service.step()
    assert ana.row["held_nusd"] == MANY * CENT
    end(0)
    await ana.service.step()
    assert (ana.row["held_nusd"], ana.row["spent_nusd"]) == (0, 0)
    assert ana.kinds()[-1] == "budget_released"


async def test_a_block_of_a_process_that_was_killed_is_settled_at_what_was_held() -> None:
    ana = await keyed("5")
    (await ana.service.requests.take("k-1", CENT, rented=True))(7)
    await ana.begin().step()
    assert (ana.row["held_nusd"], ana.row["spent_nusd"]) == (0, MANY * CENT)
    settled = next(one for one in ana.disk if one.event_type == "budget_settled")
    assert settled.payload["basis"] == "estimated"


async def test_a_daemon_that_ends_in_order_settles_what_its_requests_cost() -> None:
    ana = await keyed("5")
    (await ana.service.requests.take("k-1", CENT, rented=True))(7)
    running = asyncio.create_task(ana.service.run())
    await asyncio.sleep(0)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert (ana.row["held_nusd"], ana.row["spent_nusd"]) == (0, 7)


async def test_requests_on_own_devices_count_as_the_key_budget_says() -> None:
    ana = await keyed("0", owned="cloud")
    await ana.service.requests.take("k-1", CENT, rented=False)
    assert "budget_held" not in ana.kinds()
    await ana.cap("0", key="ci", owned="stop")
    with pytest.raises(RequestError, match="the budget key ci per month is used up"):
        await ana.service.requests.take("k-1", CENT, rented=False)
    await ana.cap("1", key="ci", owned="all")
    await ana.service.requests.take("k-1", CENT, rented=False)
    assert ana.row["held_nusd"] == MANY * CENT


async def test_a_key_without_a_budget_and_the_fleets_own_budget_hold_nothing_for_requests() -> None:
    ana = Peer()
    await ana.cap("0", owned="all")
    await ana.service.requests.take("k-1", CENT, rented=True)
    assert "budget_held" not in ana.kinds()
