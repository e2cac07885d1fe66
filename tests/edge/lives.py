"""Peers for tests of the live state: a real ledger, its state and its replication, no sockets."""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from mesh.edge.identity import Fleet, fleet_of, load_or_create
from mesh.edge.live import Live
from mesh.edge.replication import Replication
from mesh.edge.store.ledger import Ledger
from mesh.edge.store.state import current_state, snapshot_finding, whole_fold
from mesh.edge.transport.link import own_anchor
from mesh.ledger.event import Event
from mesh.state.checkpoint import digest
from mesh.state.members import ADMIN, RUNNER
from mesh.state.state import State
from mesh.sync.archive import Envelope
from tests.sync.links import MemoryLink, pair

NOW = 1_790_000_000_000
DEADLINE_S = 60


class Peer:
    """One peer, put together as the node does it; `told` is what a subscriber heard."""

    def __init__(self, home: Path, *, alone: bool = False, skews: tuple[int, ...] = ()) -> None:
        self.home = home
        self.ledger = Ledger.open(home)
        self.ledger._db.execute("PRAGMA synchronous=OFF")  # no power cut in these tests
        self.writer = ThreadPoolExecutor(1)
        self.told: list[Event] = []
        self.live = Live(
            self.ledger,
            fleet_of(home),
            self.writer,
            self.now,
            self._tell,
            alone=alone,
            skews=lambda: skews,
        )
        self.replication = Replication(
            self.ledger,
            self.writer,
            self.live.admits,
            self.live.catch_up,
            self.live.heard,
            self.live.rank,
        )
        self.tasks: list[asyncio.Task[None]] = []

    @property
    def key(self) -> bytes:
        return bytes.fromhex(self.ledger.author)

    @property
    def state(self) -> State:
        return self.live.state

    def now(self) -> int:
        return max(NOW, self.ledger.last_ms()) + 1

    def _tell(self, events: Sequence[Event]) -> None:
        self.told += events
        if any(event.author == self.ledger.author for event in events):
            self.replication.notify([self.ledger.author])

    async def note(self, text: str = "x") -> Event:
        return await self.live.emit("note_added", "", {"text": text})

    async def found(self) -> None:
        """Be the root of a fleet."""
        await self.live.belong(Fleet(root=self.ledger.author))
        await self.let_in(self, ADMIN)

    async def let_in(self, guest: "Peer", role: str = RUNNER) -> None:
        tls = own_anchor(load_or_create(guest.home))[1].hex()
        fact = {"key": guest.ledger.author, "name": guest.home.name, "role": role, "tls": tls}
        await self.live.emit("peer_added", "", {**fact, "epoch": 1, "since": 1})
        if guest is not self:
            await guest.live.belong(Fleet(root=self.ledger.author))

    async def crash(self) -> None:
        """Die as with the power: nothing is folded, kept or said any more."""
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        self.live._closed = True
        await asyncio.to_thread(self.writer.shutdown)
        self.ledger.close()

    async def close(self) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        await asyncio.to_thread(self.writer.shutdown)
        self.live.close()
        self.ledger.close()


def connect(one: Peer, two: Peer) -> tuple[MemoryLink, MemoryLink]:
    """Two peers that replicate over a link in memory."""
    a, b = pair(one.key, two.key)
    one.tasks.append(asyncio.create_task(one.replication.run(a, outbound=True)))
    two.tasks.append(asyncio.create_task(two.replication.run(b, outbound=False)))
    return a, b


async def until(true: Callable[[], object]) -> None:
    """Wait for a condition, a turn of the loop at a time."""
    async with asyncio.timeout(DEADLINE_S):
        while not true():  # noqa: ASYNC110  what is awaited happens in other threads, too
            await asyncio.sleep(0.001)


async def settled(peer: Peer) -> None:
    """Wait until nothing that this peer began is under way, without asking anything of it."""
    await until(lambda: not (peer.live._tasks or peer.replication._taking))


def assert_sound(peer: Peer) -> None:
    """The live state, the ledger folded whole, and a snapshot with its tail are the same."""
    whole = whole_fold(peer.ledger)
    assert digest(peer.state) == digest(whole)
    assert peer.state.cursor == peer.state.event_count == peer.ledger.count()
    assert snapshot_finding(peer.ledger) is None
    assert digest(current_state(peer.ledger)) == digest(whole)


def assert_told_once(peer: Peer, since: int = 0) -> None:
    """Every event past a cursor was told, once, in the order of commits."""
    assert [e.hash for e in peer.told] == [e.hash for _, e in peer.ledger.events(since)]


def envelopes(ledger: Ledger) -> list[Envelope]:
    """Everything a ledger holds, as sync or a file would bring it."""
    pages = (ledger.page(author, 0, 1 << 30, 1 << 40) for author in ledger.tips())
    return [one for page in pages for one in page.envelopes]


def forget_database(home: Path) -> None:
    """The ledger is gone, the key is not."""
    for path in home.glob("ledger.db*"):
        path.unlink()
