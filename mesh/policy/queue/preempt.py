"""Which running jobs to stop for the first in line: as little work lost as will do."""

from collections.abc import Sequence

from mesh.policy.queue.account import Account
from mesh.policy.queue.order import class_of
from mesh.policy.queue.values import Running, Waiting


def may_stop(one: Running, job: Waiting, now_ms: int) -> bool:
    """Only work said to be preemptible, that ran its minimum, and only for a higher class.

    By the priorities that were asked for: what rose by waiting stops nobody.
    """
    return (
        one.preemptible
        and one.device_id == job.device_id
        and now_ms - one.started_ms >= one.min_runtime_ms
        and class_of(job.priority) < class_of(one.priority)
    )


def loss(one: Running, now_ms: int) -> tuple[int, int, str, int]:
    """What stopping a job throws away: card-milliseconds; of equals the lower priority goes."""
    ran = max(0, now_ms - one.started_ms) * max(1, one.need.cards)
    return ran, one.priority, one.job_id, one.attempt


def victims(
    job: Waiting, account: Account, running: Sequence[Running], now_ms: int
) -> list[Running]:
    """Whom to stop so that the job fits; nobody where that would not be enough."""
    trial, stopped = account.copy(), list[Running]()
    for one in sorted(running, key=lambda each: loss(each, now_ms)):
        if trial.fits(job.need):
            break
        if may_stop(one, job, now_ms):
            trial.give(one.need)
            stopped.append(one)
    if not trial.fits(job.need):
        return []
    for one in reversed(stopped[:]):  # the dearest first: those that came before may do
        trial.take(one.need)
        if trial.fits(job.need):
            stopped.remove(one)
        else:
            trial.give(one.need)
    return stopped
