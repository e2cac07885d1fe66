"""A simulated peer: the real ledger, sessions, fold and decisions, without clock or socket."""

import random

from mesh.edge.identity import Identity
from mesh.ledger.event import Event
from mesh.policy.commands import Command, PlaceJob, StartJob, StopJob, WatchJob
from mesh.policy.decide import decide
from mesh.state.fold import State, apply, fold_ordered
from mesh.sync.desk import Desk
from mesh.sync.session import Session
from tests.simulation.disk import Disk, SimLedger

EPOCH_MS = 1_790_000_000_000


class Node:
    """One peer. `skew_ms` is how wrong its clock is; `acked` what it told its user is safe."""

    session_type: type[Session] = Session

    def __init__(self, number: int, who: Identity, disk: Disk, rng: random.Random) -> None:
        self.number = number
        self.who = who
        self.disk = disk
        self.rng = rng
        self.skew_ms = 0
        self.acked: list[str] = []
        self.honest = True
        self.up = False
        self.start()

    @property
    def key(self) -> bytes:
        return bytes.fromhex(self.who.author)

    def start(self) -> None:
        """Begin, or begin again with what the disk kept."""
        self.ledger = SimLedger(self.who, self.disk)
        self.state: State = fold_ordered(self.ledger.ordered())
        self.desk = Desk()
        self.up = True

    def stop(self) -> None:
        """The power goes."""
        self.up = False
        self.disk.lose()
        self.ledger._db.close()

    def session(self) -> Session:
        return self.session_type(self.ledger, self.state.members.admits, self.desk)

    def take(self, events: tuple[Event, ...]) -> None:
        """Fold events that came in."""
        for event in events:
            apply(self.state, event)
        if self.state.stale:
            self.state = fold_ordered(self.ledger.ordered())

    def write(self, now: int) -> bool:
        """Do what is due, or something a person might do; False where the key has forked."""
        commands = decide(self.state, self.who.author)
        kind, payload = self._outcome(commands[0]) if commands else self._wish(now)
        if self.who.author in self.ledger.forked():
            return False
        device = f"dev-{self.number}"
        event = self.ledger.append(kind, device, payload, EPOCH_MS + now + self.skew_ms)
        self.acked.append(event.id)
        self.take((event,))
        return True

    def _wish(self, now: int) -> tuple[str, dict[str, object]]:
        match self.rng.randrange(4):
            case 0:
                return "device_registered", {"name": f"n{now}", "memory_bytes": now}
            case 1:
                return "job_submitted", {"job_id": f"j-{self.number}-{now}", "model": "m"}
            case 2 if self.state.jobs:
                return "job_cancel_requested", {"job_id": self.rng.choice(sorted(self.state.jobs))}
            case _:
                return "note_added", {"text": f"note {now}"}

    def _outcome(self, command: Command) -> tuple[str, dict[str, object]]:
        job = {"job_id": command.job_id}
        match command:
            case PlaceJob():
                return "job_dispatched", job | {"attempt": 1}
            case StartJob():
                return "job_started", job | {"attempt": 1}
            case WatchJob():
                done = {"actual_cost_nusd": 7, "actual_duration_ms": 1000, "tokens_generated": 5}
                return "job_completed", job | done
            case StopJob():
                return "job_cancelled", job
