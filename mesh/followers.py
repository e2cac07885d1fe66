"""Who follows the ledger as it grows: each has a queue, and one that lags is cut off."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Final, final

from mesh.ledger.event import Event

# A follower that lags this far is cut off: 4096 events of 64 KiB bound its memory.
MAX_LAG_EVENTS: Final = 4096


@final
class Followers:
    """Everybody who hears of events. Used on one loop."""

    def __init__(self) -> None:
        self._queues: Final[set[asyncio.Queue[Event]]] = set()

    def tell(self, events: Sequence[Event]) -> None:
        """The state has these events now."""
        for queue in list(self._queues):
            try:
                for event in events:
                    queue.put_nowait(event)
            except asyncio.QueueFull:
                self._queues.discard(queue)

    async def follow(self) -> AsyncIterator[Event]:
        """Every event from now on; ends for a reader that falls MAX_LAG_EVENTS behind."""
        queue: asyncio.Queue[Event] = asyncio.Queue(MAX_LAG_EVENTS)
        self._queues.add(queue)
        try:
            while queue in self._queues or not queue.empty():
                yield await queue.get()
        finally:
            self._queues.discard(queue)
