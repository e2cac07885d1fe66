"""Links in memory, for tests of what runs over them."""

import asyncio


class MemoryLink:
    """One end of a pair; a bounded queue stands for what a socket holds."""

    def __init__(self, peer_key: bytes, room: int = 4) -> None:
        self.peer_key = peer_key
        self.inbox: asyncio.Queue[bytes | None] = asyncio.Queue(room)
        self.other: MemoryLink | None = None
        self.closed = asyncio.Event()
        self.sent_bytes = 0

    async def send(self, data: bytes) -> None:
        assert self.other is not None
        await self._unless_closed(self.other.inbox.put(data))
        self.sent_bytes += len(data)

    async def receive(self) -> bytes:
        return await self._unless_closed(self.inbox.get())

    async def close(self) -> None:
        self.closed.set()
        if self.other is not None:
            self.other.closed.set()

    async def _unless_closed(self, doing):  # type: ignore[no-untyped-def]
        task = asyncio.ensure_future(doing)
        ended = asyncio.ensure_future(self.closed.wait())
        try:
            await asyncio.wait({task, ended}, return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                return task.result()
            raise ConnectionError("closed")
        finally:
            task.cancel()
            ended.cancel()


def pair(one: bytes, two: bytes) -> tuple[MemoryLink, MemoryLink]:
    """Two ends: what `one` uses to speak to `two`, and the other way round."""
    a, b = MemoryLink(two), MemoryLink(one)
    a.other, b.other = b, a
    return a, b
