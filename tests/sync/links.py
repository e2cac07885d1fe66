"""Links in memory, for tests of what runs over them."""

import asyncio

from mesh.sync.versions import PROTOCOL


class MemoryLink:
    """One end of a pair, reliable and in order until either side closes it."""

    def __init__(self, peer_key: bytes) -> None:
        self.peer_key = peer_key
        self.version = PROTOCOL
        self.inbox: asyncio.Queue[bytes | None] = asyncio.Queue()
        self.other: MemoryLink | None = None
        self.closed = asyncio.Event()

    async def send(self, data: bytes) -> None:
        if self.closed.is_set() or self.other is None:
            raise ConnectionError("closed")
        self.other.inbox.put_nowait(data)
        await asyncio.sleep(0)

    async def receive(self) -> bytes:
        data = None if self.closed.is_set() else await self.inbox.get()
        if data is None:
            raise ConnectionError("closed")
        return data

    async def close(self) -> None:
        for end in (self, self.other):
            if end is not None and not end.closed.is_set():
                end.closed.set()
                end.inbox.put_nowait(None)


def pair(one: bytes, two: bytes) -> tuple[MemoryLink, MemoryLink]:
    """Two ends: what `one` uses to speak to `two`, and the other way round."""
    a, b = MemoryLink(two), MemoryLink(one)
    a.other, b.other = b, a
    return a, b
