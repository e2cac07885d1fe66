"""One simulated peer: the live code on a disk that can lose power, driven as the node drives it."""

import asyncio
import contextlib
import random
from collections.abc import Callable, Coroutine, Sequence
from typing import TYPE_CHECKING, Any

from mesh.api.errors import RequestError
from mesh.edge.disk import StoreError
from mesh.edge.identity import Fleet
from mesh.edge.live import Live
from mesh.edge.replication import Replication
from mesh.edge.signing.hearing import CLAIM_S
from mesh.ledger.event import Event
from mesh.policy.decide import attempts_at, decide
from mesh.state.members import TYPES as MEMBERSHIP
from mesh.sync import messages
from mesh.sync.holdings import Holdings
from mesh.sync.manifest import Tip
from mesh.sync.messages import Hello
from mesh.sync.quiet import Quiet
from mesh.sync.session import ProtocolError, Session
from tests.simulation.acquainted import Acquainted
from tests.simulation.clock import OWNER, VirtualLoop, Worker
from tests.simulation.disk import Disk, SimLedger
from tests.simulation.homes import Backup, Home, Told
from tests.simulation.keys import identity
from tests.simulation.links import Link
from tests.simulation.work import device_id, outcome

if TYPE_CHECKING:
    from tests.simulation.world import World

START_MS = 1_790_000_000_000
TICK_S = 5.0  # jobs move when the state does; this is for what a fault swallowed
REFUSED = (StoreError, RequestError)  # what a person may be told instead of an answer


class Peer(Acquainted):
    """One machine. `skew_ms` is how wrong its clock is, `fleet` what it belongs to."""

    honest = True
    speaks: Callable[..., Session] = Session

    def __init__(self, world: "World", number: int, key_number: int = 0) -> None:
        self.world, self.number = world, number
        self.who_number = key_number or number
        self.who = identity(self.who_number)
        self.rng: random.Random = world.rng
        self.disk: Disk = world.disk_type(self.rng)
        self.home = Home(world.folder / str(number))
        self.home.folder.mkdir()
        self.version = self.rng.choice((2, 2, 2, 2, 1))  # of the protocol it speaks at most
        self.skew_ms = 0
        self.slow_s = self.rng.choice((0.001, 0.002, 0.01))
        self.told = Told()
        self.backups: list[Backup] = []
        self.alone = False  # a person says that there is nobody to hear
        self.copied = False  # another disk has the same key
        self.up = False
        self.starts = 0
        self.bans: dict[int, float] = {}
        self.start()

    # What links ask

    @property
    def key(self) -> bytes:
        return bytes.fromhex(self.who.author)

    def was_told(self, link: Link, data: bytes) -> None:
        """A neighbour's hello arrived; it may say how far it knows our chain."""
        self.took_step("heard")
        hello = messages.decode(data, link.version) if link.other.honest else None
        if isinstance(hello, Hello) and hello.you_seq:
            self.told.arrived.add(Tip(hello.you_seq, hello.you_hash.hex()))

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
        self.told.arrived.clear()
        self.told.heard.clear()
        self.signed_once = False
        self.worker = Worker(self.rng, self.slow_s)
        self.ledger = self._open()
        self.ledger.speaks = self.speaks
        told = self._told_by(self.starts)
        self.live = Live(
            self.ledger,
            self.fleet,
            self.worker,
            self.now_ms,
            told,
            alone=self.alone,
            keep=self._keep,
        )
        self.replication = Replication(
            self.ledger,
            self.worker,
            self.admits,
            self.live.catch_up,
            self._heard_by(self.starts),
            self.live.rank,
        )
        self.wake = asyncio.Event()
        self.up = True
        self.spawn(self._work())
        self.took_step("start")

    def _keep(self, fleet: Fleet) -> None:
        """Belong to a fleet also after the next start."""
        self.home.fleet = fleet

    async def belong(self, fleet: Fleet, own: Tip | None = None) -> None:
        """Be part of a fleet from now on, as the node has it; `own` is what the host has of us."""
        if own is not None and own.seq:
            self.told.heard[own] = asyncio.get_running_loop().time()
            self.signed_once = False
        await self.live.belong(fleet, own)
        self.replication.refresh()
        self.world.members_changed(self)

    def _open(self) -> SimLedger:
        def gone() -> None:
            asyncio.get_running_loop().call_soon(self._crash_of, life)

        life = self.starts
        return SimLedger(self.who, self.home.folder, self.disk, self.took_step, gone)

    def _crash_of(self, life: int) -> None:
        if life == self.starts:
            self.crash()

    def _heard_by(self, life: int) -> Callable[[Tip], None]:
        return lambda tip: self._hear(tip) if life == self.starts and self.up else None

    def _hear(self, tip: Tip) -> None:
        if tip in self.told.arrived:
            self.told.heard.setdefault(tip, asyncio.get_running_loop().time())
        self.live.heard(tip)

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
        self.backups.append(self.home.back_up(self.disk))

    # What it does

    def now_ms(self) -> int:
        """Its own clock, right or wrong."""
        return START_MS + int(asyncio.get_running_loop().time() * 1000) + self.skew_ms

    async def say(self, event_type: str, payload: dict[str, object], device: str = "") -> Event:
        """Write a fact; the person is told that it is safe."""
        now = asyncio.get_running_loop().time()
        told = [tip for tip, at in self.told.heard.items() if now < at + CLAIM_S]
        event = await self.live.emit(event_type, device or device_id(self.who.author), payload)
        self.told.acked[event.id] = event.seq
        self._signed_after([] if self.signed_once else told, event)
        return event

    def _signed_after(self, told: list[Tip], event: Event) -> None:
        """The first event of a life comes after all that neighbours know of the chain."""
        self.signed_once = True
        if not self.honest or self.copied or self.who.author in self.world.stolen:
            return
        for tip in told:
            if not self.ledger.has(event.author, tip.seq, tip.hash):
                text = f"peer {self.number} signed {event.seq} before it had its own {tip.seq}"
                self.world.fail(f"{text}, which a neighbour told of")

    def _told_by(self, life: int) -> Callable[[Sequence[Event]], None]:
        return lambda events: self._tell(events) if life == self.starts and self.up else None

    def _tell(self, events: Sequence[Event]) -> None:
        """Events were folded in: pass ours on, look again at who is a member, go on working."""
        if not events:
            return
        self.took_step("fold")
        self.world.judge.stays(self)
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
                await self.live.catch_up()
                held = attempts_at(self.live.state, self.who.author)
                start = frozenset((job.job_id, one.number) for job, one in held)
                for command in decide(self.live.state, self.who.author, start=start)[:3]:
                    if command.job_id not in self.live.state.jobs or not self.live.may_sign:
                        continue  # cut off meanwhile
                    said = outcome(command, self.live.state)
                    with contextlib.suppress(*REFUSED):
                        await self.say(*said) if said is not None else None
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
        rule = Quiet(self.live.is_recovery, self.live.tells_who_belongs)
        quiet = rule if link.quiet else None
        try:
            await self.replication.run(link, outbound=link.outbound, quiet=quiet)
        except ProtocolError as error:
            self.world.blames(self, link, str(error))
        except (ConnectionError, StoreError):
            pass
        finally:
            await link.close()

    # What it holds

    @property
    def forked(self) -> bool:
        """Whether its key signed two histories, as far as it knows: it signs no more."""
        return self.who.author in self.ledger.forked()

    def holds(self) -> dict[str, Tip]:
        """What counts of all it holds, as its neighbours are told."""
        members = self.live.state.members
        return Holdings(self.ledger, lambda author, seq: members.admits(author, seq)).all()
