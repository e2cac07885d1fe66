"""Peers over links in memory: everything reaches everyone, and a bad neighbour is left."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from mesh.edge.replication import Replication
from mesh.edge.store.ledger import Ledger
from mesh.ledger.event import Event
from mesh.sync import messages
from mesh.sync.desk import PATIENCE_MS
from mesh.sync.manifest import Tip, digest
from mesh.sync.messages import Heads, Hello, Pull, Row
from mesh.sync.quiet import Quiet
from mesh.sync.session import ProtocolError
from mesh.sync.wants import NOTHING
from tests.sync.links import MemoryLink, pair

NOW = 1_790_000_000_000


class Peer:
    """A ledger with its replication, all in this process."""

    def __init__(self, home: Path) -> None:
        self.ledger = Ledger.open(home)
        self.ledger._db.execute("PRAGMA synchronous=OFF")  # nothing here outlives the process
        self.writer = ThreadPoolExecutor(1)
        self.seen: list[Event] = []
        self.cursor = 0
        self.moved = asyncio.Event()
        self.replication = Replication(
            self.ledger, self.writer, lambda author, seq: True, self.admitted
        )
        self.tasks: list[asyncio.Task[None]] = []

    @property
    def key(self) -> bytes:
        return bytes.fromhex(self.ledger.author)

    async def admitted(self) -> None:
        while found := self.ledger.committed(self.cursor):
            self.cursor = found[-1][0]
            self.seen += [event for _, event in found if event.author != self.ledger.author]
        self.moved.set()

    async def note(self, count: int = 1) -> None:
        facts = [("note_added", "", {"text": str(i)}) for i in range(count)]
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self.writer, self.ledger.append_many, facts, NOW)
        self.replication.notify([self.ledger.author])

    async def until(self, true: Callable[[], bool]) -> None:
        async with asyncio.timeout(60):
            while not true():
                self.moved.clear()
                await self.moved.wait()

    async def close(self) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        self.writer.shutdown()
        self.ledger.close()


def connect(one: Peer, two: Peer) -> tuple[MemoryLink, MemoryLink]:
    a, b = pair(one.key, two.key)
    one.tasks.append(asyncio.create_task(one.replication.run(a, outbound=True)))
    two.tasks.append(asyncio.create_task(two.replication.run(b, outbound=False)))
    return a, b


@asynccontextmanager
async def peers(home: Path, count: int) -> AsyncIterator[list[Peer]]:
    made = [Peer(home / str(i)) for i in range(count)]
    try:
        yield made
    finally:
        await asyncio.gather(*(peer.close() for peer in made))


async def test_a_new_peer_gets_everything_and_then_hears_of_each_event(tmp_path: Path) -> None:
    async with peers(tmp_path, 2) as (ana, ben):
        await ana.note(1200)
        connect(ana, ben)
        await ben.until(lambda: ben.ledger.count() == 1200)
        (status,) = ben.replication.status()
        assert (status.peer, status.behind, status.events_in) == (ana.ledger.author, 0, 1200)
        await ana.note()
        await ben.until(lambda: ben.ledger.count() == 1201)
        await ben.note()
        await ana.until(lambda: ana.ledger.count() == 1202)
        assert [event.seq for event in ben.seen] == list(range(1, 1202))
        assert ben.ledger.verify().findings == ()


async def test_what_arrives_is_passed_on_along_a_line_of_peers(tmp_path: Path) -> None:
    async with peers(tmp_path, 4) as line:
        for one, two in zip(line, line[1:], strict=False):
            connect(one, two)
        await line[0].note(40)
        await line[3].until(lambda: line[3].ledger.count() == 40)
        await line[3].note()
        await line[0].until(lambda: line[0].ledger.count() == 41)


async def test_thirty_peers_ten_links_each_two_hundred_inputs_and_no_gap(tmp_path: Path) -> None:
    rng = random.Random(30)
    async with peers(tmp_path, 30) as fleet:
        for i, peer in enumerate(fleet):  # a ring, and chords until each has ten links
            for step in (1, 2, 3, 5, 8):
                connect(peer, fleet[(i + step) % 30])
        for _ in range(10):
            await asyncio.gather(*(rng.choice(fleet).note() for _ in range(20)))
        for peer in fleet:
            await peer.until(lambda peer=peer: peer.ledger.count() == 200)
        assert len({digest(peer.ledger.tips()) for peer in fleet}) == 1
        assert fleet[7].ledger.verify().findings == ()


async def test_a_neighbour_that_talks_garbage_is_left_by_name_of_its_fault(tmp_path: Path) -> None:
    async with peers(tmp_path, 1) as (ana,):
        a, b = pair(ana.key, bytes(32))
        run = asyncio.create_task(ana.replication.run(a, outbound=True))
        await b.receive()
        await b.send(b"\xff garbage")
        with pytest.raises(ProtocolError, match="not a message"):
            await run
        assert a.closed.is_set()
        assert ana.replication.status() == []


async def test_a_link_that_ends_ends_its_run_quietly(tmp_path: Path) -> None:
    async with peers(tmp_path, 2) as (ana, ben):
        a, _ = connect(ana, ben)
        await ana.note()
        await ben.until(lambda: ben.ledger.count() == 1)
        await a.close()
        await asyncio.gather(*ana.tasks, *ben.tasks)


async def test_each_session_tells_once_where_our_own_chain_ends(tmp_path: Path) -> None:
    async with peers(tmp_path, 2) as (ana, ben):
        await ana.note(3)
        heard: list[Tip] = []
        ana.replication = Replication(
            ana.ledger, ana.writer, lambda *_: True, ana.admitted, heard.append
        )
        first, _ = connect(ana, ben)
        await ben.until(lambda: ben.ledger.count() == 3)
        await ben.note()
        await ana.until(lambda: ana.ledger.count() == 4)
        assert heard == [NOTHING]
        await first.close()
        await asyncio.gather(*ana.tasks, *ben.tasks)
        connect(ana, ben)
        await ben.note()
        await ana.until(lambda: ana.ledger.count() == 5)
        assert [tip.seq for tip in heard] == [0, 3]


async def test_what_a_key_that_was_put_out_announces_keeps_no_member_waiting(
    tmp_path: Path,
) -> None:
    async with peers(tmp_path, 2) as (ana, ben):
        await ben.note(3)
        thief, mine = pair(bytes(32), ana.key)
        everything = Quiet(lambda _: False, lambda _: True)
        running = ana.replication.run(thief, outbound=False, quiet=everything)
        ana.tasks.append(asyncio.create_task(running))
        row = Row(ben.key, 10**6, b"x" * 32, 0)
        for message in (Hello(2, bytes(32), 0, bytes(32)), Heads((row,))):
            await mine.send(messages.encode(message))
        while not isinstance(messages.decode(await mine.receive()), Pull):
            pass  # it is asked for what it announced, and never answers
        before = asyncio.get_running_loop().time()
        connect(ana, ben)
        await ana.until(lambda: ana.ledger.count() == 3)
        assert asyncio.get_running_loop().time() - before < PATIENCE_MS / 1000
