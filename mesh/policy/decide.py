"""What this peer should do next: pure, from the state alone, most urgent first.

As a job's home it places the job, claims the device and, where the job says so, looks whether the
owner is still heard of. As the owner of devices it starts, watches and stops what it accepted.
"""

from collections.abc import Iterator, Set

from mesh.policy.commands import (
    AskOwner,
    ClaimDevice,
    Command,
    EndJob,
    EndStray,
    LoseAttempt,
    PlaceJob,
    StartJob,
    StopJob,
    WatchJob,
    WithdrawClaim,
)
from mesh.policy.reconcile import is_superfluous
from mesh.state.jobs import (
    CANCELLING,
    DISPATCHED,
    PAUSED,
    PENDING,
    RUNNING,
    AttemptView,
    JobView,
)
from mesh.state.state import State

Attempt = tuple[str, int]  # job id, number


def decide(
    state: State,
    me: str,
    *,
    begun: Set[Attempt] = frozenset(),
    start: Set[Attempt] = frozenset(),
    preempt: Set[Attempt] = frozenset(),
    strays: Set[Attempt] = frozenset(),
) -> list[Command]:
    """Commands for this peer: what it owns first, then its own jobs by their rank.

    `begun` are the attempts that this machine has begun to start: after a crash they may run.
    `start` and `preempt` are what the owner's queue says of those it holds; `strays` run, and no
    lease tells of them any more.
    """
    jobs = sorted(list(state.jobs.values()), key=rank)
    owners = {one.owner for job in jobs if job.home == me for one in job.attempts if one.open}
    gone = {one for one in owners - {me} if not state.members.role(one)}
    ends = [EndStray(*key) for key in sorted(strays)]
    return [*ends, *_owned(jobs, me, begun, start, preempt), *_at_home(jobs, me, gone)]


def rank(job: JobView) -> tuple[int, int, str]:
    """Orders jobs: the urgent before others, of those who came first before who came later."""
    return -job.asked.priority, job.submitted_ms, job.job_id


def attempts_at(state: State, me: str) -> Iterator[tuple[JobView, AttemptView]]:
    """Every attempt that an owner has and that has not ended."""
    for job in list(state.jobs.values()):
        for one in job.attempts:
            if one.owner == me and one.alive:
                yield job, one


def _owned(
    jobs: list[JobView],
    me: str,
    begun: Set[Attempt],
    start: Set[Attempt],
    preempt: Set[Attempt],
) -> Iterator[Command]:
    for job in jobs:
        for one in job.attempts:
            key = (job.job_id, one.number)
            if one.owner != me or not one.alive:
                continue
            if job.cancel_asked or is_superfluous(job, one) or key in preempt:
                yield StopJob(*key)
            elif one.status in (RUNNING, PAUSED):
                yield WatchJob(*key)
            elif key in begun or key in start:
                yield StartJob(*key)


def _at_home(jobs: list[JobView], me: str, gone: Set[str]) -> Iterator[Command]:
    """`gone`: owners that were put out of the fleet."""
    for job in jobs:
        if job.home != me:
            continue
        command = None if job.ended else _lost(job, me, gone) or _next(job, me, gone)
        if command is not None:
            yield command
        yield from _left_open(job, gone)


def _lost(job: JobView, me: str, gone: Set[str]) -> Command | None:
    """An attempt of ours at an owner whose word does not count any more."""
    for one in job.attempts:
        if one.open and one.by == me and one.owner in gone and not one.replaced:
            return LoseAttempt(job.job_id, one.number)
    return None


def _left_open(job: JobView, gone: Set[str]) -> Iterator[Command]:
    """Attempts the job does not wait for, of which nobody knows whether their owner has them."""
    for one in job.attempts:
        asks = one.status == DISPATCHED and one.owner not in gone
        if asks and (job.ended or one.replaced):
            yield ClaimDevice(job.job_id, one.number)


def _next(job: JobView, me: str, gone: Set[str]) -> Command | None:
    """What a job's home does about it; None while its owner is at it."""
    out = next((one for one in job.attempts if one.status == DISPATCHED and not one.replaced), None)
    if job.status == CANCELLING:
        if out is not None:
            return WithdrawClaim(job.job_id, out.number)
        going = any(one.alive and one.owner not in gone for one in job.attempts)
        return None if going else EndJob(job.job_id)
    if out is not None:
        return ClaimDevice(job.job_id, out.number)
    if job.status == PENDING:
        return PlaceJob(job.job_id)
    if job.asked.replace_after_ms and job.owner != me:
        return AskOwner(job.job_id, job.attempt)
    return None
