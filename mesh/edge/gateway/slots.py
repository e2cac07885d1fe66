"""Who is answered by one model server now, and who waits: in turn, never more than its slots.

llama.cpp queues what is beyond its slots where nobody sees it; here a place can be shown.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final, final

from mesh.api.errors import RequestError

# Who would wait behind so many is told when to come again: its client would give up first.
MAX_WAITING: Final = 256
# How much the newest answer counts in what is expected of the next one.
NEWEST: Final = 0.2
MAX_RETRY_S: Final = 60  # OpenAI's library gives up at once above two minutes


@final
class Full(RequestError):
    """Too many wait already."""

    def __init__(self, wait_s: float) -> None:
        self.retry_after_s: Final = max(1, min(MAX_RETRY_S, round(wait_s)))
        text = f"{MAX_WAITING} requests wait for this model already"
        super().__init__("Busy", text, f"ask again in {self.retry_after_s} s", 503)


@final
class Closed(RequestError):
    """The server makes room for another model; nothing of the request was begun."""

    def __init__(self) -> None:
        super().__init__("Closing", "this server makes room for another model", "ask again", 503)


@final
class Door:
    """One request's place: before it is open it waits, then it has a slot."""

    def __init__(self) -> None:
        self._moved: Final = asyncio.Event()
        self.begun_s: float | None = None  # since when it has its slot, on the steady clock
        self.shut = False  # it never opens

    def open(self, now_s: float) -> None:
        """Its turn has come."""
        self.begun_s = now_s
        self._moved.set()

    def close(self) -> None:
        """Its turn never comes."""
        self.shut = True
        self._moved.set()

    async def comes(self, within_s: float) -> bool:
        """Whether its turn came within that time; Closed where it never does."""
        try:
            async with asyncio.timeout(within_s):
                await self._moved.wait()
        except TimeoutError:
            return False
        if self.shut:
            raise Closed
        return True


@final
class Slots:
    """One server's. `now_s` is a steady clock."""

    def __init__(self, size: int, now_s: Callable[[], float]) -> None:
        self.size = max(1, size)
        self._now_s: Final = now_s
        self._waiting: deque[Door] = deque()
        self.busy = 0
        self.closed = False
        self.answer_s = 0.0  # what an answer takes of a slot, as of the last ones
        self._last_s = now_s()  # when a request was here last

    @property
    def waiting(self) -> int:
        """How many wait."""
        return len(self._waiting)

    @property
    def idle_s(self) -> float:
        """For how long nobody was here."""
        return 0.0 if self.busy or self._waiting else self._now_s() - self._last_s

    def wait_s(self, ahead: int) -> float:
        """When a request with so many waiting ahead of it should be let in, s from now."""
        if self.busy < self.size and not ahead:
            return 0.0
        return (ahead + 1) * self.answer_s / self.size

    def resize(self, size: int) -> None:
        """The server says how many it answers at once."""
        self.size = max(1, size)
        self._next()

    def place(self, door: Door) -> int:
        """How many wait before it."""
        return self._waiting.index(door) if door in self._waiting else 0

    def join(self) -> Door:
        """A place, to be left in any case; Full or Closed where there is none."""
        if self.closed:
            raise Closed
        if len(self._waiting) >= MAX_WAITING:
            raise Full(self.wait_s(len(self._waiting)))
        door = Door()
        self._waiting.append(door)
        self._next()
        return door

    def leave(self, door: Door) -> None:
        """It was answered, or went away."""
        if door in self._waiting:
            self._waiting.remove(door)
        if door.begun_s is not None:
            self._answered(self._now_s() - door.begun_s)
            self.busy -= 1
            self._next()
        self._last_s = self._now_s()

    def _answered(self, took_s: float) -> None:
        known_s = self.answer_s
        self.answer_s = took_s if not known_s else known_s + NEWEST * (took_s - known_s)

    def _next(self) -> None:
        """Let in who waits longest, while there is room."""
        while self._waiting and self.busy < self.size and not self.closed:
            self.busy += 1
            self._waiting.popleft().open(self._now_s())

    def close(self) -> None:
        """Let nobody in any more; those who wait are told, those who are in are answered."""
        self.closed = True
        while self._waiting:
            self._waiting.popleft().close()
