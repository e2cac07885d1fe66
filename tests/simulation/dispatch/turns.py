"""When an attempt may begin on a device: as its owner says, and in the order in which it took them.

Looked at the moment the owner begins to write a launch, by the events on its disk that count there.
From a drain's event until its resume nothing is launched; while a reservation is open by the
owner's clock, only jobs of whom it is for; nothing on another's device for a home that is known
there to be no runner; and of two attempts with the same priority and the same need (all commands
need their device to themselves), the one whose lease comes first in the owner's chain is launched
first, unless it was cancelled or ended, another attempt of its job goes on, its home is no runner,
it needs several devices (which others have by turns), or a reservation held it back.
"""

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mesh.ledger.event import Event
from mesh.policy.queue.values import ASSUMED_MS
from mesh.policy.reconcile import is_superfluous
from mesh.state.facts.fact import decode
from mesh.state.facts.upkeep import DeviceReserved
from mesh.state.members import RUNNER, allowed
from tests.simulation.dispatch import gangs
from tests.simulation.dispatch.machine import Key, Machine, Program

if TYPE_CHECKING:
    from tests.simulation.dispatch.daemon import Daemon
    from tests.simulation.dispatch.world import World

ENDS = ("job_completed", "job_failed", "job_cancelled")
WORDS = ("device_drained", "device_resumed", "device_reserved", "reservation_ended")


@dataclass(slots=True)
class Lease:
    """An attempt that an owner took for one of its devices; `kept`: it may be passed, for it met a
    reservation or needs several."""

    key: Key
    event: Event
    kept: bool = False
    ends: list[Event] = field(default_factory=list)  # what its owner said of its end


class Turns:
    """What owners' disks say of their devices and leases."""

    def __init__(self, world: "World") -> None:
        self.world = world
        self.words: defaultdict[str, list[Event]] = defaultdict(list)  # by device
        # The lease of an owner's attempt, and its end.
        self.said: defaultdict[tuple[str, Key], list[Event]] = defaultdict(list)
        self.ended_s: dict[tuple[str, Key], float] = {}  # when an owner's end of it was on disk
        self.line: defaultdict[str, list[Lease]] = defaultdict(list)  # by owner

    def written(self, event: Event) -> None:
        """An event is on its author's disk."""
        line, kind, device = self.line[event.author], event.event_type, event.device_id
        if kind in WORDS:
            self.words[device].append(event)
            if kind == "device_reserved":
                for one in line:
                    one.kept = one.kept or one.event.device_id == device
            return
        at_home = kind == "job_dispatched" and not event.payload.get("owner")
        key = str(event.payload.get("job_id")), int(str(event.payload.get("attempt", 0)))
        if kind == "job_accepted" or at_home:
            self.said[event.author, key].append(event)
            kept = gangs.size_of(key[0]) > 1 or any(map(_reserves, self.words[device]))
            line.append(Lease(key, event, kept=kept))
        elif kind in ENDS:
            self.said[event.author, key].append(event)
            self.ended_s.setdefault((event.author, key), self.world.loop.time())
            for one in line:
                if one.key == key:
                    one.ends.append(event)

    def launched(self, machine: Machine, key: Key, devices: tuple[str, ...]) -> None:
        """An attempt's launch begins to be written."""
        owner = self.world.daemons[machine.number]
        home = owner.state.jobs[key[0]].home
        for device_id in devices:
            what = f"{key[0]}.{key[1]} begins on {device_id}"
            if self._drained(owner, device_id):
                self.world.fail(f"{what}, which is drained")
            if not _may_use(owner, home):
                self.world.fail(f"{what} for a home that is no runner any more")
            if self._reserved(owner, home, device_id):
                self.world.fail(f"{what}, which is reserved for another")
            self._in_turn(owner, key, device_id, what)

    def began(self, program: Program) -> None:
        """No program of an attempt begins once its end is signed."""
        owner = self.world.machines[program.number - 1].author
        ended_s = self.ended_s.get((owner, program.key), program.begun_s)
        if ended_s < program.begun_s and not self.world.roles.changed:
            self.world.fail(f"{program.key} begins after its end was signed")

    def _in_turn(self, owner: "Daemon", key: Key, device_id: str, what: str) -> None:
        # An end that was signed while its owner's word did not count is none, once it does again.
        line = [
            one
            for one in self.line[owner.author]
            if owner.counts(one.event) and not any(map(owner.counts, one.ends))
        ]
        its = next((one for one in line if one.key == key), None)
        if its is None:
            self.world.fail(f"{what}, which has no lease of its owner on disk")
            return
        if its.kept:  # passed by so many that it is its turn
            return
        for one in line[: line.index(its)]:
            if one.event.device_id == device_id and self._comes_first(owner, one, its):
                self.world.fail(f"{what} before {one.key[0]}.{one.key[1]}, which came first")

    def _drained(self, owner: "Daemon", device_id: str) -> bool:
        told = [
            one.event_type
            for one in self.words[device_id]
            if one.event_type in ("device_drained", "device_resumed") and owner.counts(one)
        ]
        return told[-1:] == ["device_drained"]

    def _reserved(self, owner: "Daemon", home: str, device_id: str) -> bool:
        """For somebody else, within the time that a job of unknown length is taken to need."""
        told = [one for one in self.words[device_id] if owner.counts(one)]
        over = {one.payload["reservation_id"] for one in told if not _reserves(one) and _ends(one)}
        now = owner.now_ms()
        return any(
            fact.by != home and fact.from_ms < now + ASSUMED_MS and now < fact.until_ms
            for fact in (decode(DeviceReserved, one.payload) for one in told if _reserves(one))
            if fact.reservation_id not in over
        )

    def _comes_first(self, owner: "Daemon", one: Lease, other: Lease) -> bool:
        submitted = self.world.judge.submitted
        job = owner.state.jobs.get(one.key[0])
        if job is None or one.kept or one.key[0] in self.world.judge.cancelled:
            return False
        if submitted[one.key[0]].priority != submitted[other.key[0]].priority:
            return False
        if not _may_use(owner, job.home) or one.key in owner.machine.launches:
            return False
        there = [each for each in job.attempts if each.number == one.key[1] and each.alive]
        return any(each.owner == owner.author and not is_superfluous(job, each) for each in there)


def _may_use(owner: "Daemon", home: str) -> bool:
    return home == owner.author or allowed(owner.state.members.role(home), RUNNER)


def _reserves(event: Event) -> bool:
    return event.event_type == "device_reserved"


def _ends(event: Event) -> bool:
    return event.event_type == "reservation_ended"
