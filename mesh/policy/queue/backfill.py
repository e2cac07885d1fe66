"""EASY backfill: the first in line has a promised start, and a later job may not push it back.

The promise of a device's first in line is the earliest time at which it fits, if every running job
ends by its 80th percentile. A later job may start now if it ends (p80) before, or takes nothing
the first will need. (Lifka, "The ANL/IBM SP Scheduling System", 1995.)
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import final

from mesh.policy.queue.account import Account, Accounts, beside, fit, give, of_host, take
from mesh.policy.queue.values import ASSUMED_MS, Attempt, Part, Reservation, Room, Waiting

NEVER = 1 << 62


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """What is given back when a job ends; `end_ms` NEVER: nobody knows when."""

    key: Attempt
    parts: tuple[Part, ...]
    end_ms: int


@final
@dataclass(slots=True)
class Spare:
    """What others may have of a device beside its first in line; `jobs` below 0: any number."""

    memory: int
    jobs: int


@final
@dataclass(slots=True)
class Promise:
    """The start that the first in line can count on, and what is spare at that time, by device.

    `at_ms` NEVER: as soon as jobs end of which nobody knows how long they take. Not `firm`: there
    is somebody on its host who waits for RAM, or on a device of its gang, and comes before it.
    """

    job: Waiting
    at_ms: int
    spare: Mapping[str, Spare]
    ram: int | None
    firm: bool


def end_by_p80(started_ms: int, p80_ms: int, now_ms: int) -> int:
    """When a job should have ended; one that is late already is taken to end now."""
    return max(now_ms, started_ms + p80_ms) if p80_ms else NEVER


def promise(
    job: Waiting,
    accounts: Accounts,
    holders: Iterable[Holder],
    earlier: Iterable[Promise],
    now_ms: int,
    *,
    firm: bool,
) -> Promise | None:
    """What can be promised to a job that does not start now; a gang, when all its devices are free.

    None where what it waits for is not ours to give: foreign memory, or another's reservation.
    What was promised to others on its host is taken from now on, until they should be over.
    """
    host = accounts[job.device_id].ram
    trial, coming, parts = of_host(accounts, host), [*holders], job.parts
    for first in earlier:
        if accounts[first.job.device_id].ram is host:
            take(trial, first.job.parts)
            coming.append(after(first))
    at = now_ms if fit(trial, parts) else None
    for one in sorted(coming, key=lambda holder: holder.end_ms):
        if at is not None:
            break
        give(trial, one.parts)
        if fit(trial, parts):
            at = one.end_ms
    if at is None or any(reserved(trial[one.device_id].room, job, at) for one in parts):
        return None
    take(trial, parts)
    return Promise(job, at, _spare(trial, parts), trial[job.device_id].ram.free, firm)


def after(first: Promise) -> Holder:
    """When the first in line gives back what it will have taken."""
    job = first.job
    ends = first.at_ms + job.p80_ms if job.p80_ms and first.at_ms != NEVER else NEVER
    return Holder(key=job.key, parts=job.parts, end_ms=ends)


def _spare(trial: Accounts, parts: Iterable[Part]) -> dict[str, Spare]:
    found = ((one.device_id, trial[one.device_id]) for one in parts)
    return {key: Spare(memory=one.free, jobs=_beside(one)) for key, one in found}


def _beside(trial: Account) -> int:
    """How many more may run beside those in a device; below 0: any number."""
    if trial.exclusive:
        return 0
    return trial.room.max_jobs - trial.jobs if trial.room.max_jobs else -1


def ends_before(first: Promise, job: Waiting, now_ms: int) -> bool:
    """Whether a job that starts now is over (p80) when the first in line should start."""
    return bool(job.p80_ms) and first.at_ms != NEVER and now_ms + job.p80_ms <= first.at_ms


def breaks(first: Promise, job: Waiting, accounts: Accounts, now_ms: int) -> bool:
    """Whether a job that starts now would push back the first in line.

    The first may stand on other devices of the same host: then RAM is all they share.
    """
    if ends_before(first, job, now_ms):
        return False
    ram = beside(accounts, job.parts)
    if ram > 0 and first.ram is not None and ram > first.ram:
        return True
    return any(
        one.need.exclusive or spare.jobs == 0 or size > spare.memory
        for one, spare, size in _shared(first, job, accounts)
    )


def charge(first: Promise, job: Waiting, accounts: Accounts, now_ms: int) -> None:
    """Count a start that breaks nothing: what it still takes when the first starts is not spare."""
    if ends_before(first, job, now_ms):
        return
    if first.ram is not None:
        first.ram -= beside(accounts, job.parts)
    for _, spare, size in _shared(first, job, accounts):
        spare.memory -= size
        spare.jobs -= spare.jobs > 0


def _shared(first: Promise, job: Waiting, accounts: Accounts) -> Iterator[tuple[Part, Spare, int]]:
    """On each device that both want: what the job takes, what is spare, and the job's bytes."""
    for one in job.parts:
        spare = first.spare.get(one.device_id)
        if spare is not None:
            yield one, spare, accounts[one.device_id].card(one.need)


def reserved(room: Room, job: Waiting, start_ms: int) -> Reservation | None:
    """The reservation of somebody else that a job started then would run into."""
    for one in room.reservations:
        ends_ms = start_ms + (job.p80_ms or ASSUMED_MS)
        if one.by != job.by and one.from_ms < ends_ms and start_ms < one.until_ms:
            return one
    return None


def after_reservations(room: Room, job: Waiting, start_ms: int) -> int:
    """The earliest start from `start_ms` on that runs into nobody's reservation."""
    for _ in room.reservations:  # each can push it back once
        found = reserved(room, job, start_ms)
        if found is None:
            break
        start_ms = found.until_ms
    return start_ms
