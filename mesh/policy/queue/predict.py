"""When each waiting job starts and ends, and the chance that it meets its deadline.

The model. Jobs of a device start in their order, each when those before it leave it room (backfill
is not counted on). Medians are followed for the median; spreads (p90 less p50) of the jobs that a
start waits for are independent, so they add as squares. The time from now to the end is taken to
be log-normal with that p50 and p90: P = Phi(ln(time left / p50) * 1.2816 / ln(p90 / p50)). What
a job still takes that runs already is the log-normal of its p50 and p90 given that it lasted so
long. Not in it: jobs that are still to come, and memory that programs of others give back.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from heapq import heapify, heappop, heappush
from math import erf, exp, hypot, log, sqrt
from statistics import NormalDist

from mesh.policy.queue.account import Account
from mesh.policy.queue.backfill import after_reservations
from mesh.policy.queue.need import Need
from mesh.policy.queue.values import Attempt, Prediction, Running, Waiting, one_by_one

Z90 = 1.2815515655446004  # standard deviations from the median to the 90th percentile
NORMAL = NormalDist()
# Beyond this share of its distribution a running job's end is guessed: as much again as a tenth of
# what it ran.
LATE = 0.999
UNKNOWN = Prediction()
End = tuple[float, float, int, Need]  # median instant, spread, tie-breaker, what it gives back


def p_in_time(left_ms: float, p50_ms: float, p90_ms: float) -> float:
    """The chance that something with this p50 and p90 takes at most `left_ms`."""
    if left_ms <= 0:
        return 0.0
    if p50_ms <= 0 or p90_ms <= p50_ms:
        return 1.0 if left_ms >= p50_ms else 0.0
    return 0.5 * (1.0 + erf(log(left_ms / p50_ms) * Z90 / log(p90_ms / p50_ms) / sqrt(2.0)))


def remaining(p50_ms: int, p90_ms: int, ran_ms: int) -> tuple[float, float]:
    """(p50, p90) of what a job still takes that has run so long and not ended."""
    gone = p_in_time(ran_ms, p50_ms, p90_ms)
    if gone <= 0.0:
        return float(p50_ms - ran_ms), float(max(p50_ms, p90_ms) - ran_ms)
    if gone >= LATE:
        return 0.1 * ran_ms, 0.4 * ran_ms
    sigma = log(p90_ms / p50_ms) / Z90
    found = []
    for part in (0.5, 0.9):
        z = NORMAL.inv_cdf(gone + part * (1.0 - gone))
        found.append(p50_ms * exp(sigma * z) - ran_ms)
    return found[0], found[1]


def end_of(one: Running, number: int, now_ms: int) -> End | None:
    """When a running job ends; None where nobody knows how long it takes."""
    if not one.p50_ms:
        return None
    p50, p90 = remaining(one.p50_ms, one.p90_ms, max(0, now_ms - one.started_ms))
    return now_ms + p50, p90 - p50, number, one.need


class Line:
    """One device's future: who ends when, and what is free then."""

    def __init__(self, account: Account, running: Iterable[Running], now_ms: int) -> None:
        self._account = account.copy()
        ends = (end_of(one, -1 - n, now_ms) for n, one in enumerate(running))
        self._ends = [one for one in ends if one is not None]
        heapify(self._ends)
        self._now = now_ms
        self._at, self._spread = float(now_ms), 0.0  # of the last start: nobody starts before it
        self._number = 0

    def start_now(self, job: Waiting) -> Prediction:
        """A job that the decision starts; the account has it already."""
        return self._run(job, float(self._now), 0.0)

    def free_at(self, job: Waiting) -> tuple[float, float] | None:
        """(median, spread) of when those before a job leave it room here; None: nobody knows."""
        at, spread, account = self._at, self._spread, self._account
        while not account.fits(job.need):
            if not self._ends:
                return None
            end, wide, _, need = heappop(self._ends)
            account.give(need)
            if end >= at:
                at, spread = end, wide
        return self.moved(job, at, spread)

    def moved(self, job: Waiting, at: float, spread: float) -> tuple[float, float]:
        """A start put off until it runs into nobody's reservation."""
        moved = after_reservations(self._account.room, job, int(at))
        return (float(moved), 0.0) if moved > at else (at, spread)

    def start_at(self, job: Waiting, at: float, spread: float) -> Prediction:
        """A job that starts then: nobody after it starts before."""
        self._at, self._spread = at, spread
        self._account.take(job.need)
        return self._run(job, at, spread)

    def copy(self) -> Line:
        """The same, to try what is free when."""
        made = Line(self._account, (), self._now)
        made._ends, made._number = [*self._ends], self._number
        made._at, made._spread = self._at, self._spread
        return made

    def _run(self, job: Waiting, at: float, spread: float) -> Prediction:
        starts, latest = int(at), int(at + spread)
        if not job.p50_ms:
            return Prediction(start_p50_ms=starts, start_p90_ms=latest)
        end = at + job.p50_ms
        wide = hypot(spread, max(0, job.p90_ms - job.p50_ms))
        self._number += 1
        heappush(self._ends, (end, wide, self._number, job.need))
        chance = None
        if job.deadline_ms is not None:
            taken = end - self._now
            chance = p_in_time(job.deadline_ms - self._now, taken, taken + wide)
        return Prediction(
            start_p50_ms=starts,
            start_p90_ms=latest,
            end_p50_ms=int(end),
            end_p90_ms=int(end + wide),
            p_deadline=chance,
        )


def predict_all(
    lines: Mapping[str, Line], started: Sequence[Waiting], waiting: Iterable[Waiting]
) -> dict[Attempt, Prediction]:
    """Those that start now, then the others in their order; a device that is closed has no line."""
    found: dict[Attempt, Prediction] = {}
    for job in started:
        said = [lines[part.device_id].start_now(part) for part in one_by_one(job)]
        found[job.key] = said[0]
    for job in waiting:
        found[job.key] = _together(lines, job) if job.others else _start_later(lines, job)
    return found


def _start_later(lines: Mapping[str, Line], job: Waiting) -> Prediction:
    """A job that waits: when those before it leave it room."""
    line = lines.get(job.device_id)
    when = None if line is None else line.free_at(job)
    return UNKNOWN if line is None or when is None else line.start_at(job, *when)


def _together(lines: Mapping[str, Line], job: Waiting) -> Prediction:
    """A gang that waits: when the last of its devices has room for it."""
    parts = one_by_one(job)
    if any(part.device_id not in lines for part in parts):
        return UNKNOWN
    mine = [(lines[part.device_id], part) for part in parts]
    if any(line.copy().free_at(part) is None for line, part in mine):
        return UNKNOWN  # and its other devices are not kept for it
    times = [line.free_at(part) for line, part in mine]
    known = [one for one in times if one is not None]
    if len(known) < len(times):
        return UNKNOWN
    at, spread = max(known)
    for _ in parts:  # what one device's reservations put off may run into another's
        for line, part in mine:
            at, spread = line.moved(part, at, spread)
    return [line.start_at(part, at, spread) for line, part in mine][0]
