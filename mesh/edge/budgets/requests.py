"""What requests with a key ask of this peer's purse: a block is held for a minute's worth of them,
counted down here, and settled at what they cost.

Requests count in their key's budgets alone: in all others the job of the server that answers them
does. What was used of a block is known to this process only, so a block that a process before left
open is settled at what was held, as an estimate.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final, final

from mesh.api.errors import RequestError
from mesh.edge.budgets.paying import BEGIN_MS, Named
from mesh.edge.budgets.purse import Purse
from mesh.edge.locks import KeyedLocks
from mesh.policy.budgets.outcomes import MEASURED
from mesh.policy.budgets.values import About, Group, Refusal
from mesh.state.budgets.entries import Hold
from mesh.state.facts.budget import KEY
from mesh.state.rentals.terms import MIN_MS

REQUESTS: Final = "requests"
ESTIMATED: Final = "estimated"
# A block's time: two events a minute of a busy key are as many as its usage is.
SPAN_MS: Final = MIN_MS
# Dearest requests that a block holds for, where there is so much; at least one.
MANY: Final = 20

End = Callable[[int], None]
Key = tuple[str, bool]


@dataclass(slots=True, eq=False)
class _Block:
    """Money that is held for requests of one key."""

    hold_id: str
    left_nusd: int
    made_ms: int
    spent_nusd: int = 0
    under_way: int = 0

    def take(self, worst_nusd: int) -> End:
        """Count one request, of which the end says what it cost."""
        self.left_nusd -= worst_nusd
        self.under_way += 1
        return partial(self._end, worst_nusd)

    def _end(self, worst_nusd: int, cost_nusd: int) -> None:
        self.under_way -= 1
        self.left_nusd += worst_nusd - cost_nusd
        self.spent_nusd += cost_nusd


@final
class RequestBudgets:
    """Money for requests, before they are passed on."""

    def __init__(self, purse: Purse, now_ms: Callable[[], int], named: Named) -> None:
        self._purse: Final = purse
        self._now_ms: Final = now_ms
        self._named: Final = named
        self._locks: Final = KeyedLocks()
        self._open: dict[Key, _Block] = {}
        self._full: list[_Block] = []  # nothing more is taken of them

    async def take(self, key_id: str, worst_nusd: int, *, rented: bool) -> End:
        """Let a request in, to be ended with its cost; RequestError where its key's budgets have
        no money. `rented`: a rented machine may answer it."""
        if not self._groups(key_id):
            return _nothing
        async with self._locks.one_at_a_time((key_id, rented)):
            block = self._open.get((key_id, rented))
            if block is None or block.left_nusd < worst_nusd or self._is_old(block):
                block = await self._renew((key_id, rented), worst_nusd)
            return _nothing if block is None else block.take(worst_nusd)

    def _groups(self, key_id: str) -> list[Group]:
        groups = self._purse.groups(About(key=key_id))
        return [one for one in groups if one[0].scope == KEY]

    async def _renew(self, key: Key, worst_nusd: int) -> _Block | None:
        """Another block; None where nothing has to be held."""
        self._retire(key)
        said = await self._hold(key, MANY * worst_nusd)
        most = MANY * worst_nusd
        if isinstance(said, Refusal):
            await self._settle()  # what was left of the block before is free then
            said, most = await self._hold(key, worst_nusd), worst_nusd
        if isinstance(said, Refusal):
            no = self._named(said)
            raise RequestError(no.code, no.text, no.hint, 429)
        if said is None:
            return None
        self._purse.begin(said)
        block = self._open[key] = _Block(said, most, self._now_ms())
        return block

    async def _hold(self, key: Key, most_nusd: int) -> str | Refusal | None:
        key_id, rented = key
        return await self._purse.hold(
            f"{REQUESTS} {key_id}",
            lambda: self._groups(key_id),
            most_nusd,
            for_ms=BEGIN_MS,
            owned=not rented,
        )

    def _is_old(self, block: _Block) -> bool:
        return abs(self._now_ms() - block.made_ms) >= SPAN_MS

    def _retire(self, key: Key) -> None:
        block = self._open.pop(key, None)
        if block is not None:
            self._full.append(block)

    async def step(self, *, last: bool = False) -> None:
        """Settle the blocks whose time is over and whose requests have all ended."""
        for key in [key for key, one in self._open.items() if last or self._is_old(one)]:
            self._retire(key)
        await self._settle()

    async def _settle(self) -> None:
        for block in [one for one in self._full if not one.under_way]:
            if block not in self._full:
                continue  # another request saw to it meanwhile
            self._full.remove(block)
            try:
                if block.spent_nusd:
                    await self._purse.settle(block.hold_id, block.spent_nusd, MEASURED)
                else:
                    await self._purse.release(block.hold_id, "unused")
            except Exception:
                self._full.append(block)
                raise

    async def settle_lost(self, hold_id: str, one: Hold) -> bool:
        """Settle a block that a process before left open; False where the hold is no block."""
        if not one.about.startswith(f"{REQUESTS} "):
            return False
        if hold_id in self._purse.spender.doubtful(self._purse.book):
            await self._purse.settle(hold_id, one.amount_nusd, ESTIMATED)
        return True


def _nothing(cost_nusd: int) -> None:
    """Nothing was held for it."""
