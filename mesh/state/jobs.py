"""Each job's life as its events tell it: what a job and its attempts look like now."""

from dataclasses import dataclass, field

from mathcore.units import parse_duration_ms
from mesh.ledger.event import Event, order_key
from mesh.state.facts.fact import Payload, decode, whole
from mesh.state.facts.job import Expected, JobSubmitted
from mesh.state.facts.plan import PlanFact

Key = tuple[int, int, str, int, str]  # what order_key gives; no two events share one

PENDING, DISPATCHED, QUEUED = "pending", "dispatched", "queued"
RUNNING, PAUSED, CANCELLING = "running", "paused", "cancelling"
SUCCEEDED, FAILED, CANCELLED = "succeeded", "failed", "cancelled"
ENDED = frozenset({SUCCEEDED, FAILED, CANCELLED})
SERVER = "server"  # the kind of job that runs until it is cancelled
MAX_WITHIN_MS = 1 << 42  # a deadline later than in a hundred years binds nobody
RETURNED = "returned"  # of an attempt its owner did not take

ENDS = {"job_completed": SUCCEEDED, "job_failed": FAILED, "job_cancelled": CANCELLED}
# Kinds whose events name an attempt; of one kind, author and attempt the first counts.
OF_ATTEMPTS = frozenset({"job_dispatched", "job_returned", "job_replaced", "job_accepted"}) | {
    "job_started", "job_paused", "job_resumed", *ENDS,
}  # fmt: skip
# Of these the last counts: work may be paused and go on many times.
REPEATED = frozenset({"job_paused", "job_resumed"})
TYPES = OF_ATTEMPTS | {"job_submitted", "job_cancel_requested", "job_adopted"}
# A job that sixteen owners gave back, or that sixteen people adopted, has another trouble; what is
# kept of a job stays small whatever its peers sign.
MAX_ATTEMPTS = 16
# Devices of one attempt: hosts have eight cards, few sixteen, and llama.cpp takes no more.
MAX_GANG = 16


@dataclass(frozen=True, slots=True, order=True)
class Step:
    """One event as a job sees it; steps sort by their key alone, for no two keys are equal.

    `number` is the attempt it is about, of an adoption its epoch; 0 where it names neither.
    """

    key: Key
    event_type: str = field(compare=False)
    author: str = field(compare=False)
    device_id: str = field(compare=False)
    payload: Payload = field(compare=False)
    number: int = field(compare=False, default=0)
    admin: bool = field(compare=False, default=False)  # its author may adopt the jobs of others


def step_of(event: Event, *, admin: bool = False) -> Step:
    """The event without what only the ledger needs."""
    number = 0
    if event.event_type in OF_ATTEMPTS:
        number = whole(event.payload, "attempt") or 1
    elif event.event_type == "job_adopted":
        number = whole(event.payload, "epoch")
    return Step(
        order_key(event),
        event.event_type,
        event.author,
        event.device_id,
        event.payload,
        number,
        admin,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptView:
    """One attempt: who placed it where, and how it went. `*_ms` are UTC instants, 0: not yet.

    `by` placed it, under `epoch`; `owner` has the device. `status` is as of a job, or RETURNED: its
    owner does not have it. `replaced`: its owner was not heard of for so long that another attempt
    may begin. `expected_ms` is how long it should take, by its plan; 0 = unknown. `members` are the
    devices it was sent to beside `device_id`, as its home said: whether they count is the owner's.
    """

    number: int
    by: str
    epoch: int
    owner: str
    device_id: str
    status: str
    dispatched_ms: int
    replaced: bool = False
    expected_ms: int = 0
    paused_for: str = ""  # the code, while it is paused
    fence: int = 0  # of its lease: the number of job_accepted, at home of job_dispatched
    accepted_ms: int = 0
    started_ms: int = 0
    ended_ms: int = 0
    started_by: str = ""
    ended_by: str = ""
    reason: str = ""
    duration_ms: int = 0
    cost_nusd: int = 0
    tokens: int = 0
    members: tuple[str, ...] = ()
    costs_nusd: tuple[int, ...] = ()  # of cost_nusd, by device; () where it had one

    @property
    def devices(self) -> tuple[str, ...]:
        """All it was sent to."""
        return self.device_id, *self.members

    @property
    def ended(self) -> bool:
        return self.status in ENDED

    @property
    def open(self) -> bool:
        """Whether its owner may have it, or get it yet."""
        return not self.ended and self.status != RETURNED

    @property
    def alive(self) -> bool:
        """Whether its owner has it."""
        return self.open and self.status != DISPATCHED

    @property
    def settled(self) -> bool:
        """Whether nothing can come of it any more."""
        return not self.open


@dataclass(frozen=True, slots=True, kw_only=True)
class JobView:
    """One job as of now; `*_ms` are UTC instants (0: not yet) except `duration_ms`.

    What is said of an attempt is said of the one that counts: the one that succeeded, else the last
    one that may still. `attempts` are all of them, in the order in which they were meant.
    """

    job_id: str
    kind: str
    home: str  # who decides for it now
    request: Payload
    submitted_ms: int
    origin: str = ""  # where it was submitted
    epoch: int = 0  # how often it was adopted
    home_seq: int = 1  # of its home's first event of it, in that peer's chain
    status: str = PENDING
    cancel_asked: bool = False
    attempt: int = 0
    owner: str = ""  # of the device it was dispatched to
    device_id: str = ""
    dispatched_by: str = ""
    started_by: str = ""
    ended_by: str = ""
    dispatched_ms: int = 0
    accepted_ms: int = 0
    started_ms: int = 0
    ended_ms: int = 0
    plan: Payload | None = None
    expected: Expected | None = None  # when it should start and end, from its dispatch on
    reason: str = ""
    text: str = ""
    tokens_generated: int = 0
    prompt_tokens: int = 0
    throughput_mtps: int = 0
    prefill_mtps: int = 0
    duration_ms: int = 0
    cost_nusd: int = 0
    peak_memory_bytes: int = 0
    exit_code: int = 0
    engine_memory: Payload | None = None
    attempts: tuple[AttemptView, ...] = ()
    members: tuple[str, ...] = ()  # devices it was dispatched to beside device_id
    costs_nusd: tuple[int, ...] = ()  # of cost_nusd, by device; () where it had one

    @property
    def devices(self) -> tuple[str, ...]:
        """All it was dispatched to; none while it is nowhere."""
        return (self.device_id, *self.members) if self.device_id else ()

    @property
    def earlier(self) -> tuple[AttemptView, ...]:
        """The attempts beside the one whose end is the job's."""
        return tuple(one for one in self.attempts if not self._ended_with(one))

    def _ended_with(self, one: AttemptView) -> bool:
        said = self.ended_by, self.ended_ms, self.duration_ms, self.cost_nusd
        shown = (one.number, one.by) == (self.attempt, self.dispatched_by)
        return shown and said == (one.ended_by, one.ended_ms, one.duration_ms, one.cost_nusd)

    @property
    def asked(self) -> JobSubmitted:
        return decode(JobSubmitted, self.request)

    @property
    def predicted(self) -> PlanFact:
        """The plan it was dispatched with; all unknown where there is none."""
        return decode(PlanFact, self.plan or {})

    @property
    def model(self) -> str:
        return self.asked.model or ""

    @property
    def command(self) -> tuple[str, ...]:
        return self.asked.command or ()

    @property
    def label(self) -> str:
        """What people call it; "" in the events of programs that signed what was typed."""
        return self.asked.label

    @property
    def batch(self) -> int:
        return self.asked.batch or 1

    @property
    def due_ms(self) -> int | None:
        """The instant by which it should have ended; None where nobody said, or in other words."""
        if not self.asked.deadline:
            return None
        try:
            within_ms = parse_duration_ms(self.asked.deadline)
        except ValueError:
            return None
        return self.submitted_ms + within_ms if within_ms <= MAX_WITHIN_MS else None

    @property
    def ended(self) -> bool:
        return self.status in ENDED
