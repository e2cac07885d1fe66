"""One connection a host, made when it is needed and made anew when it broke; few handshakes at
once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from typing import final

from providers.base import ProviderError
from providers.ssh.client import KeyChanged, Link, NeedsLogin, NoSession, connect
from providers.ssh.framing import Answer
from providers.ssh.hosts import Host
from providers.ssh.limits import (
    MAX_ANSWER_BYTES,
    MAX_HANDSHAKES,
    MAX_HANDSHAKES_PER_HOST,
    REFUSED_PAUSE_S,
    RETRY_FROM_S,
    RETRY_TO_S,
)


@final
class Gates:
    """How many handshakes run at once: in all, and with one address."""

    def __init__(self) -> None:
        self._all = asyncio.Semaphore(MAX_HANDSHAKES)
        self._of: dict[tuple[str, int], asyncio.Semaphore] = {}

    async def connect(self, host: Host) -> Link:
        """Log in once it is this host's turn: behind a jump host, the first one's."""
        first = (*host.jumps, host.hop)[0]
        of = self._of.setdefault(
            (first.host, first.port), asyncio.Semaphore(MAX_HANDSHAKES_PER_HOST)
        )
        async with self._all, of:
            return await connect(host)


@final
class Reach:
    """A host within reach: scripts run over its one connection.

    A host that refused us is left alone for a minute, one that is away for longer each time; the
    error of the last try is told meanwhile. `now` is injected, seconds, monotonic.
    """

    def __init__(self, host: Host, gates: Gates, now: Callable[[], float] = time.monotonic) -> None:
        self.host = host
        self._gates = gates
        self._now = now
        self._link: Link | None = None
        self._making = asyncio.Lock()
        self._trouble: ProviderError | None = None
        self._again_s = 0.0
        self._pause_s = RETRY_FROM_S

    @property
    def trouble(self) -> ProviderError | None:
        """Why the last try to reach it failed; None while it is reached."""
        return self._trouble

    async def run(
        self,
        script: str,
        limit_s: float,
        *,
        urgent: bool = False,
        partial: bool = False,
        limit: int = MAX_ANSWER_BYTES,
    ) -> Answer:
        """What a script prints, as `Link.run`."""
        for last in (False, True):
            link = await self._linked()
            try:
                return await link.run(script, limit_s, urgent=urgent, partial=partial, limit=limit)
            except NoSession:  # nothing was begun, and that connection is given up
                if last:
                    raise
        raise AssertionError

    async def feed(self, script: str, pieces: Iterator[bytes], limit_s: float) -> Answer:
        """A script with bytes on its stdin, as `Link.feed`."""
        return await (await self._linked()).feed(script, pieces, limit_s)

    def retry(self) -> None:
        """A person says to try at once."""
        self._again_s = 0.0

    async def close(self) -> None:
        """Give the connection up."""
        link, self._link = self._link, None
        if link is not None:
            await link.close()

    async def _linked(self) -> Link:
        async with self._making:
            if self._link is not None and not self._link.closed:
                return self._link
            if self._trouble is not None and self._now() < self._again_s:
                raise self._trouble
            try:
                self._link = await self._gates.connect(self.host)
            except ProviderError as error:
                self._failed(error)
                raise
            self._trouble, self._pause_s = None, RETRY_FROM_S
            return self._link

    def _failed(self, error: ProviderError) -> None:
        """Wait before the next try: long where only a person can mend it."""
        self._trouble = error
        self._link = None
        if isinstance(error, NeedsLogin | KeyChanged):
            self._again_s = self._now() + REFUSED_PAUSE_S
            return
        self._again_s = self._now() + self._pause_s
        self._pause_s = min(RETRY_TO_S, self._pause_s * 2)
