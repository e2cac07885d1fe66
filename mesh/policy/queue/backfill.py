"""EASY backfill: the first in line has a promised start, and a later job may not push it back.

The promise of a device's first in line is the earliest time at which it fits, if every running job
ends by its 80th percentile. A later job may start now if it ends (p80) before, or takes nothing
the first will need. (Lifka, "The ANL/IBM SP Scheduling System", 1995.)
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import final

from mesh.policy.queue.account import Account, Accounts
from mesh.policy.queue.need import Need
from mesh.policy.queue.values import ASSUMED_MS, Attempt, Reservation, Room, Waiting

NEVER = 1 << 62


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """What is given back when a job ends; `end_ms` NEVER: nobody knows when."""

    key: Attempt
    device_id: str
    need: Need
    end_ms: int


@final
@dataclass(slots=True)
class Promise:
    """The start that a device's first in line can count on, and what is spare at that time.

    `at_ms` NEVER: as soon as jobs end of which nobody knows how long they take. Not `firm`: on
    another device of its host somebody waits for RAM who comes before it.
    """

    job: Waiting
    at_ms: int
    memory: int
    ram: int | None
    jobs: int  # that may run beside it; below 0: any number
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
    """What can be promised to a job that does not start now.

    None where what it waits for is not ours to give: foreign memory, or another's reservation.
    What was promised to others on its host is taken from now on, until they should be over.
    """
    account = accounts[job.device_id]
    trial, host, coming = account.copy(), account.ram, [*holders]
    for first in earlier:
        if accounts[first.job.device_id].ram is host:
            _give_ram(trial, -accounts[first.job.device_id].beside(first.job.need))
            coming.append(after(first))
    at = now_ms if trial.fits(job.need) else None
    for one in sorted(coming, key=lambda holder: holder.end_ms):
        if at is not None:
            break
        if one.device_id == job.device_id:
            trial.give(one.need)
        elif accounts[one.device_id].ram is host:
            _give_ram(trial, accounts[one.device_id].beside(one.need))
        if trial.fits(job.need):
            at = one.end_ms
    if at is None or reserved(account.room, job, at) is not None:
        return None
    trial.take(job.need)
    return Promise(job, at, memory=trial.free, ram=trial.ram.free, jobs=_beside(trial), firm=firm)


def after(first: Promise) -> Holder:
    """When the first in line of a device gives back what it will have taken."""
    job = first.job
    ends = first.at_ms + job.p80_ms if job.p80_ms and first.at_ms != NEVER else NEVER
    return Holder(key=job.key, device_id=job.device_id, need=job.need, end_ms=ends)


def _give_ram(account: Account, size: int) -> None:
    if account.ram.free is not None:
        account.ram.free += size


def _beside(trial: Account) -> int:
    """How many more may run beside those in a device; below 0: any number."""
    if trial.exclusive:
        return 0
    return trial.room.max_jobs - trial.jobs if trial.room.max_jobs else -1


def ends_before(first: Promise, job: Waiting, now_ms: int) -> bool:
    """Whether a job that starts now is over (p80) when the first in line should start."""
    return bool(job.p80_ms) and first.at_ms != NEVER and now_ms + job.p80_ms <= first.at_ms


def breaks(first: Promise, job: Waiting, account: Account, now_ms: int) -> bool:
    """Whether a job that starts now would push back the first in line.

    The first may stand on another device of the same host: then RAM is all they share.
    """
    if ends_before(first, job, now_ms):
        return False
    ram = account.beside(job.need)
    if ram > 0 and first.ram is not None and ram > first.ram:
        return True
    if first.job.device_id != job.device_id:
        return False
    return job.need.exclusive or first.jobs == 0 or account.card(job.need) > first.memory


def charge(first: Promise, job: Waiting, account: Account, now_ms: int) -> None:
    """Count a start that breaks nothing: what it still takes when the first starts is not spare."""
    if ends_before(first, job, now_ms):
        return
    if first.ram is not None:
        first.ram -= account.beside(job.need)
    if first.job.device_id == job.device_id:
        first.memory -= account.card(job.need)
        first.jobs -= first.jobs > 0


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
