"""Peers with budgets: a disk that takes its time, processes that die, ledgers that meet later."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from mesh.edge.budgets.service import BudgetService
from mesh.edge.disk import StoreError
from mesh.ledger.event import Event
from mesh.state.budgets.budget import Budget
from mesh.state.facts.budget import FLEET
from mesh.state.facts.serving import MONTH
from mesh.state.fold import apply
from mesh.state.jobs import JobView
from mesh.state.state import State
from tests.state.held_budgets import T0, USD

ANA, BEN = "a" * 64, "b" * 64
MONTHLY = Budget(ANA, FLEET, "", MONTH, "")


class Peer:
    """One peer's disk and its state; `begin` is a new process over them."""

    home = Path("nowhere")

    def __init__(self, author: str = ANA) -> None:
        self.author, self.clock, self.waits = author, T0, False
        self.disk: list[Event] = []
        self.state = State()
        self.failing = 0  # writes that the disk refuses from now on
        self.have: set[str] = set()
        self.begin()

    def begin(self) -> BudgetService:
        """A process: it knows what is on the disk and nothing else."""
        self.service = BudgetService(self, self.author, "dev")
        return self.service

    def now(self) -> int:
        return self.clock

    def every_job(self) -> State:
        return self.state

    async def emit(self, event_type: str, device_id: str, payload: dict[str, object]) -> Event:
        await asyncio.sleep(0)  # a disk takes its time
        if self.failing:
            self.failing -= 1
            raise StoreError("the disk is full", "make room")
        made = self.write(event_type, **payload)
        await asyncio.sleep(0)
        return made

    def write(self, kind: str, device: str = "dev", /, **payload: Any) -> Event:
        """An event of this peer's own."""
        seq = 1 + sum(one.author == self.author for one in self.disk)
        name = f"{self.author[:2]}{seq}"
        made = Event(
            id=name, hash=name, timestamp="", device_id=device, event_type=kind, payload=payload,
            author=self.author, seq=seq, prev="", hlc=f"{self.clock:013d}-{seq:05d}", sig="", v=1,
        )  # fmt: skip
        self.take(made)
        return made

    def take(self, one: Event) -> None:
        if one.id not in self.have:
            self.have.add(one.id)
            self.disk.append(one)
            apply(self.state, one)

    def meet(self, other: Peer) -> None:
        """Each has what the other has."""
        for one in list(other.disk):
            self.take(one)
        for one in list(self.disk):
            other.take(one)

    async def cap(self, dollars: str, **body: object) -> dict[str, object]:
        return await self.service.set({"amount": dollars, **body}, "admin")

    async def rents(self, rental_id: str, dollars: float, provider: str = "vastai") -> str:
        """Money for a machine; why not, "" where it is held."""
        request: Any = Wanted(self.author, provider)
        return await self.service.rentals.hold(request, rental_id, round(dollars * USD))

    def kinds(self) -> list[str]:
        return [one.event_type for one in self.disk]

    def rental(self, kind: str, rental_id: str = "r1x1x1xabc", **payload: Any) -> None:
        """One step of a rental's life, as the account's actor writes it."""
        self.clock += 1_000
        named = {"rental_id": rental_id, "turn": self.clock, "at_ms": self.clock}
        self.write(kind, provider="vastai", account="main", **named, **payload)

    def submit(self, job_id: str = "j") -> JobView:
        """A job of this peer's that is nowhere yet."""
        self.write("job_submitted", job_id=job_id, kind="command")
        return self.state.jobs[job_id]

    @property
    def row(self) -> dict[str, Any]:
        """The only budget that there is."""
        (row,) = self.service.rows()["budgets"]
        return dict(row)


class Wanted:
    """What is read of a request for a machine."""

    def __init__(self, author: str, provider: str) -> None:
        self.author, self.provider, self.job_id = author, provider, ""
