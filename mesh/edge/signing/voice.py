"""Whether this peer may sign, and the mark of how far it did."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from typing import Final, final

from mesh.edge.signing.hearing import Hearing, NotHeard, clock_fault
from mesh.edge.signing.highwater import Mark
from mesh.edge.signing.restored import settle, was_restored
from mesh.edge.store.ledger import Ledger
from mesh.ledger.event import Event
from mesh.sync.manifest import Tip

# A command given right after the start waits this long for a neighbour to be heard: a link on a
# LAN is up in a second.
PATIENCE_S: Final = 5.0
LOOK_S: Final = 0.5  # how late a claim that has run out may be noticed
# Own events between two notes of the mark outside the database, each as dear as a commit. What is
# not noted yet, neighbours tell us of.
MARK_EVENTS: Final = 32


@final
class Voice:
    """The hearing of one ledger, on the loop's clock."""

    def __init__(
        self,
        ledger: Ledger,
        mark: Mark,
        skews: Callable[[], Sequence[int]],
        *,
        asks: bool,
        alone: bool,
    ) -> None:
        self._ledger: Final = ledger
        self._skews: Final = (lambda: ()) if alone else skews
        self._mark: Final = mark
        noted = mark.read(ledger.author)
        self._copied = was_restored(ledger.home, ledger.author)
        self._hearing: Final = Hearing(
            self._holds, asks=asks, mark=noted, alone=alone, copied=self._copied
        )
        self._unmarked = MARK_EVENTS  # own events since the mark was written: nobody knows
        self._news: Final = asyncio.Event()

    @property
    def restored(self) -> bool:
        """Whether this ledger began as an older copy of itself."""
        return self._hearing.restored

    @property
    def waiting_for(self) -> str:
        """What has to come before anything is signed, for a person; "" for nothing."""
        return self._hearing.waiting_for(_now_s()) or clock_fault(self._skews())

    def heard(self, tip: Tip) -> None:
        """A neighbour says where our own chain ends, seq 0 for nowhere."""
        self._hearing.heard(tip, _now_s())
        self._news.set()

    def joins(self, own: Tip) -> None:
        """We come into a fleet, where our own chain ends at `own`, seq 0 for nowhere."""
        self._hearing.begin()
        self.heard(own)

    def stored(self) -> None:
        """Own events are in the ledger that were not before."""
        self._hearing.stored(_now_s())
        self._news.set()

    def signed(self, event: Event, count: int = 1) -> None:
        """In the writer's thread: `count` own events are durable up to this one. Now and then the
        mark follows."""
        self._hearing.signed()
        if self._copied:
            settle(self._ledger.home)
            self._copied = False
        self._unmarked += count
        if self._unmarked > MARK_EVENTS:
            self._note(Tip(event.seq, event.hash))

    async def wait(self) -> None:
        """Until an own event may be signed."""
        while self.waiting_for:
            self._news.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_S):
                    await self._news.wait()

    async def demand(self) -> None:
        """Wait a moment for what is missing; NotHeard where it does not come."""
        if not self.waiting_for:
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE_S):
                await self.wait()
        if self.waiting_for:
            raise NotHeard(self.waiting_for)

    def close(self) -> None:
        """Note where the own chain ends, unless that is known to be too early."""
        tip = self._ledger.tip(self._ledger.author)
        if tip is not None and not tip.fork and not self._hearing.lacks_mark:
            self._note(tip)

    def _note(self, tip: Tip) -> None:
        with contextlib.suppress(OSError):  # a full disk: neighbours still tell us
            self._mark.write(self._ledger.author, tip)
            self._unmarked = 0

    def _holds(self, tip: Tip) -> bool:
        """Whether an own tip is in this ledger; or its second history, once that is known here."""
        me = self._ledger.author
        return me in self._ledger.forked() or self._ledger.has(me, tip.seq, tip.hash)


def _now_s() -> float:
    return asyncio.get_running_loop().time()
