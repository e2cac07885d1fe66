"""Events that come with claims are judged once, together, and only of whoever brings them."""

import asyncio
import json
from collections.abc import Sequence
from typing import Any

import pytest

from mesh.edge.disk import StoreError
from mesh.edge.dispatch.claim_events import ClaimEvents
from mesh.ledger.gate import Admission, Known, Reject
from mesh.sync.archive import Envelope

ANA = "aa" * 32


def envelope(name: str, author: str = ANA) -> Envelope:
    return b"sig", json.dumps({"author": author, "name": name}).encode()


class Gate:
    """A ledger that notes what it is asked to judge. `open` lets it answer."""

    def __init__(self) -> None:
        self.judged: list[list[str]] = []
        self.asked, self.open, self.full = asyncio.Event(), asyncio.Event(), False
        self.unsound: set[str] = set()
        self.open.set()

    async def take_in(self, envelopes: Sequence[Envelope]) -> list[Admission]:
        names = [json.loads(body)["name"] for _, body in envelopes]
        self.judged.append(names)
        self.asked.set()
        await self.open.wait()
        if self.full:
            raise StoreError("no space")
        event: Any = None
        return [
            Reject(reason="unsound") if name in self.unsound else Known(event=event)
            for name in names
        ]


async def test_an_event_is_judged_once_however_many_claims_bring_it() -> None:
    gate = Gate()
    events = ClaimEvents(gate)  # type: ignore[arg-type]
    for last in (2, 3, 3):
        await events.take_in(ANA, [envelope(str(n)) for n in range(last)])
    assert gate.judged == [["0", "1"], ["2"]]


async def test_claims_that_come_while_the_gate_is_busy_share_the_next_turn() -> None:
    gate = Gate()
    events = ClaimEvents(gate)  # type: ignore[arg-type]
    gate.open.clear()
    first = asyncio.create_task(events.take_in(ANA, [envelope("a")]))
    await gate.asked.wait()
    later = [asyncio.create_task(events.take_in(ANA, [envelope(n)])) for n in ("b", "c", "b")]
    await asyncio.sleep(0)
    gate.open.set()
    await asyncio.gather(first, *later)
    assert gate.judged == [["a"], ["b", "c"]]


async def test_what_a_full_disk_refused_is_judged_again_and_the_claim_hears_of_it() -> None:
    gate = Gate()
    events = ClaimEvents(gate)  # type: ignore[arg-type]
    gate.full = True
    with pytest.raises(StoreError):
        await events.take_in(ANA, [envelope("a")])
    gate.full = False
    await events.take_in(ANA, [envelope("a")])
    assert gate.judged == [["a"], ["a"]]


async def test_what_was_not_taken_is_offered_again() -> None:
    gate = Gate()
    events = ClaimEvents(gate)  # type: ignore[arg-type]
    gate.unsound = {"a"}
    await events.take_in(ANA, [envelope("a"), envelope("b")])
    await events.take_in(ANA, [envelope("a"), envelope("b")])
    assert gate.judged == [["a", "b"], ["a"]]


async def test_events_of_others_and_what_is_none_are_passed_over() -> None:
    gate = Gate()
    events = ClaimEvents(gate)  # type: ignore[arg-type]
    await events.take_in(ANA, [envelope("a", "bb" * 32), (b"sig", b"[" * 10_000), (b"", b"no")])
    assert gate.judged == []


async def test_a_claim_that_is_given_up_does_not_lose_the_others_events() -> None:
    gate = Gate()
    events = ClaimEvents(gate)  # type: ignore[arg-type]
    gate.open.clear()
    gone = asyncio.create_task(events.take_in(ANA, [envelope("a")]))
    await gate.asked.wait()
    gone.cancel()
    stays = asyncio.create_task(events.take_in(ANA, [envelope("a"), envelope("b")]))
    await asyncio.sleep(0)
    gate.open.set()
    await stays
    assert gate.judged[0] == ["a"]
    assert "b" in gate.judged[1]
