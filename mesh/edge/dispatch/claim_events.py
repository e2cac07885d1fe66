"""Events that come with claims: each is put through the gate once, those of many claims together.

A home sends the end of its chain with every claim, so of two claims in a row many are the same.
What this process has put through the gate it does not judge again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final, final

import msgspec

from mesh.edge.dispatch.ports import Ledger
from mesh.ledger.gate import Accept, Fork, Known
from mesh.sync.archive import Envelope

# Events remembered, the oldest forgotten first: of a hundred homes the newest 32 each; 2 MB.
MAX_REMEMBERED: Final = 4096


@final
class ClaimEvents:
    """Takes in what homes tell of themselves. `take_in` of the ledger may wait for the disk."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger: Final = ledger
        self._taken: Final[dict[Envelope, None]] = {}
        self._waiting: dict[Envelope, None] = {}  # for the next turn at the ledger
        self._turn: asyncio.Task[None] | None = None  # takes in what waits once it begins
        self._before: asyncio.Task[None] | None = None  # takes in what waited before that

    async def take_in(self, home: str, envelopes: Sequence[Envelope]) -> None:
        """Put what `home` signed of these through the gate; StoreError where the disk is full."""
        fresh = [one for one in envelopes if one not in self._taken and _author(one) == home]
        if not fresh:
            return
        self._waiting.update(dict.fromkeys(fresh))
        if self._turn is None:
            self._turn = asyncio.create_task(self._take(self._before))
        await asyncio.shield(self._turn)

    async def _take(self, before: asyncio.Task[None] | None) -> None:
        if before is not None:
            await asyncio.wait([before])
        some, self._waiting = list(self._waiting), {}
        self._before, self._turn = self._turn, None
        for one, outcome in zip(some, await self._ledger.take_in(some), strict=True):
            if isinstance(outcome, Accept | Fork | Known):
                self._taken[one] = None
        while len(self._taken) > MAX_REMEMBERED:
            del self._taken[next(iter(self._taken))]


class _Signed(msgspec.Struct):
    """Of a signed body, whose it is."""

    author: str = ""


def _author(one: Envelope) -> str:
    try:
        return msgspec.json.decode(one[1], type=_Signed).author
    except (msgspec.MsgspecError, RecursionError):
        return ""
