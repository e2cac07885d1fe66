"""Dialling: one address at a time per peer, patient with those who don't answer."""

from __future__ import annotations

import asyncio
import contextlib
import random
import ssl
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Final, Protocol, final

import aiohttp

from mesh.edge.discovery.sightings import GIVEN, TAILNET, Sightings
from mesh.edge.identity import peer_id
from mesh.edge.transport.link import (
    CLOSE_TIMEOUT_S,
    HEARTBEAT_S,
    SERVER_NAME,
    SOCKET_LIMIT,
    Link,
    LinkClosed,
    greet,
    key_behind,
)
from mesh.edge.transport.links import Links
from mesh.state.address import Address, show_address

SYNC_PATH: Final = "/v1/sync"
CONNECT_S: Final = 4.0
# First pause after a failed round, doubled up to the last; jitter keeps peers that restart
# together from knocking together. A sighting or a network change starts over.
FIRST_PAUSE_S: Final = 0.25
LAST_PAUSE_S: Final = 60.0
# A peer that was here a moment ago is most likely behind a cut that heals: a knock every 2 s is
# one packet, and a split of some minutes must be over seconds after its cause.
MISSED_PAUSE_S: Final = 2.0
MISSED_MS: Final = 600_000
# Places tried in one round for one peer. With all of them silent a round takes a minute; whoever
# announces more in a member's name only fills the rest.
MAX_PLACES: Final = 16
# Most machines of a tailnet run no daemon of ours, so they are left alone for longer.
NAMELESS_PAUSE_S: Final = 600.0
# A peer that speaks no version of ours: it is updated by a person, and dials us when it is.
APART_PAUSE_S: Final = 600.0
# A neighbour that was linked a moment ago is tried again at once, but not in a tight loop.
MIN_PAUSE_S: Final = 0.2


class DialError(Exception):
    """Why an address could not be linked, in words for `fleet doctor`."""


class ApartError(DialError):
    """The right peer answers, and speaks no version of ours: knocking again won't help."""


class Directory(Protocol):
    """Who may be dialled, and how they prove who they are."""

    def wanted(self) -> list[tuple[bytes, list[Address]]]:
        """(key, addresses in the ledger) of the neighbours this peer should have."""

    def anyone(self) -> bool:
        """Whether there is any other member."""

    def client_context(self, key: bytes | None) -> ssl.SSLContext:
        """TLS that takes this key alone; any member's for None."""


@final
@dataclass(slots=True)
class _Patience:
    """How long to leave a peer alone."""

    fails: int = 0
    until_s: float = 0.0

    def failed(
        self, now_s: float, rng: random.Random, most_s: float, least_s: float = FIRST_PAUSE_S
    ) -> None:
        pause = max(least_s, min(most_s, FIRST_PAUSE_S * 2 ** min(self.fails, 12)))
        self.fails += 1
        self.until_s = now_s + pause * rng.uniform(0.5, 1.5)

    def worked(self, now_s: float, rng: random.Random) -> None:
        self.fails = 0
        self.until_s = now_s + MIN_PAUSE_S * rng.uniform(1, 3)


@final
class Dialler:
    """Keeps links to the wanted neighbours for as long as it runs."""

    def __init__(
        self, links: Links, book: Sightings, directory: Directory, now: Callable[[], int]
    ) -> None:
        self._links = links
        self._answered: dict[Address, bytes] = {}  # who proved to be there
        self._book = book
        self._directory = directory
        self._now = now
        self._rng = random.Random()
        self._patience: dict[bytes | Address, _Patience] = {}
        self._busy: dict[bytes | Address, asyncio.Task[None]] = {}
        self._woken = asyncio.Event()

    def wake(self, key: bytes | Address | None = None) -> None:
        """Something changed: try that peer at once, or everyone."""
        for one in [key] if key is not None else list(self._patience):
            self._patience.pop(one, None)
        self._woken.set()

    def nudge(self) -> None:
        """Look again whom to dial; whoever failed still waits its turn."""
        self._woken.set()

    def failing(self) -> set[bytes]:
        """Peers that were dialled in vain, and are not linked by their own dialling either."""
        vain = [key for key, one in self._patience.items() if one.fails and isinstance(key, bytes)]
        return {key for key in vain if self._links.get(key) is None}

    async def run(self) -> None:
        """Dial until cancelled; links it made end with it."""
        connector = aiohttp.TCPConnector(force_close=True, limit=0, use_dns_cache=False)
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S)
        async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
            try:
                while True:
                    due_s = self._start_due(session)
                    await self._rest(due_s)
            finally:
                for task in self._busy.values():
                    task.cancel()
                await asyncio.gather(*self._busy.values(), return_exceptions=True)

    async def _rest(self, due_s: float) -> None:
        """Until somebody is due, or something changed."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(due_s):
                await self._woken.wait()
        self._woken.clear()

    def _start_due(self, session: aiohttp.ClientSession) -> float:
        """Start what is due; seconds until the next."""
        now_s, next_s = asyncio.get_running_loop().time(), LAST_PAUSE_S
        for key, places, expected in self._targets():
            if key in self._busy:
                continue
            patience = self._patience.setdefault(key, _Patience())
            if patience.until_s > now_s:
                next_s = min(next_s, patience.until_s - now_s)
                continue
            task = asyncio.create_task(self._round(session, key, places, expected))
            self._busy[key] = task
            task.add_done_callback(partial(self._done, key))
        return next_s

    def _done(self, key: bytes | Address, _: asyncio.Task[None]) -> None:
        self._busy.pop(key, None)
        self._woken.set()

    def _targets(
        self,
    ) -> Iterable[tuple[bytes | Address, list[tuple[Address, str]], bytes | None]]:
        """(whom, where, the key it must prove) of everyone not linked yet."""
        wanted = self._directory.wanted()
        for key, ledger in wanted:
            if self._links.get(key) is None:
                found = self._book.candidates(peer_id(key.hex()), ledger)
                places = list(islice(found, MAX_PLACES))
                if places:
                    yield key, places, key
        if not self._directory.anyone():
            return
        keys = {key for key, _ in wanted}
        nameless = [(address, TAILNET) for address in self._book.nameless()]
        for address, source in [(one, GIVEN) for one in self._book.given()] + nameless:
            there = self._answered.get(address)
            if there is None or (there in keys and self._links.get(there) is None):
                yield address, [(address, source)], None

    async def _round(
        self,
        session: aiohttp.ClientSession,
        key: bytes | Address,
        places: list[tuple[Address, str]],
        expected: bytes | None,
    ) -> None:
        """Each address in turn until one holds; its link lives as long as this does."""
        patience = self._patience.setdefault(key, _Patience())
        held, least_s = False, FIRST_PAUSE_S
        for address, source in places:
            if expected is not None and self._links.get(expected) is not None:
                held = True
                break
            try:
                link = await self._dial(session, address, expected)
            except DialError as error:
                self._book.try_ended(address, source, self._now(), str(error))
                if isinstance(error, ApartError):
                    least_s = APART_PAUSE_S
                    break
                continue
            self._book.try_ended(address, source, self._now())
            self._answered[address] = link.peer_key
            self._book.remember(peer_id(link.peer_key.hex()), address, self._now())
            held = await self._links.hold(link)
            break
        now_s = asyncio.get_running_loop().time()
        if held:
            patience.worked(now_s, self._rng)
        else:
            patience.failed(now_s, self._rng, self._longest(expected), least_s)

    def _longest(self, expected: bytes | None) -> float:
        """The longest pause before this peer is tried again."""
        if expected is None:
            return NAMELESS_PAUSE_S
        ended = self._links.ended_ms.get(expected, 0)
        met = max(ended, self._book.last_met_ms(peer_id(expected.hex())))
        return MISSED_PAUSE_S if self._now() - met < MISSED_MS else LAST_PAUSE_S

    async def _dial(
        self, session: aiohttp.ClientSession, address: Address, expected: bytes | None
    ) -> Link:
        """A link to whoever proves the expected key, or any member's, at an address."""
        try:
            async with asyncio.timeout(2 * CONNECT_S):
                socket = await session.ws_connect(
                    f"https://{show_address(address)}{SYNC_PATH}",
                    ssl=self._directory.client_context(expected),
                    server_hostname=SERVER_NAME,
                    heartbeat=HEARTBEAT_S,
                    max_msg_size=SOCKET_LIMIT,
                    timeout=aiohttp.ClientWSTimeout(ws_close=CLOSE_TIMEOUT_S),
                )
        except (aiohttp.ClientError, OSError, TimeoutError, ssl.SSLError) as error:
            raise DialError(reason_of(error)) from error
        key = key_behind(socket.get_extra_info("ssl_object"))
        if key is None or (expected is not None and key != expected):
            await socket.close()
            raise DialError("somebody else answers there")
        try:
            greeting = await greet(socket, self._now)
        except LinkClosed as error:
            await socket.close()
            raise DialError(f"it closed the link: {error}") from error
        link = Link(socket, key, show_address(address), greeting, outbound=True)
        if link.apart:
            await self._links.hold(link)  # which notes it, and ends it
            raise ApartError(f"it {link.apart}")
        return link


def reason_of(error: BaseException) -> str:
    """One line a person can act on."""
    if isinstance(error, TimeoutError | aiohttp.ServerTimeoutError):
        return "no answer: switched off, asleep, or a firewall drops the port"
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return "its key is not the expected member's"
    if isinstance(error, aiohttp.WSServerHandshakeError):
        return f"it refused the link (HTTP {error.status})"
    below = getattr(error, "os_error", None) or error
    text = str(below)
    if "CERTIFICATE_VERIFY_FAILED" in text:
        return "its key is not the expected member's"
    if isinstance(error, aiohttp.ServerDisconnectedError) or "alert" in text.lower():
        return "it closed the connection: it does not know our key, or no longer"
    if isinstance(below, ConnectionRefusedError) or "refused" in text.lower():
        return "connection refused: no daemon listens there"
    return text[:200] or type(error).__name__
