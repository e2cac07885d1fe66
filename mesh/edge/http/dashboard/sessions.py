"""How a browser gets in: a code that works once, exchanged for a session.

A session is two secrets. The cookie is kept from scripts, but browsers send it to every port of
this machine, another user's program among them; so it opens nothing without the page's key, which
the page keeps in its own origin's storage and sends as a header. Both are held here as hashes, in
memory alone: they end with the daemon.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import secrets
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final, final

# A link is opened at once or not at all; a minute is a slow browser's start.
CODE_TTL_S: Final = 60.0
# Nobody opens more links within a minute; the oldest goes, so that a script can't fill the memory.
MAX_CODES: Final = 8
# A day at work. After it the browser is asked for a new link.
SESSION_TTL_S: Final = 12 * 3600.0
# A person's browsers and profiles; one more than that ends the oldest.
MAX_SESSIONS: Final = 16
# What `secrets` makes of them is 43 characters; longer is nobody's, and is not hashed.
MAX_SECRET: Final = 64
_BYTES: Final = 32  # 256 bits each: none is guessed


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """What a browser is given, this once: the cookie, and the key its pages send."""

    cookie: str
    key: str


@final
@dataclass(frozen=True, slots=True)
class _Session:
    key: bytes
    until_s: float
    ended: asyncio.Event = field(default_factory=asyncio.Event)


@final
class Sessions:
    """The codes that still work and the sessions that are open. `clock`: steady seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock: Final = clock
        self._codes: Final[dict[bytes, float]] = {}  # until when, the oldest first
        self._sessions: Final[dict[bytes, _Session]] = {}  # by the cookie, the oldest first

    def make_code(self) -> str:
        """A code for one link."""
        code = secrets.token_urlsafe(_BYTES)
        while len(self._codes) >= MAX_CODES:
            del self._codes[next(iter(self._codes))]
        self._codes[_hash(code)] = self._clock() + CODE_TTL_S
        return code

    def exchange(self, code: str) -> Opened | None:
        """A session for a code, which then works no more; None for one that does not work."""
        until_s = self._codes.pop(_hash(code), 0.0)
        if until_s <= self._clock():
            return None
        opened = Opened(cookie=secrets.token_urlsafe(_BYTES), key=secrets.token_urlsafe(_BYTES))
        while len(self._sessions) >= MAX_SESSIONS:
            self._close(next(iter(self._sessions)))
        until_s = self._clock() + SESSION_TTL_S
        self._sessions[_hash(opened.cookie)] = _Session(_hash(opened.key), until_s)
        return opened

    def knows(self, cookie: str, key: str) -> bool:
        """Whether both belong to one session that is still open."""
        name = _hash(cookie)
        session = self._sessions.get(name)
        if session is None:
            return False
        if session.until_s <= self._clock():
            self._close(name)
            return False
        return hmac.compare_digest(session.key, _hash(key))

    def end(self, cookie: str) -> None:
        """Close a session; one that is not open stays so."""
        self._close(_hash(cookie))

    async def over(self, cookie: str) -> None:
        """Wait until a session is closed, or its time is up."""
        session = self._sessions.get(_hash(cookie))
        if session is not None:
            with suppress(TimeoutError):
                async with asyncio.timeout(session.until_s - self._clock()):
                    await session.ended.wait()

    def _close(self, name: bytes) -> None:
        session = self._sessions.pop(name, None)
        if session is not None:
            session.ended.set()


def _hash(secret: str) -> bytes:
    if len(secret) > MAX_SECRET:
        return b""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()
