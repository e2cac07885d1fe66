"""One simulated peer: the live code on a disk that can lose power, driven as the node drives it."""

import asyncio
import contextlib
import inspect
import random
import shutil
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mesh.api.errors import RequestError
from mesh.edge.disk import StoreError
from mesh.edge.identity import Fleet
from mesh.edge.replication import Replication
from mesh.ledger.event import Event
from mesh.policy.decide import decide
from mesh.state.members import TYPES as MEMBERSHIP
from mesh.sync.holdings import Holdings
from mesh.sync.manifest import Tip
from mesh.sync.session import ProtocolError, Session
from tests.simulation.clock import OWNER, VirtualLoop, Worker
from tests.simulation.disk import Disk, SimLedger
from tests.simulation.keys import identity
from tests.simulation.links import Link
from tests.simulation.live import Live
from tests.simulation.work import device_id, outcome

if TYPE_CHECKING:
    from tests.simulation.world import World

START_MS = 1_790_000_000_000
TICK_S = 5.0  # jobs move when the state does; this is for what a fault swallowed
REFUSED = (StoreError, RequestError)  # what a person may be told instead of an answer


@dataclass(frozen=True)
class Backup:
    """A copy of a home at one moment."""

    image: bytes
    files: tuple[tuple[str, bytes], ...]
    fleet: Fleet | None


@dataclass
class Told:
    """What this peer's person was told is safe, and what its neighbours told it."""

    acked: list[str] = field(default_factory=list)
    spared: dict[str, set[int]] = field(default_factory=dict)  # who else had what a lost disk held
    own_tips: dict[int, Tip] = field(default_factory=dict)  # by neighbour, since the last start


class Peer:
    """One machine. `skew_ms` is how wrong its clock is, `fleet` what it belongs to."""

    honest = True
    speaks: Callable[..., Session] = Session

    def __init__(self, world: "World", number: int, key_number: int = 0) -> None:
        self.world, self.number = world, number
        self.who_number = key_number or number
        self.who = identity(self.who_number)
        self.rng: random.Random = world.rng
        self.disk: Disk = world.disk_type(self.rng)
        self.home: Path = world.folder / str(number)
        self.home.mkdir()
        self.fleet: Fleet | None = None
        self.version = self.rng.choice((2, 2, 2, 2, 1))  # of the protocol it speaks at most
        self.skew_ms = 0
        self.slow_s = self.rng.choice((0.001, 0.002, 0.01))
        self.told = Told()
        self.backups: list[Backup] = []
        self.known: frozenset[str] = frozenset()
        self.restored = False  # it lost what it knew, perhaps also whom to ask
        self.copied = False  # another disk has the same key
        self.up = False
        self.starts = 0
        self.bans: dict[int, float] = {}
        self.start()

    # What links ask

    @property
    def key(self) -> bytes:
        return bytes.fromhex(self.who.author)

    def knows_of(self, author: str) -> Tip | None:
        """How far this peer holds an author's chain."""
        return self.ledger.tip(author)

    def was_told(self, link: Link, tip: Tip | None) -> None:
        """A neighbour's hello arrived; it said how far it knows our chain."""
        self.took_step("heard")
        if tip is not None:
            self.told.own_tips[link.other.number] = tip
        if not self.world.hello_tells:
            self.live.heard(tip)

    def took_step(self, step: str) -> None:
        """Something a fault may wait for; honest peers' steps alone count."""
        if self.honest and self.up:
            self.world.steps.at(self, step)

    # Its life

    def start(self) -> None:
        """Begin, or begin again with what the disk kept."""
        assert not self.up
        self.disk.full = False
        self.starts += 1
        self.told.own_tips.clear()
        self.signed_once = False
        self.worker = Worker(self.rng, self.slow_s)
        self.ledger = self._open()
        self.ledger.speaks = self.speaks
        told = self._told_by(self.starts)
        more = {"keep": self._keep} if "keep" in inspect.signature(Live).parameters else {}
        self.live = Live(self.ledger, self.fleet, self.worker, self.now_ms, told, **more)
        self.replication = self._replication()
        self.wake = asyncio.Event()
        self.up = True
        self.spawn(self._work())
        self.took_step("start")

    def _keep(self, fleet: Fleet) -> None:
        """Belong to a fleet also after the next start."""
        self.fleet = fleet

    def _open(self) -> SimLedger:
        def gone() -> None:
            asyncio.get_running_loop().call_soon(self._crash_of, life)

        life = self.starts
        return SimLedger(self.who, self.home, self.disk, self.took_step, gone)

    def _crash_of(self, life: int) -> None:
        if life == self.starts:
            self.crash()

    def _replication(self) -> Replication:
        known = inspect.signature(Replication.__init__).parameters
        more: dict[str, Any] = {"me": self.who.author, "heard": self._heard_by(self.starts)}
        more = {name: value for name, value in more.items() if name in known}
        return Replication(self.ledger, self.worker, self.admits, self._news, **more)

    def _heard_by(self, life: int) -> Callable[[Tip], None]:
        return lambda tip: self.live.heard(tip) if life == self.starts and self.up else None

    def admits(self, author: str, seq: int) -> bool:
        """What sessions may take and tell."""
        return self.live.admits(author, seq)

    def spawn(self, doing: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Start a task of this peer; it dies with it."""
        token = OWNER.set(self)
        try:
            return asyncio.get_running_loop().create_task(doing)
        finally:
            OWNER.reset(token)

    def crash(self, *, back_s: float | None = None) -> None:
        """The power goes; it comes back a little later."""
        if not self.up:
            return
        self._down("crashes")
        self.disk.lose()
        self.come_back(self.rng.random() * 10 if back_s is None else back_s)

    def come_back(self, after_s: float) -> None:
        """Start again later, if it is not up by then."""
        loop = asyncio.get_running_loop()
        loop.call_later(after_s, lambda: None if self.up else self.start())

    async def shut_down(self) -> None:
        """Stop as a daemon does: links first, then the ledger."""
        if not self.up:
            return
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        mine = [task for task in loop.tasks_of(self) if task is not asyncio.current_task()]
        for task in mine:
            task.cancel()
        await asyncio.gather(*mine, return_exceptions=True)
        if self.up:  # the power may have gone meanwhile
            self.worker.shutdown()
            with contextlib.suppress(*REFUSED):
                self.live.close()
            self._down("shuts down")

    def _down(self, how: str) -> None:
        self.world.note(self, how)
        self.up = False
        self.ledger.lose_power()
        self.worker.closed = True
        self.world.unlink(self)
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        current = asyncio.current_task()
        for task in loop.tasks_of(self):
            if task is not current:
                task.cancel()

    # Its disk

    def back_up(self) -> None:
        """Copy the home as it is on disk."""
        files = sorted(path for path in self.home.iterdir() if path.is_file())
        kept = tuple((path.name, path.read_bytes()) for path in files)
        self.backups.append(Backup(self.disk.durable, kept, self.fleet))

    def restore(self, backup: Backup, *, whole: bool) -> None:
        """Put an old database back, or the whole home. The peer must be down."""
        self.disk.durable = self.disk.previous = backup.image
        if whole:
            self.fleet = backup.fleet
            shutil.rmtree(self.home)
            self.home.mkdir()
            for name, data in backup.files:
                (self.home / name).write_bytes(data)

    # What it does

    def now_ms(self) -> int:
        """Its own clock, right or wrong."""
        return START_MS + int(asyncio.get_running_loop().time() * 1000) + self.skew_ms

    async def say(self, event_type: str, payload: dict[str, object], device: str = "") -> Event:
        """Write a fact; the person is told that it is safe."""
        told = [] if self.signed_once else list(self.told.own_tips.values())
        event = await self.live.emit(event_type, device or device_id(self.who.author), payload)
        self.told.acked.append(event.id)
        self._signed_after(told, event)
        return event

    def _signed_after(self, told: list[Tip], event: Event) -> None:
        """The first event of a life comes after all that neighbours know of the chain."""
        self.signed_once = True
        if not self.honest or self.copied or self.who.author in self.world.stolen:
            return
        for tip in told:
            if not tip.fork and not has(self.ledger, event.author, tip):
                text = f"peer {self.number} signed {event.seq} before it had its own {tip.seq}"
                self.world.fail(f"{text}, which a neighbour told of")

    async def _news(self, *_: object) -> None:
        await self.live.catch_up()

    def _told_by(self, life: int) -> Callable[[Sequence[Event]], None]:
        return lambda events: self._tell(events) if life == self.starts and self.up else None

    def _tell(self, events: Sequence[Event]) -> None:
        """Events were folded in: pass ours on, look again at who is a member, go on working."""
        if not events:
            return
        self.took_step("fold")
        if any(event.author == self.who.author for event in events):
            self.replication.notify([self.who.author])
        else:
            self.took_step("relay")
        if any(event.event_type in MEMBERSHIP for event in events):
            self.took_step("statement")
            self.replication.refresh()
            self.world.members_changed(self)
        self.wake.set()

    async def _work(self) -> None:
        """Turn the state into the next events, as long as the peer is up."""
        life = self.starts
        with contextlib.suppress(asyncio.CancelledError):
            while self.up and life == self.starts:
                for command in decide(self.live.state, self.who.author)[:3]:
                    if command.job_id not in self.live.state.jobs:
                        continue  # cut off meanwhile
                    with contextlib.suppress(*REFUSED):
                        await self.say(*outcome(command, self.live.state))
                self.wake.clear()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(TICK_S):
                        await self.wake.wait()
            return
        if self.up and life == self.starts:  # cancelled by a fault: the daemon begins again
            asyncio.get_running_loop().call_later(TICK_S, self._work_again, life)

    def _work_again(self, life: int) -> None:
        if self.up and life == self.starts:
            self.spawn(self._work())

    async def serve(self, link: Link) -> None:
        """Replicate over a link until it ends; shun who breaks the protocol."""
        try:
            await self.replication.run(link, outbound=link.outbound)
        except ProtocolError as error:
            self.world.blames(self, link, str(error))
        except (ConnectionError, StoreError):
            pass
        finally:
            await link.close()

    # What it knows

    def belongs(self) -> dict[str, Any]:
        """What its home says of the fleet, as members are judged by it."""
        fields = {"root", "founding", "recovery"} & set(Fleet.__slots__)
        return {name: getattr(self.fleet, name) for name in fields} if self.fleet else {}

    def trusts(self, author: str) -> bool:
        """Whether this key may link with us: a member, or who let us in until we know members."""
        members = self.live.state.members
        if self.fleet is None:
            return False
        if members.role(author) and not members.alone:
            return True
        if author not in self.known and author not in (self.fleet.introducer, self.fleet.root):
            return False
        return members.alone or not any(one.author == author for one in members.peers())

    def remember(self) -> None:
        """Keep the keys of members beside the ledger: whom to ask once that is lost."""
        members = self.live.state.members
        if not members.alone:
            self.known |= {one.author for one in members.peers() if one.role}

    def holds(self) -> dict[str, Tip]:
        """What counts of all it holds, as its neighbours are told."""
        members = self.live.state.members
        return Holdings(self.ledger, lambda author, seq: members.admits(author, seq)).all()


def has(ledger: SimLedger, author: str, tip: Tip) -> bool:
    """Whether a ledger holds an event."""
    return tip.hash in ledger.hashes_at(author, tip.seq)
