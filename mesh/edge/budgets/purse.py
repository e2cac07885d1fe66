"""One peer's purse with its disk: what is held is durable before whoever asked hears of it.

A check and the deduction are one step without a wait, so that of fifty requests at once no two are
given the same money; then they share one write.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from typing import Final, final

from mesh.api.errors import RequestError
from mesh.policy.budgets.believing import believes
from mesh.policy.budgets.nesting import nested
from mesh.policy.budgets.shares import takes_due
from mesh.policy.budgets.spender import Said, Spender
from mesh.policy.budgets.values import About, Ask, Group, Refusal
from mesh.state.budgets.budget import Budget
from mesh.state.budgets.budgets import Budgets
from mesh.state.facts.budget import (
    EVENTS,
    BudgetAdjusted,
    BudgetCapSet,
    BudgetGiven,
    BudgetHeld,
    BudgetTaken,
)
from mesh.state.facts.fact import Fact, encode
from mesh.state.state import State

KINDS: Final[dict[type[Fact], str]] = {forms[0]: kind for kind, forms in EVENTS.items()}
ID_BYTES: Final = 8  # random: of all that one peer ever holds and gives, no two are named alike
# After a write that failed, until it is believed that it is not on the disk: what is committed is
# folded within a tenth of a second.
UNSURE_MS: Final = 5_000

Emit = Callable[[str, str, dict[str, object]], Awaitable[object]]
Written = Said | BudgetTaken | BudgetAdjusted | BudgetCapSet


@final
class Purse:
    """What peer `me` may spend, in this process. `device_id` stands in events that are about no
    device; `counts` says whether this peer's word counts, and may be signed now."""

    def __init__(
        self,
        me: str,
        device_id: str,
        state: Callable[[], State],
        emit: Emit,
        now_ms: Callable[[], int],
        counts: Callable[[], bool],
    ) -> None:
        self.me: Final = me
        self._device_id: Final = device_id
        self._state: Final = state
        self._emit: Final = emit
        self.now_ms: Final = now_ms
        self._counts: Final = counts
        self._spender: Final = Spender(me)
        self._taking: Final = asyncio.Lock()
        self._taken: set[tuple[str, str]] = set()  # said in this process: a copy counts nothing
        # Writes that failed: (what, how far our own chain was folded, when).
        self._unsure: list[tuple[Said, int, int]] = []

    @property
    def book(self) -> Budgets:
        """What the ledger says of budgets now."""
        return self._state().budgets

    @property
    def spender(self) -> Spender:
        """What this process knows beside the ledger."""
        return self._spender

    def free(self, budget: Budget, period: int) -> int:
        """What this peer may still hold or give."""
        return self._spender.free(self.book, budget, period)

    def groups(self, about: About) -> list[Group]:
        """The budgets that count a thing now."""
        state = self._state()
        return nested(
            state.budgets, about, self.now_ms(), believes=lambda one: believes(state, one)
        )

    # Before something is bought.

    async def hold(
        self,
        what: str,
        groups: Callable[[], list[Group]],
        most_nusd: int,
        *,
        for_ms: int,
        owned: bool = False,
    ) -> str | Refusal | None:
        """The id of a hold that is on the disk; None where no budget counts this.

        `what` names the thing, for people and for the process after this one; `groups` is asked
        again once what is due to this peer was taken. RequestError or StoreError where nothing can
        be written.
        """
        if not groups():
            return None
        await self.take_due()
        said = self._admit(what, groups(), most_nusd, for_ms=for_ms, owned=owned)
        if not isinstance(said, BudgetHeld):
            return said
        await self._say(said)
        if said.hold_id not in self.book.word(self.me).holds:
            self._spender.unwritten(said)
            raise _unheard()
        return said.hold_id

    async def refuses(
        self, groups: Callable[[], list[Group]], most_nusd: int, *, owned: bool = False
    ) -> Refusal | None:
        """Why so much could not be held now; nothing is held."""
        if not groups():
            return None
        await self.take_due()
        said = self._admit("", groups(), most_nusd, for_ms=0, owned=owned)
        if isinstance(said, BudgetHeld):
            self._spender.unwritten(said)
            return None
        return said

    def _admit(
        self, what: str, groups: list[Group], most_nusd: int, *, for_ms: int, owned: bool
    ) -> BudgetHeld | Refusal | None:
        self._demand_counts()
        self.look_again()
        now_ms = self.now_ms()
        ask = Ask(
            hold_id=f"h-{secrets.token_hex(ID_BYTES)}",
            most_nusd=most_nusd,
            now_ms=now_ms,
            until_ms=now_ms + for_ms,
            about=what,
        )
        return self._spender.admit(self.book, ask, groups, owned=owned)

    def begin(self, hold_id: str) -> bool:
        """Whether what was held for may be asked for now; said once."""
        return self._spender.begin(self.book, hold_id)

    # After it.

    async def settle(self, hold_id: str, cost_nusd: int, basis: str) -> None:
        """It cost this; nothing where its end was said already."""
        said = self._spender.settle(self.book, hold_id, cost_nusd, basis)
        if said is not None:
            await self._say(said)

    async def release(self, hold_id: str, why: str) -> None:
        """It is proved that nothing was bought; nothing where its end was said already."""
        said = self._spender.release(self.book, hold_id, why)
        if said is not None:
            await self._say(said)

    async def adjust(self, hold_id: str, cost_nusd: int) -> None:
        """It cost this in all, as is known by now; nothing where the ledger says so."""
        said = self._spender.adjust(self.book, hold_id, cost_nusd)
        if said is not None:
            await self._say(said)

    # Gifts and caps.

    async def take_due(self) -> None:
        """Take what others gave this peer: always before anything is held."""
        async with self._taking:
            for one in takes_due(self.book, self.me) if self._counts() else ():
                if (one.giver, one.give_id) not in self._taken:
                    await self._say(one)
                    self._taken.add((one.giver, one.give_id))

    async def give(
        self, budget: Budget, to: str, amount_nusd: int, *, first: int, last: int
    ) -> BudgetGiven | Refusal:
        """Give another peer so much in each of some periods; durable when it returns."""
        await self.take_due()
        self._demand_counts()
        self.look_again()
        give_id = f"g-{secrets.token_hex(ID_BYTES)}"
        said = self._spender.give(
            self.book, give_id, budget, to, amount_nusd, first=first, last=last
        )
        if isinstance(said, BudgetGiven):
            await self._say(said)
        return said

    async def cap(self, said: BudgetCapSet) -> None:
        """Say what may be spent; durable when it returns."""
        self._demand_counts()
        await self._say(said)

    # What is written.

    async def _say(self, said: Written) -> None:
        try:
            await self._emit(KINDS[type(said)], self._device_id, encode(said))
        except Exception:
            if not isinstance(said, BudgetTaken | BudgetAdjusted | BudgetCapSet):
                tip = self._state().members.seen(self.me)
                self._unsure.append((said, tip, self.now_ms()))
            raise

    def look_again(self) -> None:
        """What a failed write left: its money is free again once something later of ours is in the
        ledger, and it is not."""
        now_ms, tip, left = self.now_ms(), self._state().members.seen(self.me), []
        for said, before, at_ms in self._unsure:
            if tip <= before or abs(now_ms - at_ms) < UNSURE_MS:
                left.append((said, before, at_ms))
            elif not self._is_there(said):
                self._spender.unwritten(said)
        self._unsure = left

    def _is_there(self, said: Said) -> bool:
        word = self.book.word(self.me)
        if isinstance(said, BudgetHeld):
            return said.hold_id in word.holds
        if isinstance(said, BudgetGiven):
            return said.give_id in word.gives
        return said.hold_id not in word.open_ids

    def _demand_counts(self) -> None:
        if not self._counts():
            raise _unheard()


def _unheard() -> RequestError:
    text = "what this peer says of budgets does not count now"
    return RequestError("StaleView", text, "fleet peers", 503)
