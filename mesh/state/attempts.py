"""A job from the set of what was said about it: no clock and no order of arrival decides.

The home says where it goes, the owner of that device what became of it there, anyone in the fleet
that it should end. An event that comes late, or whose author's clock is wrong, still counts where
it belongs: by what it says and who says it, never by when.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from mesh.state.facts.fact import Payload, decode, text, whole
from mesh.state.facts.job import JobDispatched, JobEnded, JobSubmitted
from mesh.state.jobs import (
    CANCELLED,
    CANCELLING,
    DISPATCHED,
    ENDS,
    FAILED,
    MAX_GANG,
    PAUSED,
    PENDING,
    QUEUED,
    RETURNED,
    RUNNING,
    SUCCEEDED,
    AttemptView,
    JobView,
    Key,
    Step,
)

# Orders those who claim one job id: its home is the smallest.
Rank = Callable[[str], tuple[object, ...]]
TAKES: Final = frozenset({"job_accepted", "job_started"})  # an owner has the attempt
OF_HOMES: Final = frozenset({"job_returned", "job_replaced"})  # what a home says of an attempt
# Failures that say nothing of the job itself: it may be tried elsewhere. Others would come again.
INTERRUPTED: Final = "interrupted"  # it gave way; of a preemptible job that is no failure
BUSY: Final = "busy"  # it never ran: another peer had its card
TRY_AGAIN: Final = frozenset({"oom", INTERRUPTED, BUSY, "infra", "lost"})


@dataclass(slots=True)
class Told:
    """A job's steps, sorted by what they are about. `homes` may speak for the job: key -> epoch.

    `first` is the number of each author's first event of it in that author's chain.
    """

    submitted: Step
    homes: dict[str, int]
    dispatches: list[Step] = field(default_factory=list)
    by_number: dict[int, list[Step]] = field(default_factory=dict)
    first: dict[str, int] = field(default_factory=dict)
    cancel_asked: bool = False


def view_of(steps: Iterable[Step], rank: Rank) -> tuple[JobView | None, Key | None]:
    """The job, and the key of its last end; None for a job nobody submitted, and for one of which
    an owner may still say something that counts."""
    told = _told(list(steps), rank)
    if told is None:
        return None, None
    tries = sorted(_tries(told), key=lambda one: one.rank)
    shown, loose = _shown(told, tries), _loose_end(told, tries)
    status = _status(told, tries, shown, loose)
    alone = loose is not None and (shown is None or shown.view.status != status)
    view = _job(told, status, shown, loose if alone else None)
    view = replace(view, attempts=tuple(one.view for one in tries))
    # What its home says of a job that has ended by then changes nothing, its place in time neither.
    last = [loose.key] if loose is not None and alone else []
    ends = [one.end.key for one in tries if one.end is not None] + last
    over = view.ended and all(one.view.settled for one in tries)
    return view, max(ends) if over and ends else None


@dataclass(slots=True)
class Try:
    """One attempt while it is put together."""

    view: AttemptView
    dispatched: Step
    end: Step | None

    @property
    def rank(self) -> tuple[int, int, str]:
        return self.view.epoch, self.view.number, self.view.by


def _shown(told: Told, tries: Sequence[Try]) -> Try | None:
    """The attempt that counts: the first that succeeded, else the last that may, else the last.

    One that made room for another, which nobody cancelled, says nothing of how the job ended.
    """
    won = [one for one in tries if one.view.status == SUCCEEDED and one.end is not None]
    if won:
        return min(won, key=lambda one: one.end.key if one.end else one.dispatched.key)
    going = [one for one in tries if one.view.open and not one.view.replaced]
    alive = [one for one in tries if one.view.alive]
    told_of = [one for one in tries if told.cancel_asked or one.view.status != CANCELLED]
    found = going or (alive if tries and tries[-1].view.ended else []) or told_of or tries
    return found[-1] if found else None


def _told(steps: Sequence[Step], rank: Rank) -> Told | None:
    claims = [step for step in steps if step.event_type == "job_submitted"]
    if not claims:
        return None
    submitted = min(claims, key=lambda step: rank(step.author))
    told = Told(submitted, _homes(submitted, steps))
    for step in steps:
        told.first[step.author] = min(step.key[3], told.first.get(step.author, step.key[3]))
        if step.event_type == "job_cancel_requested":
            told.cancel_asked = True
        elif step.event_type == "job_dispatched" and step.author in told.homes:
            told.dispatches.append(step)
        elif step.number:
            told.by_number.setdefault(step.number, []).append(step)
    return told


def _homes(submitted: Step, steps: Iterable[Step]) -> dict[str, int]:
    """Who may decide for the job, each with the epoch it took it over at; 0 where it came in."""
    homes = {submitted.author: 0}
    for step in steps:
        if step.event_type == "job_adopted" and step.admin:
            homes[step.author] = max(step.number, homes.get(step.author, 0))
    return homes


def _tries(told: Told) -> Iterator[Try]:
    for step, owner in _placed(told):
        placed = decode(JobDispatched, step.payload)
        said = told.by_number.get(step.number, ())
        theirs, ours = _words(said, owner), _words(said, step.author)
        ours |= _said_later(told, step, said)
        end = _end(theirs) or _end(ours)
        yield Try(_attempt(told, step, placed, owner, theirs, ours, end), step, end)


def _words(said: Iterable[Step], author: str) -> dict[str, Step]:
    """What one author said of an attempt, by kind."""
    return {one.event_type: one for one in said if one.author == author}


def _placed(told: Told) -> Iterator[tuple[Step, str]]:
    """The dispatches that count, each with its device's owner.

    An owner has one attempt of a number: where two homes sent it one each, it is the one whose
    device it took, else that of the home that decides now.
    """
    sent: dict[tuple[int, str], list[Step]] = {}
    for step in told.dispatches:
        owner = decode(JobDispatched, step.payload).owner or step.author
        sent.setdefault((step.number, owner), []).append(step)
    for (number, owner), steps in sent.items():
        yield (steps[0] if len(steps) == 1 else _taken(told, number, owner, steps)), owner


def _taken(told: Told, number: int, owner: str, steps: Sequence[Step]) -> Step:
    said = told.by_number.get(number, ())
    took = {one.device_id for one in said if one.author == owner and one.event_type in TAKES}

    def standing(step: Step) -> tuple[bool, int, str]:
        return step.device_id in took, told.homes[step.author], step.author

    return max(steps, key=standing)


def _said_later(told: Told, step: Step, said: Iterable[Step]) -> dict[str, Step]:
    """What who adopted the job learned of an attempt that an earlier home had placed."""
    rank = told.homes[step.author], step.author
    return {
        one.event_type: one
        for one in said
        if one.event_type in OF_HOMES and one.device_id == step.device_id
        if one.author in told.homes and (told.homes[one.author], one.author) > rank
    }


def _end(said: Mapping[str, Step]) -> Step | None:
    """The first end of one author: a cost can't be booked twice."""
    return min((said[kind] for kind in ENDS if kind in said), default=None)


def _attempt(
    told: Told,
    step: Step,
    placed: JobDispatched,
    owner: str,
    theirs: Mapping[str, Step],
    ours: Mapping[str, Step],
    end: Step | None,
) -> AttemptView:
    started = theirs.get("job_started") or ours.get("job_started")
    accepted = theirs.get("job_accepted")
    last = decode(JobEnded, end.payload) if end is not None else JobEnded()
    status = _attempt_status(theirs, ours, end, at_home=step.author == owner)
    wanted = told.cancel_asked and status == FAILED and last.reason == INTERRUPTED
    if wanted:
        status = CANCELLED  # its owner ended it at the home's word, and had not heard the cancel
    return AttemptView(
        number=step.number,
        by=step.author,
        epoch=min(placed.epoch, told.homes[step.author]),
        owner=owner,
        device_id=step.device_id,
        status=status,
        dispatched_ms=step.key[0],
        accepted_ms=accepted.key[0] if accepted else 0,
        fence=_fence(step, accepted, at_home=step.author == owner),
        started_ms=started.key[0] if started else 0,
        started_by=started.author if started else "",
        ended_ms=end.key[0] if end else 0,
        ended_by=end.author if end else "",
        replaced="job_replaced" in ours,
        expected_ms=_expected_ms(placed),
        paused_for=_paused_for(theirs),
        reason="" if wanted else last.reason,
        duration_ms=last.actual_duration_ms,
        cost_nusd=last.actual_cost_nusd,
        tokens=last.tokens_generated,
        members=_members(placed, step.device_id),
        costs_nusd=_shares(last),
    )


def _members(placed: JobDispatched, device_id: str) -> tuple[str, ...]:
    """The further devices of a dispatch; none where they are no sorted list of so many others."""
    found = placed.members
    every = {device_id, *found}
    proper = list(found) == sorted(every - {device_id}) and len(every) <= MAX_GANG
    return found if proper else ()


def _shares(end: JobEnded) -> tuple[int, ...]:
    """What each device came to, where that adds up."""
    found = end.costs_nusd[:MAX_GANG]
    return found if sum(found) == end.actual_cost_nusd and min(found, default=0) >= 0 else ()


def _fence(step: Step, accepted: Step | None, *, at_home: bool) -> int:
    """The number of the lease in the owner's chain; at home the dispatch is the lease."""
    lease = accepted or (step if at_home else None)
    return lease.key[3] if lease is not None else 0


def _expected_ms(placed: JobDispatched) -> int:
    band = (placed.plan or {}).get("duration_ms")
    return whole(band, "p50") if isinstance(band, dict) else 0


def _is_paused(theirs: Mapping[str, Step]) -> bool:
    paused, resumed = theirs.get("job_paused"), theirs.get("job_resumed")
    return paused is not None and (resumed is None or resumed < paused)


def _paused_for(theirs: Mapping[str, Step]) -> str:
    return text(theirs["job_paused"].payload, "reason") if _is_paused(theirs) else ""


def _attempt_status(
    theirs: Mapping[str, Step], ours: Mapping[str, Step], end: Step | None, *, at_home: bool
) -> str:
    if end is not None:
        return ENDS[end.event_type]
    if "job_returned" in ours and "job_accepted" not in theirs:
        return RETURNED
    if "job_started" in theirs or "job_started" in ours:
        return PAUSED if _is_paused(theirs) else RUNNING
    if "job_accepted" in theirs:
        return QUEUED
    return QUEUED if at_home else DISPATCHED


def _loose_end(told: Told, tries: Sequence[Try]) -> Step | None:
    """The home's word that the job ends without an attempt: it could not be placed, or need not."""
    placed = {one.view.number for one in tries}
    found = [
        step
        for number, said in told.by_number.items()
        if number not in placed
        for step in said
        if step.event_type in ENDS and step.event_type != "job_completed"
        if step.author in told.homes
    ]
    return min(found, default=None)


def _status(told: Told, tries: Sequence[Try], shown: Try | None, loose: Step | None) -> str:
    stopping = CANCELLING if told.cancel_asked else ""
    if shown is not None and shown.view.status == SUCCEEDED:
        return SUCCEEDED
    if shown is not None and shown.view.open and not (shown.view.replaced and shown is tries[-1]):
        return stopping or shown.view.status
    if loose is not None:
        return ENDS[loose.event_type]
    if shown is None or not shown.view.ended or (_tries_again(told, shown, tries) and not stopping):
        return stopping or PENDING
    return shown.view.status


def _tries_again(told: Told, shown: Try, tries: Sequence[Try]) -> bool:
    """Whether what went wrong is no fault of the job's, and it may be tried once more."""
    last, asked = shown.view, decode(JobSubmitted, told.submitted.payload)
    if last.status != FAILED or last.reason not in TRY_AGAIN:
        return False
    free = {BUSY, INTERRUPTED} if asked.preemptible else {BUSY}
    failed = [one for one in tries if one.view.status == FAILED and one.view.reason not in free]
    return len(failed) <= asked.retries


def _job(told: Told, status: str, shown: Try | None, loose: Step | None) -> JobView:
    asked, step = decode(JobSubmitted, told.submitted.payload), told.submitted
    home = max(told.homes, key=lambda one: (told.homes[one], one))
    view = JobView(
        job_id=asked.job_id,
        kind=asked.kind or "model",
        home=home,
        origin=step.author,
        epoch=told.homes[home],
        home_seq=told.first[home],
        request=step.payload,
        submitted_ms=step.key[0],
        status=status,
        cancel_asked=told.cancel_asked,
    )
    if shown is not None:
        view = _with_attempt(view, shown)
    end = loose or (shown.end if shown is not None and view.ended else None)
    return view if end is None else _with_end(view, end)


def _with_attempt(view: JobView, shown: Try) -> JobView:
    one, placed = shown.view, decode(JobDispatched, shown.dispatched.payload)
    return replace(
        view,
        attempt=one.number,
        owner=one.owner,
        device_id=one.device_id,
        members=one.members,
        dispatched_by=one.by,
        dispatched_ms=one.dispatched_ms,
        accepted_ms=one.accepted_ms,
        started_ms=one.started_ms,
        started_by=one.started_by,
        plan=placed.plan,
        expected=placed.expected,
    )


def _with_end(view: JobView, step: Step) -> JobView:
    end: JobEnded = decode(JobEnded, step.payload)
    wanted = view.status == CANCELLED and end.reason == INTERRUPTED  # whatever its owner thought
    memory: Payload | None = end.engine_memory
    return replace(
        view,
        ended_ms=step.key[0],
        ended_by=step.author,
        reason="" if wanted else end.reason,
        text="" if wanted else end.text,
        tokens_generated=end.tokens_generated,
        prompt_tokens=end.prompt_tokens,
        throughput_mtps=end.throughput_mtps,
        prefill_mtps=end.prefill_mtps,
        duration_ms=end.actual_duration_ms,
        cost_nusd=end.actual_cost_nusd,
        costs_nusd=_shares(end),
        peak_memory_bytes=end.peak_memory_bytes,
        exit_code=end.exit_code,
        engine_memory=memory,
    )
