"""A deadline for a source that may hang: its last answer while it is fresh, else its name.

A call that hangs in the kernel can't be ended, so it is left to itself in a thread that doesn't
hold up the end of the process, and none is started beside it.
"""

import asyncio
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Generic, TypeVar, final

from providers.base import Trouble

# On a machine whose cores are all taken a tool of 5 ms was seen to take half a second. Until an
# answer is this old it stands for the next one, so that a slow moment is no change.
FRESH_S = 3.0
# How long a question waits for its answer while an earlier one is fresh: a part of the 2 s within
# which work gives way.
WAIT_S = 0.5

T = TypeVar("T")


@final
class NoAnswer(Trouble):
    """The source failed, or hangs."""


@final
class Asker(Generic[T]):
    """Asks one source, never twice at once."""

    def __init__(
        self,
        name: str,
        ask: Callable[[], T],
        *,
        fresh_s: float = FRESH_S,
        wait_s: float = WAIT_S,
    ) -> None:
        self.name = name
        self.ask = ask
        self.fresh_s = fresh_s
        self.wait_s = wait_s
        self._asking = False
        self._begun = 0.0
        self._done = asyncio.Event()
        self._last: tuple[float, T | OSError] | None = None  # (when, what)

    async def answer(self) -> T:
        """The newest answer; NoAnswer says what is wrong with the source."""
        if not self._asking:
            self._start()
        with suppress(TimeoutError):
            async with asyncio.timeout(self._patience()):
                await self._done.wait()
        if self._last is None or time.monotonic() - self._last[0] > self.fresh_s:
            waited = time.monotonic() - self._begun
            raise NoAnswer(f"{self.name} has not answered for {waited:.0f} s")
        if isinstance(self._last[1], OSError):
            raise NoAnswer(f"{self.name}: {self._last[1]}")
        return self._last[1]

    def _patience(self) -> float:
        """Short while an earlier answer is fresh; else as long as one may take; 0 once it hangs."""
        now = time.monotonic()
        if self._last is not None and now - self._last[0] <= self.fresh_s - self.wait_s:
            return self.wait_s
        return max(0.0, self._begun + self.fresh_s - now)

    def _start(self) -> None:
        self._asking, self._done, self._begun = True, asyncio.Event(), time.monotonic()
        loop, done = asyncio.get_running_loop(), self._done
        threading.Thread(
            target=self._run, args=(loop, done), name=f"asks {self.name}", daemon=True
        ).start()

    def _run(self, loop: asyncio.AbstractEventLoop, done: asyncio.Event) -> None:
        found: T | OSError
        try:
            found = self.ask()
        except OSError as error:
            found = error
        except Exception as error:  # a source that talks nonsense is one that fails
            found = OSError(f"{type(error).__name__}: {error}")
        self._last, self._asking = (time.monotonic(), found), False
        with suppress(RuntimeError):  # the loop has ended meanwhile
            loop.call_soon_threadsafe(done.set)
