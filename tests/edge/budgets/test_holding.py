"""Money is held before anything is asked for: by many at once, through a crash, and while peers
are apart."""

from __future__ import annotations

import asyncio

import pytest

from mesh.api.errors import RequestError
from mesh.edge.budgets.paying import BEGIN_MS
from mesh.edge.budgets.purse import UNSURE_MS
from mesh.edge.disk import StoreError
from mesh.policy.budgets.outcomes import machines_of, outcome
from tests.edge.budgets.stage import ANA, BEN, Peer
from tests.state.held_budgets import USD
from tests.state.test_rentals import INTENT

RENTAL = "r1x1x1xabc"


async def test_of_fifty_requests_at_once_a_cap_for_twenty_admits_twenty() -> None:
    ana = Peer()
    await ana.cap("1")
    said = await asyncio.gather(*(ana.rents(f"r{n}", 0.05) for n in range(50)))
    assert said.count("") == 20
    assert ana.kinds().count("budget_held") == 20
    refused = next(one for one in said if one)
    assert refused == (
        "the budget fleet per month has $0.0000 left in 2026-11 on this peer, and this may cost"
        " $0.0500: $0.0500 are missing"
    )
    assert (ana.row["held_nusd"], ana.row["free_nusd"], ana.row["open_holds"]) == (USD, 0, 20)


async def test_a_hold_is_on_the_disk_before_anybody_may_ask_for_the_machine() -> None:
    ana = Peer()
    await ana.cap("1")
    asking = asyncio.create_task(ana.rents(RENTAL, 0.05))
    await asyncio.sleep(0)
    assert not ana.state.budgets.word(ANA).open_ids
    assert await asking == ""
    assert len(ana.state.budgets.word(ANA).open_ids) == 1
    assert ana.service.rentals.begin(RENTAL)


async def test_where_nothing_is_capped_nothing_is_written() -> None:
    ana = Peer()
    assert await ana.rents(RENTAL, 5) == ""
    assert ana.service.rentals.begin(RENTAL)
    assert ana.kinds() == []


async def test_money_held_by_a_process_that_was_killed_is_not_free_for_the_next() -> None:
    ana = Peer()
    await ana.cap("1")
    assert await ana.rents(RENTAL, 0.8) == ""
    ana.rental("account_taken", epoch=1, peer=ANA)
    ana.rental("rental_intended", **INTENT)
    ana.rental("create_called")  # and here the process is gone
    service = ana.begin()
    ana.clock += 90 * 86_400_000 // 4  # three weeks: no clock frees it
    await service.step()
    assert (ana.row["held_nusd"], ana.row["free_nusd"]) == (800_000_000, 200_000_000)
    assert "$0.8000" not in await ana.rents("other", 0.2)
    assert await ana.rents("more", 0.1) != ""


async def test_a_rental_of_a_process_before_is_settled_once_its_absence_is_proved() -> None:
    ana = Peer()
    await ana.cap("1")
    await ana.rents(RENTAL, 0.8)
    ana.rental("account_taken", epoch=1, peer=ANA)
    ana.rental("rental_intended", **INTENT)
    ana.rental("create_called")
    ana.rental("create_answered", instance_id="7", why="answered")
    service = ana.begin()
    await service.step()
    assert ana.row["held_nusd"] == 800_000_000
    ana.rental("return_decided", why="cancelled")
    ends = {"end_ms": ana.clock, "last_ms": ana.clock, "proved_ms": ana.clock}
    ana.rental("absence_confirmed", why="cancelled", **ends)
    await service.step()
    cost = outcome(ana.state, machines_of(ana.state), ANA, f"rental {RENTAL}").cost_nusd
    assert (ana.row["held_nusd"], ana.row["spent_nusd"]) == (0, cost)
    await service.step()
    assert ana.kinds().count("budget_settled") == 1
    ana.rental("rental_invoiced", amount_nusd=cost + 5, step_nusd=1)
    await service.step()
    await service.step()
    assert ana.row["spent_nusd"] == cost + 5, "the invoice says what it cost in all"
    assert ana.kinds().count("budget_adjusted") == 1
    ana.rental("rental_invoiced", amount_nusd=1 << 52, step_nusd=1)
    for _ in range(3):
        await service.step()
    assert ana.kinds().count("budget_adjusted") == 2, "a sum that no budget holds is told once"


async def test_what_never_began_is_let_go_by_the_next_process_and_by_this_one_when_its_time_is_over(
) -> None:  # fmt: skip
    ana = Peer()
    await ana.cap("1")
    await ana.rents(RENTAL, 0.8)
    await ana.service.step()
    assert ana.row["held_nusd"] == 800_000_000, "its intent may be written in a moment"
    await ana.begin().step()
    assert ana.row["held_nusd"] == 0, "that process wrote no intent, and is no more"
    await ana.rents("r2x1x1xabc", 0.8)
    ana.clock += BEGIN_MS
    await ana.service.step()
    assert ana.row["held_nusd"] == 0
    assert not ana.service.rentals.begin("r2x1x1xabc"), "its money is another's by now"


async def test_a_write_that_failed_keeps_its_money_until_the_ledger_shows_that_it_is_not_there(
) -> None:  # fmt: skip
    ana = Peer()
    await ana.cap("1")
    ana.failing = 1
    with pytest.raises(StoreError):
        await ana.rents(RENTAL, 0.8)
    assert await ana.rents("r2", 0.8) != "", "it may be on the disk all the same"
    ana.clock += UNSURE_MS
    assert await ana.rents("r3", 0.8) != "", "nothing later of ours is folded"
    ana.write("note_added", text="hello")
    assert await ana.rents("r4", 0.8) == ""


async def test_a_peer_whose_word_counts_no_more_holds_nothing() -> None:
    ana = Peer()
    await ana.cap("1")
    ana.waits = True
    with pytest.raises(RequestError, match="does not count now"):
        await ana.rents(RENTAL, 0.1)
    ana.waits = False
    assert await ana.rents(RENTAL, 1) == ""


# Peers that are apart.


async def two_with_slices() -> tuple[Peer, Peer]:
    """Ana has $10 and gave Ben 4 of them; then they are apart."""
    ana, ben = Peer(ANA), Peer(BEN)
    await ana.cap("10")
    ben.meet(ana)
    gave = {"peer": BEN, "amount": "4"}
    member(ana, BEN)
    await ana.service.grant(gave, "admin")
    ben.meet(ana)
    return ana, ben


def member(peer: Peer, author: str) -> None:
    """A peer that is in no fleet knows nobody by name: the key is enough for a test."""
    service = peer.service
    asking = vars(service)["_asking"]
    known = asking._peer
    asking._peer = lambda text: author if text == author else known(text)


async def test_two_peers_that_are_apart_never_spend_more_than_the_cap() -> None:
    ana, ben = await two_with_slices()
    said = await asyncio.gather(
        *(ana.rents(f"a{n}", 0.5) for n in range(30)), *(ben.rents(f"b{n}", 0.5) for n in range(30))
    )
    assert (said[:30].count(""), said[30:].count("")) == (12, 8)
    assert ben.kinds().index("budget_taken") < ben.kinds().index("budget_held")
    ana.meet(ben)
    assert (ana.row["held_nusd"], ana.row["cap_nusd"]) == (10 * USD, 10 * USD)
    assert ana.row == {**ben.row, "mine": True, "free_nusd": ana.row["free_nusd"]}


async def test_what_is_given_and_not_taken_is_shown_as_under_way() -> None:
    ana, ben = await two_with_slices()
    assert (ana.row["under_way_nusd"], ana.row["free_nusd"]) == (4 * USD, 6 * USD)
    await ben.service.step()
    ana.meet(ben)
    assert ana.row["under_way_nusd"] == 0
    await ben.service.step()
    assert ben.kinds().count("budget_taken") == 1


async def test_a_holder_hands_back_what_an_owner_that_lowered_its_cap_is_short_of() -> None:
    ana, ben = await two_with_slices()
    await ben.service.step()
    await ben.rents("b", 1)
    ana.meet(ben)
    await ana.rents("a", 5)
    await ana.cap("7")
    ben.meet(ana)
    await ben.service.step()
    ana.meet(ben)
    await ana.service.step()
    assert (ana.row["out_nusd"], ana.row["free_nusd"]) == (7 * USD, 0)
    assert ben.row["free_nusd"] == USD, "2 of its 3 went back"
