"""A simulated peer: the real ledger, sessions, fold and decisions, without clock or socket."""

import random
from collections.abc import Callable, Iterator

from mesh.edge.identity import Identity
from mesh.ledger.event import Event
from mesh.policy.commands import Command, PlaceJob, StartJob, StopJob, WatchJob
from mesh.policy.decide import decide
from mesh.state.fold import State, apply, fold_ordered
from mesh.state.members import TYPES as MEMBERSHIP
from mesh.state.members import Members
from mesh.sync.desk import Desk
from mesh.sync.holdings import Holdings
from mesh.sync.manifest import Tip
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
        self.root = ""  # of the fleet; "" while everybody is alone
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
        self.state = self.folded(Members(root=self.root))
        self.desk = Desk()
        self.up = True

    def stop(self) -> None:
        """The power goes."""
        self.up = False
        self.disk.lose()
        self.ledger._db.close()

    def admits(self, author: str, seq: int) -> bool:
        """The members' rule of this moment."""
        return self.state.members.admits(author, seq)

    def session(self) -> Session:
        return self.session_type(self.ledger, self.admits, self.desk)

    def take(self, events: tuple[Event, ...]) -> bool:
        """Fold events that came in; True where they may change who is a member."""
        for event in events:
            apply(self.state, event)
        if self.state.stale:
            self.state = self.folded(self.state.members)
        return any(event.event_type in MEMBERSHIP for event in events)

    def folded(self, known: Members) -> State:
        """The whole ledger folded: twice where the first time taught who is a member."""
        return _twice(self.ledger.ordered, known.anew(self.root))

    def settled(self) -> State:
        """The state of the events that count, whatever else came before a cut-off was known."""
        admits = self.state.members.admits
        return _twice(
            lambda: (e for e in self.ledger.ordered() if admits(e.author, e.seq)),
            Members(root=self.root),
        )

    def holds(self) -> dict[str, Tip]:
        """What this peer would tell a neighbour that it holds."""
        return Holdings(self.ledger, self.admits).all()

    def write(self, now: int, fact: tuple[str, dict[str, object]] | None = None) -> bool:
        """Do what is due, or something a person might do; False where the key has forked."""
        commands = decide(self.state, self.who.author)
        wish = fact or (self._outcome(commands[0]) if commands else self._wish(now))
        kind, payload = wish
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


def _twice(events: Callable[[], Iterator[Event]], known: Members) -> State:
    state = fold_ordered(events(), members=known)
    return fold_ordered(events(), members=state.members.anew()) if state.stale else state
