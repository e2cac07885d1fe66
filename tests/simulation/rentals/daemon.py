"""One peer with the account's key: its disk outlives its processes; each runs the live actor on the
live fold of what is on the disk."""

import asyncio
from typing import TYPE_CHECKING

from mesh.edge.clouds.renting.account import Account
from mesh.edge.clouds.renting.wire import NotingWire
from mesh.edge.disk import StoreError
from mesh.ledger import hlc
from mesh.ledger.event import NO_PREV, Event
from mesh.state.fold import apply
from mesh.state.rentals.rental import Rental
from mesh.state.state import State
from tests.simulation.clock import OWNER
from tests.simulation.rentals.stubs import SimKeys, SimLadder, SimOffers
from tests.simulation.rentals.wire import SimWire

if TYPE_CHECKING:
    from tests.simulation.rentals.world import World

ACCOUNT = "main"
MESH = "m1"
LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789"


class Dead(asyncio.CancelledError):
    """The process is gone: nothing of it goes on."""


class Daemon:
    """`name` is its key; of a copied disk too, which then runs twice."""

    def __init__(self, world: "World", name: str, skew_ms: int, *, copied: bool = False) -> None:
        self.world, self.name, self.skew_ms, self.copied = world, name, skew_ms, copied
        self.disk: list[Event] = []
        self.have: set[tuple[str, int]] = set()
        self.state = State()
        self.alive, self.cut, self.boot = False, False, 0
        self.gone_until_ms, self.seq = 0, 0
        self.pulled: dict[str, int] = {}
        self.last = hlc.ZERO
        self.alarms: list[tuple[str, str]] = []
        self.may_act = True

    # Life

    def start(self) -> None:
        """A process: the state is folded from the disk, and nothing else is known."""
        self.boot += 1
        self.alive, self.state, self.last = True, State(), hlc.ZERO
        for event in self.disk:
            self._fold(event)
        wire = NotingWire(SimWire(self, self.boot), self.own_ms)
        self.actor = Account(
            ACCOUNT,
            self.world.side.cloud(wire),
            wire,
            peer=self.name,
            mesh=MESH,
            state=lambda: self.state,
            emit=self.emit,
            offers=SimOffers(self),
            ladder=SimLadder(self),
            keys=SimKeys(),
            alarm=lambda rental_id, why: self.alarms.append((rental_id, why)),
            shares=lambda: self.world.shares,
            nonce=lambda: "".join(self.world.dice.choices(LETTERS, k=8)),
            own_ms=self.own_ms,
            askers=frozenset({"home"}),
            may_act=lambda: self.may_act,
        )
        self.spawn(self.actor.run())

    def spawn(self, work: object) -> None:
        token = OWNER.set(self)
        try:
            asyncio.get_running_loop().create_task(work)  # type: ignore[arg-type]
        finally:
            OWNER.reset(token)

    def crash(self) -> None:
        """Nothing of it runs on; what it had written stays."""
        self.alive = False
        for task in self.world.loop.tasks_of(self):
            task.cancel()

    def own_ms(self) -> int:
        """What its clock says: anything between 1970 and 2100."""
        return self.world.now() + self.skew_ms

    def step(self, name: str) -> None:
        """A crash may come at this very step; it does not come back."""
        if self.alive and self.world.faults.crashes(self, name):
            self.world.down(self)
        if not self.alive:
            raise Dead

    # The ledger

    async def emit(self, kind: str, payload: dict[str, object]) -> Event:
        """Durable, then folded, then told to the others."""
        await asyncio.sleep(self.world.dice.randint(0, 8) / 1000)
        self.step(f"before {kind}")
        if self.world.faults.fills(self):
            raise StoreError("the disk is full", "make room")
        event = self._made(kind, payload)
        self.take(event)
        self.world.appended(self, event)
        self.step(f"after {kind}")
        return event

    def _made(self, kind: str, payload: dict[str, object]) -> Event:
        now_ms = max(0, self.own_ms())
        self.last = hlc.send(self.last, now_ms)
        name = self.world.name()
        return Event(
            id=name,
            hash=name,
            timestamp="",
            device_id="",
            event_type=kind,
            payload=payload,
            author=self.name,
            seq=self.seq + 1,
            prev=NO_PREV,
            hlc=hlc.render(self.last),
            sig="",
            v=1,
        )

    def take(self, event: Event) -> None:
        """Put it on the disk; fold it where a process runs."""
        if (event.author, event.seq) in self.have:
            return
        self.have.add((event.author, event.seq))
        if event.author == self.name:
            self.seq = max(self.seq, event.seq)
        self.disk.append(event)
        if self.alive:
            self._fold(event)

    def _fold(self, event: Event) -> None:
        apply(self.state, event)
        self.state.cursor += 1
        stamp = hlc.parse(event.hlc)
        mine = event.author == self.name
        self.last = (
            max(self.last, stamp) if mine else hlc.receive(self.last, stamp, max(0, self.own_ms()))
        )

    def pull(self, other: "Daemon") -> None:
        """What the other has on its disk, each author's in its order."""
        at = self.pulled.get(other.name, 0)
        news, self.pulled[other.name] = other.disk[at:], len(other.disk)
        for event in news:
            self.take(event)
        if news and self.alive:
            self.actor.notice()

    # What is known

    def rentals(self) -> dict[str, Rental]:
        """By this disk."""
        return self.state.rentals.account(self.world.side.name, ACCOUNT).rentals

    def open(self) -> list[Rental]:
        """Those that are not closed, by this disk."""
        return list(self.state.rentals.account(self.world.side.name, ACCOUNT).open())

    @property
    def owner(self) -> tuple[int, str]:
        """(epoch, peer) by this disk."""
        return self.state.rentals.account(self.world.side.name, ACCOUNT).owner

    @property
    def owns(self) -> bool:
        return self.owner[1] == self.name

    def states(self, rental: str = "") -> list[str]:
        """The states of its rentals, or of one."""
        known = self.rentals()
        if rental:
            return [known[rental].state] if rental in known and known[rental].state else []
        return [one.state for one in known.values() if one.state]
