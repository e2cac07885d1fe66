"""Who comes first: by class, then slack, then age, then order of arrival.

A rank never gets worse by waiting: its class and age only rise, and slack is compared at one
instant, so that only the deadline and the length of a job are left of it.
"""

from collections.abc import Iterable, Sequence

from mesh.policy.queue.values import Waiting

# critical, high, normal, low, scavenger: the least priority of each.
CLASSES = (100, 75, 50, 25, 0)
AGING_MS = 60_000  # one point of priority for each minute, up to the next class and not beyond
NO_DEADLINE = 1 << 62
# How often others may pass a job before it stands first in line. One at a time on a device: a
# backlog of old jobs takes one start in six from more important ones and no more.
MAX_SKIPS = 5

Rank = tuple[int, int, int, int, int, str, int]


def class_of(priority: int) -> int:
    """0 for critical to 4 for scavenger."""
    for number, least in enumerate(CLASSES):
        if priority >= least:
            return number
    return len(CLASSES) - 1


def aged(job: Waiting, now_ms: int) -> int:
    """Its priority with a point for each minute it waited; the next class is as far as it gets."""
    priority = min(100, max(0, job.priority))
    ceiling = CLASSES[max(0, class_of(priority) - 1)]
    return max(priority, min(ceiling, priority + max(0, now_ms - job.accepted_ms) // AGING_MS))


def rank(job: Waiting, now_ms: int) -> Rank:
    """Sorts before the rank of whatever should start later; no two jobs share one."""
    priority = aged(job, now_ms)
    slack = NO_DEADLINE if job.deadline_ms is None else job.deadline_ms - now_ms - job.p80_ms
    return (class_of(priority), slack, -priority, *arrival(job))


def in_line(waiting: Iterable[Waiting], now_ms: int) -> list[Waiting]:
    """Every job in the order in which it may start; on each device the longest passed over first.

    Of each device at most one job leaves its place: the oldest of those passed MAX_SKIPS times.
    """
    by_rank = sorted(waiting, key=lambda job: rank(job, now_ms))
    passed = {job.key for job in passed_over(by_rank)}
    return [
        *(job for job in by_rank if job.key in passed),
        *(job for job in by_rank if job.key not in passed),
    ]


def passed_over(waiting: Sequence[Waiting]) -> list[Waiting]:
    """The one job of each device that others passed too often; a gang is it on all its devices."""
    found, taken = list[Waiting](), set[str]()
    for job in sorted((job for job in waiting if job.skips >= MAX_SKIPS), key=arrival):
        devices = {one.device_id for one in job.parts}
        if not devices & taken:
            found.append(job)
            taken |= devices
    return found


def arrival(job: Waiting) -> tuple[int, int, str, int]:
    """The order in which jobs were accepted. After a clock went back, many are of one moment."""
    return job.accepted_ms, job.arrived, job.job_id, job.attempt


def new_skips(waiting: Sequence[Waiting], started: Sequence[Waiting]) -> dict[tuple[str, int], int]:
    """The changed counts of those that still wait: one more for each younger job that started.

    Where an older job that was passed too often got its turn, the others' counts begin anew.
    """
    by_device: dict[str, list[Waiting]] = {}
    for job in started:
        for part in job.parts:
            by_device.setdefault(part.device_id, []).append(job)
    gone = {job.key for job in started}
    counts: dict[tuple[str, int], int] = {}
    for job in waiting:
        if job.key in gone or by_device.keys().isdisjoint(one.device_id for one in job.parts):
            continue
        beside = {one.key: one for part in job.parts for one in by_device.get(part.device_id, ())}
        younger = sum(arrival(one) > arrival(job) for one in beside.values())
        turned = len(beside) > younger and any(
            one.skips >= MAX_SKIPS and arrival(one) < arrival(job) for one in beside.values()
        )
        count = younger + (0 if turned else job.skips)
        if count != job.skips:
            counts[job.key] = count
    return counts
