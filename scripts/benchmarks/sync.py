"""What sync costs: first sync, reconnect, propagation. argv: [events], 100,000 without."""

import asyncio
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from mesh.edge.replication import Replication
from mesh.edge.store.ledger import Ledger
from mesh.sync.desk import Desk
from mesh.sync.session import Session
from mesh.sync.versions import PROTOCOL

NOW = 1_790_000_000_000
EVENTS = 100_000
REPEATS = 15
PEERS = 8
ROUNDS = 60
SPLIT = 1000


def fill(home: Path, count: int) -> Ledger:
    """A ledger of notes, as long as a short job's event."""
    ledger = Ledger.open(home)
    for start in range(0, count, 1000):
        facts = [
            ("note_added", ledger.peer_id[:7], {"text": f"note {start + i} of a fleet"})
            for i in range(min(1000, count - start))
        ]
        ledger.append_many(facts, NOW + start)
    return ledger


def pump(one: Session, two: Session) -> tuple[int, int]:
    """Let two sessions talk until both are silent; messages and bytes exchanged."""
    count = size = 0
    silent = 0
    while silent < 2:
        data = one.outgoing(0)
        silent = silent + 1 if data is None else 0
        if data is not None:
            two.receive(data, 0)
            count, size = count + 1, size + len(data)
        one, two = two, one
    return count, size


def session(ledger: Ledger) -> Session:
    return Session(ledger, lambda author, seq: True, Desk())


def first_sync(old: Ledger, home: Path) -> Ledger:
    """A new peer gets everything; wall and CPU time of both ends, in this one thread."""
    new = Ledger.open(home)
    wall, cpu = time.perf_counter(), time.process_time()
    messages, size = pump(session(old), session(new))
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    count = new.count()
    assert count == old.count()
    print(f"first sync, every event verified {count / cpu:10,.0f} events/s of CPU", end="")
    print(f" ({count / wall:,.0f}/s elapsed; {size / count:.0f} B an event, {messages} messages)")
    print(f"memory of both ends meanwhile    {_peak() >> 20:10,} MiB at most")
    return new


def raw_automerge(old: Ledger) -> None:
    """The same events in one plain Automerge document: nothing signed, checked or stored."""
    from automerge.core import ROOT, Document, Message, ScalarType, SyncState

    one, two = Document(b"a" * 32), Document(b"b" * 32)
    with one.transaction() as change:
        page = old.page(old.author, 0, 1 << 60, 1 << 60)
        for cursor, (sig, body) in enumerate(page.envelopes, 1):
            change.put(ROOT, str(cursor), ScalarType.Bytes, sig + body)
    before, wall, size = _rss(), time.perf_counter(), 0
    ours, theirs = SyncState(), SyncState()
    talking = True
    while talking:
        talking = False
        for here, state, there, other in ((one, ours, two, theirs), (two, theirs, one, ours)):
            message = here.generate_sync_message(state)
            if message is not None:
                data = bytes(message.encode())
                there.receive_sync_message(other, Message.decode(data))
                size, talking = size + len(data), True
    wall = time.perf_counter() - wall
    count = len(two.keys(ROOT))
    print(
        f"the same through raw Automerge   {count / wall:10,.0f} events/s unverified, in memory",
        end="",
    )
    print(f" ({size / count:.0f} B an event, +{(_rss() - before) >> 20} MiB)")


def reconnect(old: Ledger, new: Ledger) -> None:
    """Nothing new since the last time: what finding that out costs."""
    for name, fresh in (("warm", False), ("after a restart", True)):
        times, size = [], 0
        for _ in range(REPEATS):
            if fresh:
                old._writer.tips.forget()
                new._writer.tips.forget()
            start = time.perf_counter()
            _, size = pump(session(old), session(new))
            times.append((time.perf_counter() - start) * 1000)
        print(f"reconnect, nothing new, {name:<16}{statistics.median(times):8.2f} ms", end="")
        print(f" (worst {max(times):.2f}), {size} bytes both ways")


def memory(home: Path) -> None:
    """Resident memory of a process that opens the ledger and answers a reconnect."""
    code = (
        "import sys; from pathlib import Path; from mesh.edge.store.ledger import Ledger\n"
        "from mesh.sync.desk import Desk; from mesh.sync.session import Session\n"
        "ledger = Ledger.open(Path(sys.argv[1]))\n"
        "Session(ledger, lambda *_: True, Desk()).outgoing(0)\n"
        "ledger.page(ledger.author, 0, 1000, 1 << 20)\n"
        "lines = Path('/proc/self/status').read_text().splitlines()\n"
        "print(next(int(line.split()[1]) >> 10 for line in lines if line.startswith('VmHWM')))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(home)], capture_output=True, text=True, check=True
    )
    print(f"memory of a peer with it open    {int(done.stdout):10,} MiB at most")


class Peer:
    """A ledger with its replication, all in this process."""

    def __init__(self, home: Path) -> None:
        self.ledger = Ledger.open(home)
        self.writer = ThreadPoolExecutor(1)
        self.seen: dict[str, float] = {}
        self.cursor = 0
        self.moved = asyncio.Event()
        self.replication = Replication(
            self.ledger, self.writer, lambda author, seq: True, self._admitted
        )

    async def _admitted(self) -> None:
        while found := self.ledger.committed(self.cursor):
            self.cursor = found[-1][0]
            self.seen.update((event.id, time.perf_counter()) for _, event in found)
        self.moved.set()


class Pipe:
    """One end of a link in memory."""

    def __init__(self, peer_key: bytes) -> None:
        self.peer_key = peer_key
        self.version = PROTOCOL
        self.inbox: asyncio.Queue[bytes] = asyncio.Queue()
        self.other: Pipe = self

    async def send(self, data: bytes) -> None:
        self.other.inbox.put_nowait(data)

    async def receive(self) -> bytes:
        return await self.inbox.get()

    async def close(self) -> None:
        return


async def propagation(home: Path) -> None:
    """How long until each of PEERS peers, all linked, has an event that one wrote."""
    peers = [Peer(home / str(i)) for i in range(PEERS)]
    tasks = [task for i, one in enumerate(peers) for two in peers[:i] for task in link(one, two)]
    delays = [await _spread(peers, peers[i % PEERS]) for i in range(ROUNDS)]
    delays = sorted(delays[PEERS:])  # each peer's first event begins its conversations
    print(
        f"an event on all {PEERS} peers         {statistics.median(delays) * 1000:10.1f} ms", end=""
    )
    print(f" (p95 {delays[int(len(delays) * 0.95)] * 1000:.1f}), one process, disk included")
    await _stop(peers, tasks)


async def healing(home: Path) -> None:
    """Two halves of PEERS peers wrote SPLIT events each while apart: how long until all agree."""
    peers = [Peer(home / str(i)) for i in range(PEERS)]
    halves = (peers[: PEERS // 2], peers[PEERS // 2 :])
    tasks: list[asyncio.Task[None]] = []
    for half in halves:
        for _ in range(SPLIT // 50):
            half[0].ledger.append_many([("note_added", "", {"text": "x"})] * 50, NOW)
        tasks += [task for i, one in enumerate(half) for two in half[:i] for task in link(one, two)]
        await _until(half, SPLIT)
    start = time.perf_counter()
    tasks += [task for one in halves[0] for two in halves[1] for task in link(one, two)]
    await _until(peers, 2 * SPLIT)
    took = time.perf_counter() - start
    print(
        f"healed, {SPLIT:,} events a side        {took * 1000:10.0f} ms until {PEERS} peers agree"
    )
    await _stop(peers, tasks)


def link(one: Peer, two: Peer) -> list[asyncio.Task[None]]:
    """Two peers that replicate over a link in memory."""
    a, b = Pipe(bytes.fromhex(two.ledger.author)), Pipe(bytes.fromhex(one.ledger.author))
    a.other, b.other = b, a
    return [
        asyncio.create_task(one.replication.run(a, outbound=True)),
        asyncio.create_task(two.replication.run(b, outbound=False)),
    ]


async def _until(peers: list[Peer], count: int) -> None:
    for peer in peers:
        while peer.ledger.count() < count:
            peer.moved.clear()
            await peer.moved.wait()


async def _stop(peers: list[Peer], tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    for peer in peers:
        peer.writer.shutdown()
        peer.ledger.close()


async def _spread(peers: list[Peer], author: Peer) -> float:
    start = time.perf_counter()
    event = await asyncio.get_running_loop().run_in_executor(
        author.writer, author.ledger.append, "note_added", "", {"text": "x"}, NOW
    )
    author.replication.notify([author.ledger.author])
    others = [peer for peer in peers if peer is not author]
    for peer in others:
        while event.id not in peer.seen:
            peer.moved.clear()
            await peer.moved.wait()
    return max(peer.seen[event.id] for peer in others) - start


def _peak() -> int:
    """The most memory this process ever had, in bytes; 0 where the system does not say."""
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    return next((int(one.split()[1]) << 10 for one in lines if one.startswith("VmHWM")), 0)


def _rss() -> int:
    pages = Path("/proc/self/statm").read_text().split()[1]
    return int(pages) * resource.getpagesize()


def main(count: int) -> None:
    print(f"== sync, {count:,} events")
    with tempfile.TemporaryDirectory(prefix="fleet-bench-", dir=os.environ.get("TMPDIR")) as folder:
        home = Path(folder)
        old = fill(home / "old", count)
        new = first_sync(old, home / "new")
        reconnect(old, new)
        raw_automerge(old)
        new.close()
        memory(home / "new")
        asyncio.run(propagation(home / "mesh"))
        asyncio.run(healing(home / "split"))
        old.close()


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else EVENTS)
