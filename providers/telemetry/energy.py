"""Joules from readings of power, by trapezoids; where there are none, from a share of the TDP.

Whole millijoules: 1 mW for 1 s. Instants are milliseconds of a steady clock.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, final

import msgspec

# Between readings farther apart nobody knows what was drawn. Idle readings are 15 s apart.
MAX_GAP_MS: Final = 20_000
# A figure is "measured" where readings cover this much of the time; what they miss is estimated.
MEASURED_PERCENT: Final = 90

MEASURED: Final = "measured"
ESTIMATED: Final = "estimated"  # from the TDP, and how busy the device was where that is known
UNKNOWN: Final = "unknown"


@final
class Point(msgspec.Struct, frozen=True, gc=False):
    """A device's power at an instant. `jobs`: attempts that ran there and share what it draws."""

    at_ms: int
    power_mw: int | None = None
    utilisation_percent: int | None = None
    jobs: int = 1


@final
class Meter:
    """Adds up one attempt's share of its device's energy as readings come; keeps two of them.

    `tdp_mw` None: nobody knows what the device draws at most, so nothing can be estimated.
    """

    __slots__ = ("_begun", "_energy", "_known_ms", "_last", "_measured_ms", "_tdp", "_total_ms")

    def __init__(self, start_ms: int, tdp_mw: int | None = None) -> None:
        self._begun = start_ms
        self._tdp = tdp_mw
        self._last: Point | None = None
        self._energy = 0  # microjoules: mW x ms
        self._measured_ms = self._known_ms = self._total_ms = 0

    def add(self, point: Point, end_ms: int | None = None) -> None:
        """The next reading, in order; `end_ms`: what comes after that does not count."""
        last, self._last = self._last, point
        end = point.at_ms if end_ms is None else min(point.at_ms, end_ms)
        start = self._begun if last is None else max(last.at_ms, self._begun)
        if start >= end:
            return
        if last is None:
            self._level(point, start, end)
        else:
            self._stretch(last, point, start, end)

    def _stretch(self, last: Point, point: Point, start: int, end: int) -> None:
        gap = point.at_ms - last.at_ms
        if last.power_mw is None or point.power_mw is None or gap > MAX_GAP_MS:
            self._estimate(start, end, last)
            return
        # Power at both ends of the stretch, on the line between the two readings, times two.
        slope = point.power_mw - last.power_mw
        twice = 2 * last.power_mw + slope * (start - last.at_ms + end - last.at_ms) / gap
        self._energy += round(twice * (end - start) / 2 / max(1, last.jobs))
        self._measured_ms += end - start
        self._known_ms += end - start
        self._total_ms += end - start

    def _estimate(self, start: int, end: int, like: Point) -> None:
        """A stretch without readings of power: the TDP, for as much of it as the device is busy."""
        self._total_ms += end - start
        if self._tdp is None:
            return
        busy = 100 if like.utilisation_percent is None else like.utilisation_percent
        self._energy += self._tdp * busy * (end - start) // 100 // max(1, like.jobs)
        self._known_ms += end - start

    def _level(self, like: Point, start: int, end: int) -> None:
        """Before the first reading and after the last: as in that one, unless it is far away."""
        if like.power_mw is not None and end - start <= MAX_GAP_MS:
            first = Point(start, like.power_mw, None, like.jobs)
            self._stretch(first, Point(end, like.power_mw), start, end)
        else:
            self._estimate(start, end, like)

    def result(self) -> tuple[int | None, str]:
        """(millijoules, basis) up to the last reading."""
        if not self._total_ms or 100 * self._known_ms < MEASURED_PERCENT * self._total_ms:
            return None, UNKNOWN
        sure = 100 * self._measured_ms >= MEASURED_PERCENT * self._total_ms
        return self._energy // 1000, MEASURED if sure else ESTIMATED

    def finish(self, end_ms: int) -> tuple[int | None, str]:
        """(millijoules, basis) of the whole; nothing may be added after it."""
        like = self._last or Point(self._begun)
        start = max(self._begun, like.at_ms)
        if start < end_ms:
            self._level(like, start, end_ms)
        return self.result()


def by_tdp(watts: int, duration_ms: int, jobs: int = 1) -> tuple[int | None, str]:
    """(millijoules, basis) of an attempt whose device nobody read: its TDP for all of the time,
    shared by the attempts there."""
    meter = Meter(0, watts * 1000 or None)
    meter.add(Point(0, jobs=jobs))
    return meter.finish(duration_ms)


def added(parts: Sequence[tuple[int | None, str]]) -> tuple[int | None, str]:
    """What several devices drew for one attempt: unknown where one is, estimated where one is."""
    known = [energy for energy, _ in parts if energy is not None]
    if not parts or len(known) < len(parts):
        return None, UNKNOWN
    sure = all(basis == MEASURED for _, basis in parts)
    return sum(known), MEASURED if sure else ESTIMATED
