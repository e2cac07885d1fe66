"""When an attempt may begin on a device: as its owner says, and in the order in which it took them.

Looked at the moment a launch is on the owner's disk. From a drain's event on that disk until its
resume nothing is launched there; while a reservation is open by the owner's clock, only jobs of
whom it is for; and of two attempts with the same priority and the same need (all commands need
their device to themselves), the one whose lease comes first in the owner's chain is launched first,
unless it was cancelled or ended, another attempt of its job goes on, or a reservation held it back.
"""

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mesh.ledger.event import Event
from mesh.policy.queue.values import ASSUMED_MS
from mesh.policy.reconcile import is_superfluous
from mesh.state.facts.fact import decode
from mesh.state.facts.upkeep import DeviceReserved
from tests.simulation.dispatch.machine import Key, Machine

if TYPE_CHECKING:
    from tests.simulation.dispatch.world import World

ENDS = ("job_completed", "job_failed", "job_cancelled")


@dataclass(slots=True)
class Lease:
    """An attempt that an owner took for one of its devices; `kept`: it met a reservation."""

    key: Key
    device_id: str
    kept: bool = False


class Turns:
    """What owners' disks say of their devices and leases."""

    def __init__(self, world: "World") -> None:
        self.world = world
        self.drained: set[str] = set()
        self.reserved: defaultdict[str, dict[str, DeviceReserved]] = defaultdict(dict)
        self.line: defaultdict[str, list[Lease]] = defaultdict(list)  # by owner, not yet launched

    def written(self, event: Event) -> None:
        """An event is on its author's disk."""
        match event.event_type:
            case "device_drained":
                self.drained.add(event.device_id)
            case "device_resumed":
                self.drained.discard(event.device_id)
            case "device_reserved":
                fact = decode(DeviceReserved, event.payload)
                self.reserved[event.device_id][fact.reservation_id] = fact
                self._keep(event)
            case "reservation_ended":
                said = str(event.payload["reservation_id"])
                self.reserved[event.device_id].pop(said, None)
            case _:
                self._leased(event)

    def _leased(self, event: Event) -> None:
        line, kind = self.line[event.author], event.event_type
        at_home = kind == "job_dispatched" and not event.payload.get("owner")
        key = str(event.payload.get("job_id")), int(str(event.payload.get("attempt", 0)))
        if kind == "job_accepted" or at_home:
            kept = bool(self.reserved[event.device_id])
            line.append(Lease(key, event.device_id, kept))
        elif kind in ENDS:
            self.line[event.author] = [one for one in line if one.key != key]

    def _keep(self, event: Event) -> None:
        for one in self.line[event.author]:
            one.kept = one.kept or one.device_id == event.device_id

    def launched(self, machine: Machine, key: Key, device_id: str) -> None:
        """An attempt's launch is being written."""
        what = f"{key[0]}.{key[1]} begins on {device_id}"
        if device_id in self.drained:
            self.world.fail(f"{what}, which is drained")
        self._reserved(machine, key, device_id, what)
        line = self.line[machine.author]
        before = next((one for one in line if one.key == key), None)
        if before is None:
            self.world.fail(f"{what}, which has no lease of its owner on disk")
            return
        for one in line[: line.index(before)]:
            if one.device_id == device_id and self._comes_first(machine, one, before):
                self.world.fail(f"{what} before {one.key[0]}.{one.key[1]}, which came first")
        line.remove(before)

    def _reserved(self, machine: Machine, key: Key, device_id: str, what: str) -> None:
        job = self.world.daemons[machine.number].state.jobs[key[0]]
        now = self.world.ms(machine)
        for one in self.reserved[device_id].values():
            if one.by != job.home and one.from_ms < now + ASSUMED_MS and now < one.until_ms:
                self.world.fail(f"{what}, which is reserved for another")

    def _comes_first(self, machine: Machine, one: Lease, other: Lease) -> bool:
        submitted = self.world.judge.submitted
        job = self.world.daemons[machine.number].state.jobs.get(one.key[0])
        if job is None or one.kept or one.key[0] in self.world.judge.cancelled:
            return False
        if submitted[one.key[0]].priority != submitted[other.key[0]].priority:
            return False
        there = [each for each in job.attempts if each.number == one.key[1] and each.alive]
        return any(each.owner == machine.author and not is_superfluous(job, each) for each in there)
