"""Which running jobs to stop for the first in line: as little work lost as will do."""

from collections.abc import Sequence

from mesh.policy.queue.account import Accounts, fit, give, of_host, take
from mesh.policy.queue.order import class_of
from mesh.policy.queue.values import Running, Waiting


def may_stop(one: Running, job: Waiting, now_ms: int) -> bool:
    """Only work said to be preemptible, that ran its minimum, and only for a higher class.

    By the priorities that were asked for: what rose by waiting stops nobody.
    """
    return (
        one.preemptible
        and shares_device(one, job)
        and now_ms - one.started_ms >= one.min_runtime_ms
        and class_of(job.priority) < class_of(one.priority)
    )


def shares_device(one: Running, job: Waiting) -> bool:
    """Whether both are on one device, or a device of their gangs is the same."""
    wanted = {part.device_id for part in job.parts}
    return any(part.device_id in wanted for part in one.parts)


def loss(one: Running, now_ms: int) -> tuple[int, int, str, int]:
    """What stopping a job throws away: card-milliseconds; of equals the lower priority goes."""
    cards = sum(max(1, part.need.cards) for part in one.parts)
    ran = max(0, now_ms - one.started_ms) * cards
    return ran, one.priority, one.job_id, one.attempt


def victims(
    job: Waiting,
    accounts: Accounts,
    running: Sequence[Running],
    now_ms: int,
    gone: Sequence[Running] = (),
) -> list[Running]:
    """Whom to stop so that the job fits on all its devices; nobody where that would not be enough.

    `gone` are stopped already, for others.
    """
    trial, stopped = of_host(accounts, accounts[job.device_id].ram), list[Running]()
    for one in gone:
        give(trial, one.parts)
    for one in sorted(running, key=lambda each: loss(each, now_ms)):
        if fit(trial, job.parts):
            break
        if may_stop(one, job, now_ms):
            give(trial, one.parts)
            stopped.append(one)
    if not fit(trial, job.parts):
        return []
    for one in reversed(stopped[:]):  # the dearest first: those that came before may do
        take(trial, one.parts)
        if fit(trial, job.parts):
            stopped.remove(one)
        else:
            give(trial, one.parts)
    return stopped
