"""Who starts now, who makes room, and what to tell everybody else: one pure decision.

The whole queue of one owner is looked at at once, for devices of one host share its RAM. Each
device has its own line; a job never moves to another device here (its home chose). A gang stands
in the lines of all its devices, starts on all at once, and until then holds none: so nobody waits
for a gang that waits for somebody.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import final

from mesh.policy.queue import backfill, order, predict, preempt, reasons
from mesh.policy.queue.account import Account, Accounts, accounts, beside, fit, on_one_host, take
from mesh.policy.queue.backfill import Holder, Promise
from mesh.policy.queue.values import (
    Attempt,
    QueueDecision,
    Reason,
    Room,
    Running,
    Waiting,
    one_by_one,
)


def decide_queue(
    waiting: Sequence[Waiting],
    running: Sequence[Running],
    rooms: Sequence[Room],
    now_ms: int,
) -> QueueDecision:
    """Deterministic, whatever order the three come in; a started attempt fits for sure.

    A job to be stopped stays in `running` until it is over, and the answer stays the same.
    """
    running = sorted(running, key=lambda one: one.key)
    found = _Decision(running, sorted(rooms, key=lambda room: room.device_id), now_ms)
    line = order.in_line(waiting, now_ms)
    for job in line:
        reason = found.consider(job)
        if reason is not None:
            found.reasons[job.key] = reason
    later = [job for job in line if job.key in found.reasons]
    return QueueDecision(
        start=tuple(job.key for job in found.started),
        preempt=tuple(one.key for one in found.stopped),
        reasons=found.reasons,
        predicted=predict.predict_all(found.lines(), found.started, later),
        skips=order.new_skips(waiting, found.started),
        reserved={
            one.job.key: one.at_ms
            for one in found.promises
            if one.firm and one.at_ms < backfill.NEVER
        },
    )


@final
class _Decision:
    """What was decided so far, while the line is walked once."""

    def __init__(self, running: Sequence[Running], rooms: Sequence[Room], now_ms: int) -> None:
        self._now = now_ms
        self._rooms = {room.device_id: room for room in rooms}
        self._accounts: Accounts = accounts(rooms, running)
        self._closed = {one: reasons.closed(room, now_ms) for one, room in self._rooms.items()}
        self._running = running
        self._holders = [
            Holder(
                key=each.key,
                parts=each.parts,
                end_ms=backfill.end_by_p80(each.started_ms, each.p80_ms, now_ms),
            )
            for each in running
        ]
        self.promises: list[Promise] = []
        self._promised: set[str] = set()  # devices whose first in line has one
        self._behind: set[str] = set()  # devices on which somebody waits who has none
        self._want_ram: set[int] = set()  # hosts on which somebody waits who needs RAM
        self._crowds: dict[str, str] = {}  # who is on a device, in words
        self.started: list[Waiting] = []
        self.stopped: list[Running] = []
        self.reasons: dict[Attempt, Reason] = {}

    def consider(self, job: Waiting) -> Reason | None:
        """Start a job, or say why it waits."""
        shut = self._shut(job)
        if shut is not None:
            return shut
        if not job.trusted:
            return reasons.demoted(job)
        if not fit(self._accounts, job.parts):
            self._hold_back(job)
            return self._no_room(job)
        facing = self._facing(job)
        first = next((p for p in facing if self._breaks(p, job)), None)
        if first is not None:
            self._hold_back(job)
            return reasons.kept_for(first)
        self._start(job, facing)
        return None

    def _shut(self, job: Waiting) -> Reason | None:
        """Why its devices do not take it now, though they were free: of the first that does not."""
        parts = one_by_one(job)
        for part in parts:
            if part.device_id not in self._accounts:
                return reasons.closed(None, self._now)
            closed = self._closed[part.device_id]
            if closed is not None:
                return closed
        if job.others and not on_one_host(self._accounts, job.parts):
            return reasons.scattered(job)
        return next((no for part in parts if (no := self._unable(part)) is not None), None)

    def _unable(self, part: Waiting) -> Reason | None:
        """Why an open device does not take this job: it never can, or somebody reserved it."""
        account = self._accounts[part.device_id]
        never = reasons.never_fits(part, account)
        if never is not None:
            return never
        taken = backfill.reserved(account.room, part, self._now)
        return None if taken is None else reasons.held_back(part, taken)

    def _no_room(self, job: Waiting) -> Reason:
        """The reason of the first of its devices that is short."""
        for part in one_by_one(job):
            account, name = self._accounts[part.device_id], part.device_id
            if not account.fits(part.need):
                said = reasons.no_room(part, account, self._crowd(name))
                return reasons.of_gang(job, name, said)
        ram = self._accounts[job.device_id].ram
        return reasons.no_ram(beside(self._accounts, job.parts), ram.free)

    def _breaks(self, first: Promise, job: Waiting) -> bool:
        return backfill.breaks(first, job, self._accounts, self._now)

    def _facing(self, job: Waiting) -> list[Promise]:
        """The promises that its start could break: of its whole host."""
        ram = self._accounts[job.device_id].ram
        return [one for one in self.promises if self._accounts[one.job.device_id].ram is ram]

    def _start(self, job: Waiting, facing: Sequence[Promise]) -> None:
        for first in facing:
            backfill.charge(first, job, self._accounts, self._now)
        take(self._accounts, job.parts)
        end = backfill.end_by_p80(self._now, job.p80_ms, self._now)
        self._holders.append(Holder(key=job.key, parts=job.parts, end_ms=end))
        for part in job.parts:
            self._crowds.pop(part.device_id, None)
        self.started.append(job)

    def _hold_back(self, job: Waiting) -> None:
        """A job has to wait; the first of a device gets a promise."""
        devices = {part.device_id for part in job.parts}
        ram, host = beside(self._accounts, job.parts), id(self._accounts[job.device_id].ram)
        if devices <= self._promised:
            self._behind |= devices
        else:
            if not devices & self._promised:
                self._make_room(job)
            found = backfill.promise(
                job,
                self._accounts,
                self._leaving(),
                self.promises,
                self._now,
                firm=not devices & self._behind and (not ram or host not in self._want_ram),
            )
            if found is not None:
                self.promises.append(found)
                self._promised |= devices
        if ram:
            self._want_ram.add(host)

    def _make_room(self, job: Waiting) -> None:
        """Stop others for a job that is first in line on all its devices."""
        gone = [one for one in self.stopped if preempt.shares_device(one, job)]
        near = [one for one in self._running if preempt.shares_device(one, job)]
        stays = [one for one in near if one not in gone]
        self.stopped += preempt.victims(job, self._accounts, stays, self._now, gone)

    def _crowd(self, device_id: str) -> str:
        """Who is on a device, in words."""
        if device_id not in self._crowds:
            self._crowds[device_id] = reasons.crowd(device_id, self._holders)
        return self._crowds[device_id]

    def _leaving(self) -> list[Holder]:
        """Who gives back what, and when: those to be stopped do so at once."""
        gone = {one.key for one in self.stopped}
        return [replace(one, end_ms=self._now) if one.key in gone else one for one in self._holders]

    def lines(self) -> dict[str, predict.Line]:
        """The future of each device that is open, after what starts and stops now."""
        on: dict[str, list[Running]] = {one: [] for one in self._accounts}
        for each in self._running:
            for part in one_by_one(each):
                on.setdefault(part.device_id, []).append(part)
        return {
            one: self._line(on[one], account)
            for one, account in self._accounts.items()
            if self._closed[one] is None
        }

    def _line(self, running: Sequence[Running], account: Account) -> predict.Line:
        stopped = {one.key for one in self.stopped}
        left = account.copy()
        for one in running:
            if one.key in stopped:
                left.give(one.need)
        stay = [one for one in running if one.key not in stopped]
        return predict.Line(left, stay, self._now)
