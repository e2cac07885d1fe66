"""One run of a peer's daemon: the live dispatch code on a machine, until it crashes or ends."""

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from mesh.edge.dispatch.peer import Dispatch
from mesh.edge.dispatch.ports import Fact
from mesh.edge.upkeep import Upkeep
from mesh.ledger import hlc
from mesh.ledger.event import NO_PREV, Event
from mesh.ledger.gate import Admission, Hold, Known
from mesh.policy.queue.room import with_word
from mesh.policy.queue.values import Room
from mesh.state.members import allowed
from mesh.state.state import State
from mesh.sync.archive import Envelope
from tests.simulation.clock import OWNER
from tests.simulation.dispatch import gangs
from tests.simulation.dispatch.folding import Folding
from tests.simulation.dispatch.machine import Machine, SimAttempts, name_in, packed

if TYPE_CHECKING:
    from tests.simulation.dispatch.world import World

GIB = 1 << 30
# The node's loop wakes at every change and each half second; less often is enough to see an end.
TICK_S = 2.0


class Dead(BaseException):
    """The daemon is gone: nothing of it goes on."""


class NoModels:
    """A stand-in: commands alone are simulated."""

    async def identity(self, path: str) -> dict[str, object]:
        raise AssertionError(path)

    async def fetch_ms(self, quick_hash: str, size_bytes: int, home: str) -> int:
        return 0

    async def path(self, identity: dict[str, object]) -> str:
        raise AssertionError(identity)


class Daemon:
    """The ledger of one process, and what it does about jobs."""

    def __init__(self, world: "World", machine: Machine) -> None:
        self.world, self.machine, self.author = world, machine, machine.author
        self.alive = True
        self.held = Folding(world.machines[0].author, world.founding, world.keep_ended)
        self.adoptions: dict[str, float] = {}  # when the last one of a job was heard of
        self.since_s = world.loop.time()
        self.sent_to: dict[tuple[str, int], tuple[str, ...]] = {}
        self.last = hlc.ZERO
        for event in machine.events:
            self._fold(event)
        self.wake = asyncio.Event()
        self.dispatch = Dispatch(
            world.outputs.home(machine),
            self,
            self._call,
            linked=self._linked,
            live=lambda: [],
            attempts=lambda _: SimAttempts(machine, self.devices_of, self.step),
            may_act=lambda: self.alive,
            models=NoModels(),
            rooms=self.rooms,
            now_ms=self.now_ms,
            wake=self.wake.set,
        )
        home = self.dispatch.home
        home.candidates = gangs.choosing(home.candidates)
        self.upkeep = Upkeep(self.author, lambda: self.state, self._emit, self._call, self.now_ms)
        self.dispatch.effects.look(machine.running())
        self.task = self.spawn(self._loop())

    @property
    def state(self) -> State:
        """What the ledger says."""
        return self.held.state

    @property
    def heads(self) -> dict[str, int]:
        """How many events of each author are here."""
        return self.held.heads

    def may(self, role: str) -> bool:
        """Whether this peer's own user may use the routes of a role."""
        return allowed(self.state.members.role(self.author), role)

    def counts(self, event: Event) -> bool:
        """Whether what an event says is believed here now."""
        return self.state.members.counts(event)

    def rooms(self) -> list[Room]:
        """Each device as it is read now: nothing but our programs takes any of it."""
        now = self.now_ms()
        read = [
            Room(device_id=one, total_bytes=GIB, free_bytes=GIB, read_ms=now, host="me")
            for one in self.own_devices()
        ]
        return [with_word(room, self.state, now) for room in read]

    def own_devices(self) -> list[str]:
        """Those of this machine, by id."""
        mine = self.state.devices.values()
        return sorted(one.device_id for one in mine if one.owner == self.author)

    def devices_of(self, key: tuple[str, int]) -> tuple[str, ...]:
        """All that an attempt of ours was sent to, as of when it was last in the ledger."""
        job = self.state.jobs.get(key[0])
        for one in () if job is None else job.attempts:
            if (one.number, one.owner) == (key[1], self.author):
                self.sent_to[key] = one.devices
        return self.sent_to[key]

    def spawn(self, work: Any) -> "asyncio.Task[Any]":
        token = OWNER.set(self)
        try:
            return asyncio.get_running_loop().create_task(work)
        finally:
            OWNER.reset(token)

    def now_ms(self) -> int:
        return self.world.ms(self.machine)

    def step(self, name: str) -> None:
        """A fault may wait for this very step; a crash does not come back."""
        if not self.alive:
            raise Dead
        self.world.faults.at_step(self, name)
        self.world.people.at_step(self, name)
        if not self.alive:
            raise Dead

    # The ledger

    def _fold(self, event: Event) -> None:
        self.held.fold(event)
        if event.event_type == "job_adopted":
            self.adoptions[str(event.payload["job_id"])] = self.world.loop.time()
        stamp = hlc.parse(event.hlc)
        self.last = (
            stamp if event.author == self.author else hlc.receive(self.last, stamp, self.now_ms())
        )

    async def emit_all(self, facts: Sequence[Fact]) -> list[Event]:
        self.machine.write("write to the ledger")
        await asyncio.sleep(self.world.rng.random() * 0.01)
        if not self.alive:
            raise Dead
        made: list[Event] = []
        for fact in facts:
            made.append(self._signed(fact, made))
        self._fsync(facts[0][0], made)
        for event in made:
            self._fold(event)
        self.step(f"after {facts[0][0]}")
        await asyncio.sleep(self.world.rng.random() * 0.01)
        if not self.alive:
            raise Dead
        self.wake.set()
        return made

    async def _emit(self, kind: str, device_id: str, payload: dict[str, object]) -> Event:
        return (await self.emit_all([(kind, device_id, payload)]))[0]

    def _fsync(self, kind: str, made: list[Event]) -> None:
        """On the disk, or not: a crash in the middle leaves the one or the other."""
        try:
            self.step(f"before {kind}")
        except Dead:
            if self.world.rng.random() < 0.5:
                self._written(made)
            raise
        self.machine.write("write to the ledger")
        self._written(made)

    def _written(self, made: list[Event]) -> None:
        self.machine.events += made
        for event in made:
            self.world.was_written(self, event)

    def _signed(self, fact: Fact, before: Sequence[Event]) -> Event:
        kind, device_id, payload = fact
        mine = [*self.held.chain.get(self.author, [])[-1:], *before][-1:]
        self.last = hlc.send(self.last, self.now_ms())
        name = self.world.name()
        return Event(
            id=name,
            hash=name,
            timestamp="",
            device_id=device_id,
            event_type=kind,
            payload=payload,
            author=self.author,
            seq=mine[-1].seq + 1 if mine else 1,
            prev=mine[-1].hash if mine else NO_PREV,
            hlc=hlc.render(self.last),
            sig="",
            v=1,
        )

    async def take_in(self, envelopes: Sequence[Envelope]) -> list[Admission]:
        events = [self.world.events[name_in(body)] for _, body in envelopes]
        self.hear(events)
        await asyncio.sleep(self.world.rng.random() * 0.005)
        return [self._verdict(event) for event in events]

    def _verdict(self, event: Event) -> Admission:
        if event.seq <= self.heads.get(event.author, 0):
            return Known(event=event)
        return Hold(event=event, hash=event.hash, reason="an earlier one is missing")

    def hear(self, events: Sequence[Event]) -> None:
        """Others' events: whatever follows on what is here."""
        for event in events:
            if self.held.takes(event):
                self.machine.events.append(event)
                self._fold(event)
                self.wake.set()

    def own_from(self, seq: int, count: int, max_bytes: int) -> list[Envelope]:
        own = self.held.chain.get(self.author, [])[seq - 1 :]
        return [packed(event) for event in own] if len(own) <= count else []

    # The fleet

    async def _call(self, key: bytes, method: str, path: str, body: Any) -> Any:
        return await self.world.net.call(self, key.hex(), method, path, body)

    def _linked(self, key: bytes) -> bool:
        return self.world.net.reaches(self.machine, self.world.by_author[key.hex()])

    # Life

    async def _loop(self) -> None:
        while self.alive:
            self.dispatch.step()
            self.wake.clear()
            try:
                async with asyncio.timeout(TICK_S * (0.5 + self.world.rng.random())):
                    await self.wake.wait()
            except TimeoutError:
                continue

    def crash(self) -> None:
        """Nothing of it runs on; what it had written stays."""
        self.alive = False
        for task in self.world.loop.tasks_of(self):
            task.cancel()
