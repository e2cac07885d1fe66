"""One peer's budgets, put together: what is held and settled, what is told, what is asked.

What is held is settled by what the ledger tells, never by what this process remembers: so it makes
no difference whether the process that held is this one or one before. A thing whose outcome nobody
knows stays held.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
import traceback
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, Final, Protocol, final

from mathcore.units import HOUR_MS, show_nusd
from mesh.api.budgets.rows import budget_rows, fault_rows, of_name, title
from mesh.api.rows import Row
from mesh.edge.budgets.asking import Asking
from mesh.edge.budgets.paying import JobBudgets, RentalBudgets
from mesh.edge.budgets.providers import limits
from mesh.edge.budgets.purse import Purse
from mesh.edge.budgets.requests import RequestBudgets
from mesh.edge.disk import StoreError
from mesh.ledger.event import Event
from mesh.policy.budgets.alarms import FORECAST, Alarm, Alarms
from mesh.policy.budgets.outcomes import OPEN, RENTAL, Machines, Outcome, machines_of, outcome
from mesh.policy.budgets.shares import return_due
from mesh.policy.budgets.values import Refusal
from mesh.policy.standing import is_heard
from mesh.state.budgets.budget import Budget, period_at, show_period
from mesh.state.budgets.entries import Hold
from mesh.state.facts.budget import KEY, USER
from mesh.state.facts.serving import TOTAL
from mesh.state.state import State

STEP_S: Final = 1.0  # how late what ended is settled
RETRY_S: Final = 5.0  # after a write that the disk refused
# Looks where nothing happened: for forecasts, and for holds whose time is over.
LOOK_MS: Final = 15_000
# Between looks into the whole ledger for one job that left memory: each takes seconds.
WHOLE_MS: Final = HOUR_MS
MAX_ALARMS: Final = 100  # kept to be shown; each was printed too


class Spends(Protocol):
    """The node, as budgets need it."""

    @property
    def state(self) -> State:
        """What the ledger says."""

    @property
    def waits(self) -> bool:
        """Whether nothing may be signed yet."""

    def now(self) -> int:
        """Milliseconds UTC."""

    def every_job(self) -> State:
        """The state with every job there ever was; takes seconds."""

    async def emit(self, event_type: str, device_id: str, payload: dict[str, object]) -> Event:
        """Sign an event."""


@final
class BudgetService:
    """Everything one peer does about budgets. `device_id` stands in events about no device."""

    def __init__(self, node: Spends, author: str, device_id: str) -> None:
        self._node: Final = node
        self._me: Final = author
        self.purse: Final = Purse(
            author, device_id, lambda: node.state, node.emit, node.now, self._counts
        )
        self.rentals: Final = RentalBudgets(self.purse, self.named)
        self.jobs: Final = JobBudgets(self.purse, lambda: node.state, self.named)
        self.requests: Final = RequestBudgets(self.purse, node.now, self.named)
        self._asking: Final = Asking(self.purse, lambda: node.state, node.now, self.named)
        self._alarms: Final = Alarms(author)
        self.alarms: list[Row] = []
        self._as_of = (0, 0)
        self._looked_ms = 0
        self._whole_ms: dict[str, int] = {}  # by hold, when the whole ledger was asked

    def _counts(self) -> bool:
        """Whether this peer's word on budgets counts, and may be signed now."""
        return not self._node.waits and is_heard(self._node.state.members, self._me)

    async def run(self) -> None:
        """Settle, take, hand back and tell until cancelled; what is held then stays held, but for
        requests that have ended."""
        try:
            while True:
                await asyncio.sleep(STEP_S)
                await self._safely()
        finally:
            with contextlib.suppress(Exception):  # the next process settles it, as an estimate
                await self.requests.step(last=True)

    async def _safely(self) -> None:
        try:
            await self.step()
        except StoreError as error:
            print(f"fleet: {error.text}; {error.hint}", file=sys.stderr, flush=True)
            await asyncio.sleep(RETRY_S)
        except Exception:
            traceback.print_exc()  # a bug of ours: tried again
            await asyncio.sleep(RETRY_S)

    async def step(self) -> None:
        """Do what is due, where something happened or time passed."""
        state, now_ms = self._node.state, self._node.now()
        as_of = id(state), state.event_count
        if not self._counts():
            return
        await self.requests.step()
        if as_of == self._as_of and abs(now_ms - self._looked_ms) < LOOK_MS:
            return
        self.purse.look_again()
        await self.purse.take_due()
        await self._settle()
        await self._hand_back()
        self._tell(self._alarms.due(self.purse.book, self._node.now()))
        self._as_of, self._looked_ms = as_of, now_ms

    # What was held.

    async def _settle(self) -> None:
        """Every hold of this peer's whose thing is over is settled, or let go where nothing was
        bought; invoices that came since are booked."""
        state = self._node.state
        machines, word = machines_of(state), self.purse.book.word(self._me)
        for hold_id in sorted(word.open_ids):
            one = word.holds.get(hold_id)
            if one is not None and not await self.requests.settle_lost(hold_id, one):
                await self._end(hold_id, one, await self._outcome(hold_id, machines, one.about))
        for hold_id, one in self._ended_rentals():
            found = outcome(state, machines, self._me, one.about)
            if found.how == "over" and found.cost_nusd != one.spent_nusd:
                await self.purse.adjust(hold_id, found.cost_nusd)

    async def _outcome(self, hold_id: str, machines: Machines, about: str) -> Outcome:
        found, now_ms = outcome(self._node.state, machines, self._me, about), self._node.now()
        if found.how != "retired":
            return found
        if abs(now_ms - self._whole_ms.get(hold_id, -WHOLE_MS)) < WHOLE_MS:
            return OPEN  # an attempt of it may go on: it was looked up a moment ago
        self._whole_ms[hold_id] = now_ms
        whole = await asyncio.to_thread(self._node.every_job)
        return outcome(whole, machines, self._me, about)

    async def _end(self, hold_id: str, one: Hold, found: Outcome) -> None:
        if found.how == "over" and found.bought:
            await self.purse.settle(hold_id, found.cost_nusd, found.basis)
        elif found.how == "over":
            await self.purse.release(hold_id, "nothing_bought")
        elif found.how == "never" and self._is_past(hold_id, one):
            await self.purse.release(hold_id, "never_begun")

    def _is_past(self, hold_id: str, one: Hold) -> bool:
        """Whether nobody will begin any more what was never begun: its time is over, or the process
        that held for it is."""
        doubtful = self.purse.spender.doubtful(self.purse.book)
        return one.until_ms <= self._node.now() or hold_id in doubtful

    def _ended_rentals(self) -> list[tuple[str, Hold]]:
        holds = self.purse.book.word(self._me).holds.items()
        return [
            (hold_id, one)
            for hold_id, one in holds
            if not one.is_open and one.about.startswith(f"{RENTAL} ")
        ]

    # Money that goes back.

    async def _hand_back(self) -> None:
        """What owners want back that lowered their caps, as far as this peer has something left."""
        now_ms = self._node.now()
        taken = {one.budget for one in self.purse.book.word(self._me).takes.values()}
        for budget, period in _current(sorted(taken), now_ms):
            free = self.purse.free(budget, period)
            due = return_due(self.purse.book, self._me, budget, period, free)
            if due is not None:
                await self.purse.give(budget, budget.owner, due.nusd, first=period, last=period)

    # What is told.

    def _tell(self, due: list[Alarm]) -> None:
        for one in due:
            text = self._alarm_text(one)
            print(f"fleet: {text}", file=sys.stderr, flush=True)
            name = title(self._node.state, one.budget)
            said = {"name": name, "level": one.level, "nusd": one.nusd, "text": text}
            self.alarms.append({**said, "at_ms": self._node.now()})
            del self.alarms[:-MAX_ALARMS]

    def _alarm_text(self, one: Alarm) -> str:
        state, (budget, period, cap_nusd, level, nusd) = self._node.state, one
        most = show_nusd(cap_nusd)
        name = title(state, budget)
        when = f" in {show_period(budget, period)}" if budget.per != TOTAL else ""
        if level == FORECAST:
            return (
                f"the budget {name}: at the pace so far {show_nusd(nusd)} will be spent{when},"
                f" of {most}"
            )
        return f"the budget {name}: {level} % of {most} is spent or held{when}"

    def named(self, no: Refusal) -> Refusal:
        """A refusal with people's names in place of keys."""
        if no.budget is None or no.budget.scope not in (USER, KEY):
            return no
        name = of_name(self._node.state, no.budget)
        return replace(no, text=no.text.replace(no.budget.of, name))

    # What is asked.

    def rows(self) -> dict[str, Any]:
        """Every budget, and what was told of this peer's own."""
        state, now_ms = self._node.state, self._node.now()
        counts = {one: limits(state, one) for one in state.budgets.capped()}
        rows = budget_rows(state, self._me, now_ms, self.purse.free, counts.__getitem__)
        return {"budgets": rows, "alarms": list(self.alarms), "faults": fault_rows(state)}

    async def set(self, body: Mapping[str, object], role: str) -> Row:
        """Set or lift a cap."""
        return await self._asking.set(body, role)

    async def grant(self, body: Mapping[str, object], role: str) -> Row:
        """Give another peer a part of a budget."""
        return await self._asking.grant(body, role)


def _current(budgets: list[Budget], now_ms: int) -> Iterator[tuple[Budget, int]]:
    """Each with its period of now; those of zones that this machine does not know are left out."""
    for one in budgets:
        try:
            yield one, period_at(one, now_ms)
        except ValueError:
            continue
