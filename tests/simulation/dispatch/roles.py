"""Who may do what: admins demote, promote, put out and let in again, by the product's own `Roster`.

Everybody is an admin at first, let in by the first machine, which nobody can demote. In the end
everybody is let in again, so that what was left waiting comes to its end.
"""

import contextlib
import random
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from mesh.api.errors import RequestError
from mesh.edge.disk import StoreError
from mesh.edge.identity import Fleet, Identity
from mesh.edge.pairing.roster import Roster
from mesh.ledger.event import Event
from mesh.state.facts.fact import encode
from mesh.state.facts.member import FleetFounded, PeerAdded
from mesh.state.members import ADDED, ADMIN, FOUNDED, MEMBER, RUNNER, VIEWER
from mesh.state.peer_id import peer_id
from mesh.state.state import State
from mesh.sync.manifest import Tip

if TYPE_CHECKING:
    from tests.simulation.dispatch.daemon import Daemon
    from tests.simulation.dispatch.machine import Machine
    from tests.simulation.dispatch.world import World

PUT_OUT = "put out"
HARSH = 0.1  # of all schedules


class Keeper:
    """A daemon as the people at its pairing desk see it."""

    waits = False

    def __init__(self, daemon: "Daemon") -> None:
        self._daemon = daemon

    @property
    def state(self) -> State:
        return self._daemon.state

    def now(self) -> int:
        return self._daemon.now_ms()

    async def emit(self, event_type: str, device_id: str, payload: dict[str, object]) -> Event:
        return (await self._daemon.emit_all([(event_type, device_id, payload)]))[0]

    async def belong(self, fleet: Fleet, own: Tip | None = None) -> None:
        raise AssertionError("everybody belongs from the start")

    def tips(self) -> Mapping[str, Tip]:
        chains = self._daemon.held.chain.items()
        return {author: Tip(chain[-1].seq, chain[-1].hash) for author, chain in chains if chain}


class Roles:
    """Everybody who decides who may do what."""

    def __init__(self, world: "World") -> None:
        self.world, self.rng = world, world.rng
        self.changed = False  # somebody was something less for a while
        # Their own chances, so that every other schedule stays as it was.
        self.own = random.Random(f"roles {world.seed}")
        self.harsh = self.own.random() < HARSH

    async def found(self) -> None:
        """The fleet's first event, and everybody let in as an admin."""
        first = self.world.daemons[1]
        fact = FleetFounded(recovery="", name=_name(first.machine), tls="")
        await first.emit_all([(FOUNDED, "none", encode(fact))])
        others = self.world.machines[1:]
        grants = [
            PeerAdded(key=m.author, name=_name(m), role=ADMIN, tls="", since=1) for m in others
        ]
        await first.emit_all([(ADDED, "none", encode(one)) for one in grants])

    def plan(self, run_s: float) -> None:
        """How often somebody is demoted or put out in this schedule; mostly never."""
        for _ in range(self.rng.choice((0, 0, 0, 1, 2, 4))):
            self.world.loop.call_at(self.rng.random() * run_s, self._demote)

    def _demote(self) -> None:
        """One peer, for a while."""
        other = self.rng.choice(self.world.machines[1:])
        role = self.rng.choice((RUNNER, MEMBER, MEMBER, VIEWER, PUT_OUT))
        self._ask(other, role)
        if self.rng.random() < 0.7:
            delay = self.rng.choice((5, 60, 200)) * self.rng.random()
            back = self.rng.choice((RUNNER, ADMIN))
            self.world.loop.call_later(delay, self._ask, other, back)

    def outlast(self, home: "Daemon") -> int:
        """In a harsh schedule some homes are put out while what they submitted runs on, and soon
        let in again: how many times as long such a job takes."""
        if not self.harsh or home.machine.number == 1 or self.own.random() > 0.3:
            return 1
        out_s = self.own.random() * 8
        self.world.loop.call_later(out_s, self._ask, home.machine, PUT_OUT)
        back_s = out_s + self.own.random() * 20
        self.world.loop.call_later(back_s, self._ask, home.machine, RUNNER)
        return 8

    def _ask(self, other: "Machine", role: str) -> None:
        admins = [
            one
            for one in self.world.daemons.values()
            if one.state.members.role(one.author) == ADMIN and one.machine is not other
        ]
        if admins and not self.world.faults.ended:
            daemon = self.rng.choice(admins)
            daemon.spawn(self.change(daemon, other, role))

    async def change(self, daemon: "Daemon", other: "Machine", role: str) -> None:
        """As the routes do it, at an admin's peer; whoever was put out is let in again there."""
        self.world.note(f"{daemon.machine.number} makes {other.number} {role}")
        self.changed = True
        me = Identity(seed=b"", author=daemon.author, peer_id=peer_id(daemon.author))
        roster = Roster(Keeper(daemon), me, Path(), lambda: None)
        with contextlib.suppress(RequestError, StoreError):
            if role == PUT_OUT:
                await roster.remove(_name(other), "lost")
            elif daemon.state.members.role(other.author):
                await roster.role(_name(other), role)
            else:
                await self._let_in(daemon, other, role)

    async def _let_in(self, daemon: "Daemon", other: "Machine", role: str) -> None:
        """As the pairing desk does it: both are there, and the guest says where its chain ends."""
        guest = self.world.daemons.get(other.number)
        if guest is None or not self.world.net.reaches(daemon.machine, other):
            return
        own = guest.held.chain.get(guest.author, [])
        fact = PeerAdded(
            key=other.author,
            name=_name(other),
            role=role,
            tls="",
            since=len(own) + 1,
            since_hash=own[-1].hash if own else "",
            names=daemon.state.members.names_for(other.author),
        )
        await daemon.emit_all([(ADDED, "none", encode(fact))])

    def let_all_in(self) -> None:
        """In the end everybody may do everything again."""
        first = self.world.daemons.get(1)
        for other in self.world.machines[1:]:
            if first is not None and first.state.members.role(other.author) != ADMIN:
                first.spawn(self.change(first, other, ADMIN))


def _name(machine: "Machine") -> str:
    return f"m{machine.number}"
