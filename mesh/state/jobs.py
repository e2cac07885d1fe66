"""Each job's life, folded from its events; the legal moves stand in one table."""

from dataclasses import dataclass, field, replace

from mesh.ledger.event import Event, order_key
from mesh.state.facts.fact import Payload, decode
from mesh.state.facts.job import JobDispatched, JobEnded, JobSubmitted
from mesh.state.facts.plan import PlanFact

Key = tuple[int, int, str, int, str]  # what order_key gives; no two events share one

PENDING, STARTING, RUNNING, CANCELLING = "pending", "starting", "running", "cancelling"
SUCCEEDED, FAILED, CANCELLED = "succeeded", "failed", "cancelled"
ENDED = frozenset({SUCCEEDED, FAILED, CANCELLED})

# event type -> (states it may find, state it leaves). Anything else is an echo and changes nothing:
# the first end counts, so a cost can never be booked twice.
MOVES: dict[str, tuple[frozenset[str], str]] = {
    "job_dispatched": (frozenset({PENDING}), STARTING),
    "job_started": (frozenset({STARTING, CANCELLING}), RUNNING),
    "job_cancel_requested": (frozenset({PENDING, STARTING, RUNNING}), CANCELLING),
    "job_completed": (frozenset({STARTING, RUNNING, CANCELLING}), SUCCEEDED),
    "job_failed": (frozenset({PENDING, STARTING, RUNNING, CANCELLING}), FAILED),
    "job_cancelled": (frozenset({PENDING, STARTING, RUNNING, CANCELLING}), CANCELLED),
}


@dataclass(frozen=True, slots=True, order=True)
class Step:
    """One event as a job sees it; steps sort by their key alone, for no two keys are equal."""

    key: Key
    event_type: str = field(compare=False)
    author: str = field(compare=False)
    device_id: str = field(compare=False)
    payload: Payload = field(compare=False)


def step_of(event: Event) -> Step:
    """The event without what only the ledger needs."""
    return Step(order_key(event), event.event_type, event.author, event.device_id, event.payload)


@dataclass(frozen=True, slots=True, kw_only=True)
class JobView:
    """One job as of now; `*_ms` are UTC instants (0: not yet) except `duration_ms`."""

    job_id: str
    kind: str
    home: str
    request: Payload
    submitted_ms: int
    status: str = PENDING
    owner: str = ""  # of the device it was dispatched to, where that is another peer
    device_id: str = ""
    started_by: str = ""
    ended_by: str = ""
    dispatched_ms: int = 0
    started_ms: int = 0
    ended_ms: int = 0
    plan: Payload | None = None
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
    def ended(self) -> bool:
        return self.status in ENDED


def submitted(payload: Payload, home: str, at_ms: int) -> JobView:
    """The job that a `job_submitted` event brings into the world."""
    asked = decode(JobSubmitted, payload)
    return JobView(
        job_id=asked.job_id,
        kind=asked.kind or "model",
        home=home,
        request=payload,
        submitted_ms=at_ms,
    )


def may_move(job: JobView, event_type: str, author: str) -> bool:
    """Whether this author's word counts: the job's home, its device's owner; anyone may cancel."""
    return event_type == "job_cancel_requested" or author in (job.home, job.owner)


def moved(job: JobView, step: Step, at_ms: int) -> JobView:
    """The job after one event; unchanged where the move is not legal from its state."""
    legal_from, to = MOVES[step.event_type]
    if job.status not in legal_from:
        return job
    if step.event_type == "job_started":
        status = job.status if job.status == CANCELLING else to
        return replace(job, status=status, started_ms=at_ms, started_by=step.author)
    job = replace(job, status=to)
    if step.event_type == "job_dispatched":
        placed = decode(JobDispatched, step.payload)
        return replace(
            job,
            device_id=step.device_id,
            owner=placed.owner,
            dispatched_ms=at_ms,
            plan=placed.plan,
        )
    return _ended(job, step, at_ms) if to in ENDED else job


def _ended(job: JobView, step: Step, at_ms: int) -> JobView:
    end = decode(JobEnded, step.payload)
    return replace(
        job,
        ended_ms=at_ms,
        ended_by=step.author,
        reason=end.reason,
        text=end.text,
        tokens_generated=end.tokens_generated,
        prompt_tokens=end.prompt_tokens,
        throughput_mtps=end.throughput_mtps,
        prefill_mtps=end.prefill_mtps,
        duration_ms=end.actual_duration_ms,
        cost_nusd=end.actual_cost_nusd,
        peak_memory_bytes=end.peak_memory_bytes,
        exit_code=end.exit_code,
        engine_memory=end.engine_memory,
    )
