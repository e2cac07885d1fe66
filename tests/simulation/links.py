"""Connections in memory: in order and whole until they die, as TCP with TLS is.

What arrives twice or in another order comes over different links, over a link that died in between,
or from a liar.
"""

import asyncio
import random
from collections import deque
from collections.abc import Callable
from typing import Final, Protocol

HEARTBEAT_S: Final = 15.0  # a link on which nothing is heard for so long is dead
SEND_S: Final = 30.0  # a neighbour that takes nothing for so long has lost the link
WINDOW_S: Final = 0.5  # how far ahead of delivery a sender may be
BYTES_PER_S: Final = 1_000_000
KINDS: Final = ("hello", "heads", "pull", "batch", "tail")  # by their tag


class End(Protocol):
    """A peer as its links know it."""

    number: int
    version: int
    honest: bool

    @property
    def key(self) -> bytes: ...

    @property
    def up(self) -> bool: ...

    def took_step(self, step: str) -> None: ...

    def was_told(self, link: "Link", data: bytes) -> None: ...


class Wire:
    """One connection of two peers. `deaf` are those who hear nothing any more, without knowing."""

    def __init__(self, one: End, two: End, rng: random.Random, loss: float) -> None:
        self.rng, self.loss = rng, loss
        self.alive = True
        self.deaf: set[int] = set()
        self.slow = 1.0  # how many times longer everything takes
        self.version = min(one.version, two.version)  # as their greetings agree
        self.links = (Link(self, one, two, outbound=True), Link(self, two, one, outbound=False))
        self.on_end: Callable[[], None] = lambda: None

    @property
    def ends(self) -> tuple[End, End]:
        return self.links[0].me, self.links[1].me

    def other(self, link: "Link") -> "Link":
        return self.links[1] if link is self.links[0] else self.links[0]

    def cut(self) -> None:
        """The connection is gone; both ends notice."""
        if self.alive:
            self.alive = False
            for link in self.links:
                link.inbox.put_nowait(None)
            self.on_end()

    def half_open(self) -> None:
        """One end hears nothing more, until the heartbeat ends it."""
        self.deaf.add(self.rng.choice(self.ends).number)
        asyncio.get_running_loop().call_later(HEARTBEAT_S, self.cut)


class Link:
    """One peer's end of a wire: what Replication speaks into."""

    def __init__(self, wire: Wire, me: End, other: End, *, outbound: bool) -> None:
        self.wire, self.me, self.other, self.outbound = wire, me, other, outbound
        self.inbox: asyncio.Queue[bytes | None] = asyncio.Queue()
        self.version = wire.version
        self.quiet = False  # to a key that was put out
        self.address = f"peer {other.number}"
        self._flying: deque[bytes] = deque()
        self._free_at = 0.0  # when all that was sent has arrived

    @property
    def peer_key(self) -> bytes:
        return self.other.key

    async def send(self, data: bytes) -> None:
        """Send a message; waits while the wire is full."""
        if not self.wire.alive or self.wire.rng.random() < self.wire.loss:
            self.wire.cut()
            raise ConnectionError("the link has ended")
        loop = asyncio.get_running_loop()
        self.me.took_step(kind_of(data))
        takes = (0.001 + self.wire.rng.random() * 0.2 + len(data) / BYTES_PER_S) * self.wire.slow
        self._free_at = max(loop.time() + takes, self._free_at)
        self._flying.append(data)
        loop.call_at(self._free_at, self._arrive)
        ahead = self._free_at - loop.time() - WINDOW_S
        if ahead > SEND_S:
            await asyncio.sleep(SEND_S)
            self.wire.cut()
        elif ahead > 0:
            await asyncio.sleep(ahead)

    def _arrive(self) -> None:
        data = self._flying.popleft()
        other = self.wire.other(self)
        if self.wire.alive and other.me.up and other.me.number not in self.wire.deaf:
            if kind_of(data) == "hello":
                other.me.was_told(other, data)
            other.inbox.put_nowait(data)

    async def receive(self) -> bytes:
        """The next message; ConnectionError when the link has ended."""
        data = await self.inbox.get() if self.wire.alive else None
        if data is None:
            raise ConnectionError("the link has ended")
        return data

    async def close(self) -> None:
        """End the link."""
        self.wire.cut()


def kind_of(data: bytes) -> str:
    """Which message bytes claim to be; "" for none."""
    if len(data) > 1 and data[0] & 0xF0 == 0x90 and data[1] < len(KINDS):
        return KINDS[data[1]]
    return ""
