"""Who starts now, who makes room, and what to tell everybody else: one pure decision.

The whole queue of one owner is looked at at once, for devices of one host share its RAM. Each
device has its own line; a job never moves to another device here (its home chose).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import final

from mesh.policy.queue import backfill, order, predict, preempt, reasons
from mesh.policy.queue.account import Account, Accounts, accounts
from mesh.policy.queue.backfill import Holder, Promise
from mesh.policy.queue.values import (
    Attempt,
    QueueDecision,
    Reason,
    Room,
    Running,
    Waiting,
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
        self._running = {one: list[Running]() for one in self._rooms}
        for each in running:
            self._running.setdefault(each.device_id, []).append(each)
        self._holders = [
            Holder(
                key=each.key,
                device_id=each.device_id,
                need=each.need,
                end_ms=backfill.end_by_p80(each.started_ms, each.p80_ms, now_ms),
            )
            for each in running
            if each.device_id in self._rooms
        ]
        self.promises: list[Promise] = []
        self._promised: set[str] = set()  # devices whose first in line has one
        self._want_ram: set[int] = set()  # hosts on which somebody waits who needs RAM
        self._crowds: dict[str, str] = {}  # who is on a device, in words
        self.started: list[Waiting] = []
        self.stopped: list[Running] = []
        self.reasons: dict[Attempt, Reason] = {}

    def consider(self, job: Waiting) -> Reason | None:
        """Start a job, or say why it waits."""
        account = self._accounts.get(job.device_id)
        shut = self._closed[job.device_id] if account else reasons.closed(None, self._now)
        if account is None or shut is not None:
            return shut
        if not job.trusted:
            return reasons.demoted(job)
        never = reasons.never_fits(job, account)
        if never is not None:
            return never
        taken = backfill.reserved(account.room, job, self._now)
        if taken is not None:
            return reasons.held_back(job, taken)
        if not account.fits(job.need):
            self._hold_back(job, account)
            return reasons.no_room(job, account, self._crowd(job.device_id))
        first = next((p for p in self._facing(account) if self._breaks(p, job, account)), None)
        if first is not None:
            self._hold_back(job, account)
            return reasons.kept_for(first)
        self._start(job, account)
        return None

    def _breaks(self, first: Promise, job: Waiting, account: Account) -> bool:
        return backfill.breaks(first, job, account, self._now)

    def _facing(self, account: Account) -> list[Promise]:
        """The promises that a start on this device could break: of its whole host."""
        return [one for one in self.promises if self._of(one).ram is account.ram]

    def _of(self, one: Promise) -> Account:
        return self._accounts[one.job.device_id]

    def _start(self, job: Waiting, account: Account) -> None:
        for first in self._facing(account):
            backfill.charge(first, job, account, self._now)
        account.take(job.need)
        end = backfill.end_by_p80(self._now, job.p80_ms, self._now)
        self._holders.append(
            Holder(key=job.key, device_id=job.device_id, need=job.need, end_ms=end)
        )
        self._crowds.pop(job.device_id, None)
        self.started.append(job)

    def _hold_back(self, job: Waiting, account: Account) -> None:
        """A job has to wait; the first of its device gets a promise."""
        if job.device_id not in self._promised:
            stopped = preempt.victims(job, account, self._running[job.device_id], self._now)
            self.stopped += stopped
            found = backfill.promise(
                job,
                self._accounts,
                self._leaving(stopped),
                self.promises,
                self._now,
                firm=not account.beside(job.need) or id(account.ram) not in self._want_ram,
            )
            if found is not None:
                self.promises.append(found)
                self._promised.add(job.device_id)
        if account.beside(job.need):
            self._want_ram.add(id(account.ram))

    def _crowd(self, device_id: str) -> str:
        """Who is on a device, in words."""
        if device_id not in self._crowds:
            self._crowds[device_id] = reasons.crowd(device_id, self._holders)
        return self._crowds[device_id]

    def _leaving(self, stopped: Sequence[Running]) -> list[Holder]:
        """Who gives back what, and when: those to be stopped do so at once."""
        gone = {one.key for one in stopped}
        return [replace(one, end_ms=self._now) if one.key in gone else one for one in self._holders]

    def lines(self) -> dict[str, predict.Line]:
        """The future of each device that is open, after what starts and stops now."""
        return {
            one: self._line(one, account)
            for one, account in self._accounts.items()
            if self._closed[one] is None
        }

    def _line(self, device_id: str, account: Account) -> predict.Line:
        stopped = {one.key for one in self.stopped}
        left = account.copy()
        for one in self._running[device_id]:
            if one.key in stopped:
                left.give(one.need)
        stay = [one for one in self._running[device_id] if one.key not in stopped]
        return predict.Line(left, stay, self._now)
