"""Sessions over links: what makes this ledger and its neighbours' equal.

Every call into a session or the ledger runs in the one thread that writes the ledger; this
module only moves bytes, and never more of them than the link takes.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from typing import Final, Protocol, TypeVar, final

from mesh.edge.disk import StoreError
from mesh.ledger.event import Event
from mesh.sync.archive import Archive
from mesh.sync.desk import PATIENCE_MS, Desk
from mesh.sync.manifest import Admits, Tip
from mesh.sync.quiet import Quiet
from mesh.sync.session import Rejected, Session
from mesh.sync.wants import Rank, no_rank

# Digests are compared again this often, so that nothing is missed for good: 72 bytes each way.
REFRESH_S: Final = 60.0
# What we only pass on waits this long: by then most neighbours have told us that they have it,
# and the rest hear of several events at once.
RELAY_S: Final = 0.05
# Before a link ends because our disk refused: the neighbour dials again at once.
RETRY_S: Final = 1.0


class Link(Protocol):
    """An authenticated connection to one member."""

    @property
    def peer_key(self) -> bytes:
        """Whose it is: the 32 bytes of an ed25519 public key."""

    @property
    def version(self) -> int:
        """Of the sync protocol, as both sides' greetings agreed."""

    async def send(self, data: bytes) -> None:
        """Send a message; returns once the link has room for another."""

    async def receive(self) -> bytes:
        """The next message; ConnectionError when the link has ended."""

    async def close(self) -> None:
        """End the link. Closing twice does nothing."""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class PeerSync:
    """How far one neighbour and we are. `behind` counts events it has and we have not.

    `expected` is what we lacked when we began to catch up: progress is 1 - behind / expected.
    `answers` is False where it takes us for put out.
    """

    peer: str
    outbound: bool
    since_ms: int
    events_in: int
    events_out: int
    bytes_in: int
    bytes_out: int
    behind: int
    expected: int
    answers: bool


_T = TypeVar("_T")


class Replication:
    """All sessions of this peer.

    `admitted` is awaited when others' events came in and are durable: there is something new.
    `heard` is told once by each session where this peer's own chain ends at the neighbour, seq 0
    for nowhere. `rank` says which authors to fetch first.
    """

    def __init__(
        self,
        archive: Archive,
        writer: Executor,
        admits: Admits,
        admitted: Callable[[], Awaitable[None]],
        heard: Callable[[Tip], None] = lambda _: None,
        rank: Rank = no_rank,
    ) -> None:
        self._archive: Final = archive
        self._writer: Final = writer
        self._admits: Final = admits
        self._admitted: Final = admitted
        self._heard: Final = heard
        self._rank: Final = rank
        self._taking: Final[set[asyncio.Task[None]]] = set()
        self._desk: Final = Desk()
        self._runs: Final[dict[int, _Run]] = {}
        self._relayed: dict[str, bool] = {}  # authors with events to pass on

    async def run(self, link: Link, *, outbound: bool, quiet: Quiet | None = None) -> None:
        """Replicate over a link until it ends; ProtocolError says what a bad neighbour did.

        The link is closed in any case. A `quiet` session makes no member's session wait: what its
        neighbour announces may not come.
        """
        peer, version = link.peer_key.hex(), link.version
        session = Session(
            self._archive,
            self._admits,
            self._desk if quiet is None else Desk(),
            peer=peer,
            version=version,
            rank=self._rank,
            quiet=quiet,
        )
        run = _Run(link, session, outbound=outbound)
        self._runs[id(run)] = run
        halves = [asyncio.create_task(self._listen(run)), asyncio.create_task(self._speak(run))]
        try:
            done, _ = await asyncio.wait(halves, return_when=asyncio.FIRST_COMPLETED)
            for half in done:
                with contextlib.suppress(ConnectionError, EOFError):
                    await self._end(half)
        finally:
            for half in halves:
                half.cancel()
            await asyncio.gather(*halves, return_exceptions=True)
            del self._runs[id(run)]
            with contextlib.suppress(RuntimeError):  # the writer is gone when all shuts down
                await self._call(run.session.close)
            for other in self._runs.values():
                other.wake.set()  # what it was fetching is free again
            with contextlib.suppress(ConnectionError):
                await link.close()

    async def _end(self, half: asyncio.Task[None]) -> None:
        """Raise what a half ended with; trouble with our own disk is nobody else's fault."""
        try:
            half.result()
        except StoreError as error:
            print(f"fleet: {error.text}; {error.hint}", file=sys.stderr, flush=True)
            await asyncio.sleep(RETRY_S)

    def notify(self, authors: Iterable[str]) -> None:
        """Events of these authors were written here and are durable: send them."""
        self._tell(dict.fromkeys(authors, True))

    def _tell(self, authors: dict[str, bool]) -> None:
        for run in self._runs.values():
            run.tell(authors)
            run.wake.set()

    def _pass_on(self, authors: Iterable[str]) -> None:
        """Tell of others' events, a little later and all at once."""
        if not self._relayed:
            asyncio.get_running_loop().call_later(RELAY_S, self._relay)
        self._relayed.update(dict.fromkeys(authors, False))

    def _relay(self) -> None:
        relayed, self._relayed = self._relayed, {}
        self._tell(relayed)

    def refresh(self) -> None:
        """Who is a member changed: compare everything again."""
        for run in self._runs.values():
            run.again = True
            run.wake.set()

    def status(self) -> list[PeerSync]:
        """Each neighbour, in the order of their keys."""
        found = [run.status() for run in self._runs.values()]
        return sorted(found, key=lambda one: (one.peer, one.since_ms))

    async def _listen(self, run: _Run) -> None:
        while True:
            data = await run.link.receive()
            taking = asyncio.create_task(self._take(run, data))
            self._taking.add(taking)
            taking.add_done_callback(self._taking.discard)
            # A link may end while the disk commits; what it commits is news all the same.
            await asyncio.shield(taking)

    async def _take(self, run: _Run, data: bytes) -> None:
        """One message: through the session, then to this peer's state and other neighbours."""
        idle, run.idle = run.idle, False
        try:
            events, reply = await self._call(partial(run.hear, data, idle=idle))
        except Rejected as error:
            await self._share(error.events)
            raise
        run.reply = reply or run.reply
        if idle and reply is None and not (run.fresh or run.again or run.session.waiting):
            run.idle = True
        else:
            run.wake.set()
        self._tell_of_us(run)
        await self._share(events)

    async def _share(self, events: Sequence[Event]) -> None:
        if events:
            self._pass_on(event.author for event in events)
            await self._admitted()

    def _tell_of_us(self, run: _Run) -> None:
        """Once a session: where our own chain ends at that neighbour."""
        told = run.session.told_of_us
        if told is not None and not run.told_of_us:
            run.told_of_us = True
            self._heard(told)

    async def _speak(self, run: _Run) -> None:
        refresh_at = _now() + REFRESH_S * 1000
        while True:
            run.idle = False
            run.wake.clear()
            if _now() >= refresh_at:
                run.again = True
                refresh_at = _now() + REFRESH_S * 1000
            while (data := run.take_reply() or await self._call(run.turn())) is not None:
                await run.link.send(data)
            wait_ms = PATIENCE_MS if run.session.waiting else REFRESH_S * 1000
            run.idle = not run.wake.is_set()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait_ms / 1000):
                    await run.wake.wait()

    async def _call(self, do: Callable[..., _T], *args: object) -> _T:
        return await asyncio.get_running_loop().run_in_executor(self._writer, do, *args)


@final
class _Run:
    """One link and its session; its public fields belong to the loop's thread.

    While nothing is being said (`idle`), what there is to say to a message is looked up together
    with taking it, which saves most of the trips to the writer's thread.
    """

    def __init__(self, link: Link, session: Session, *, outbound: bool) -> None:
        self.link: Final = link
        self.session: Final = session
        self.wake: Final = asyncio.Event()
        self.fresh: dict[str, bool] = {}  # authors, and whether their events are to be sent
        self.again = False
        self.idle = False
        self.reply: bytes | None = None
        self.greeted = False  # their hello came
        self.told_of_us = False
        self._outbound: Final = outbound
        self._since_ms: Final = time.time_ns() // 1_000_000
        self._expected = 0

    def tell(self, authors: dict[str, bool]) -> None:
        """Note authors with new events; one to be sent stays so."""
        for author, eager in authors.items():
            self.fresh[author] = eager or self.fresh.get(author, False)

    def hear(self, data: bytes, *, idle: bool) -> tuple[tuple[Event, ...], bytes | None]:
        """In the writer's thread: take a message, and find the first answer to it."""
        events = self.session.receive(data, _now())
        return events, self.session.outgoing(_now()) if idle else None

    def take_reply(self) -> bytes | None:
        """The answer found while taking a message."""
        reply, self.reply = self.reply, None
        return reply

    def turn(self) -> Callable[[], bytes | None]:
        """What to call in the writer's thread for the next message, with what is new by now."""
        fresh, again = self.fresh, self.again
        self.fresh, self.again = {}, False
        return partial(self._say, fresh, again=again)

    def _say(self, fresh: dict[str, bool], *, again: bool) -> bytes | None:
        for author, eager in fresh.items():
            self.session.poke([author], eager=eager)
        if again:
            self.session.refresh()
        return self.session.outgoing(_now())

    def status(self) -> PeerSync:
        tally = self.session.tally
        self._expected = max(self._expected, tally.behind) if tally.behind else 0
        return PeerSync(
            peer=self.link.peer_key.hex(),
            outbound=self._outbound,
            since_ms=self._since_ms,
            events_in=tally.events_in,
            events_out=tally.events_out,
            bytes_in=tally.bytes_in,
            bytes_out=tally.bytes_out,
            behind=tally.behind,
            expected=self._expected,
            answers=tally.answers,
        )


def _now() -> int:
    return time.monotonic_ns() // 1_000_000
