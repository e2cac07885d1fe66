"""A device's time cut where anything changes, and who has it in between."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

from mesh.state.bills.calendar import QUARTER_MS, quarter
from mesh.state.bills.inputs import Run, Span

Share = tuple[str, int]  # (part, place among those that run); the rest of a device has place REST
REST = -1


class Stretch(NamedTuple):
    """A time in which nothing changes but the quarter-hour; `running`: who has the device."""

    from_ms: int
    to_ms: int
    running: tuple[Run, ...]

    def cells(self) -> Iterator[Span]:
        """It cut at quarter-hours."""
        for at in range(quarter(self.from_ms), self.to_ms, QUARTER_MS):
            yield max(self.from_ms, at), min(self.to_ms, at + QUARTER_MS)


def stretches(window: Span, edges: Iterable[int], runs: Sequence[Run]) -> Iterator[Stretch]:
    """`window` cut at `edges` and wherever a run begins, pauses, goes on or ends."""
    start, end = window
    if end <= start:
        return
    spans = sorted((*span, place) for place, run in enumerate(runs) for span in run.spans)
    changes = {*edges, *(at for begun, over, _ in spans for at in (begun, over))}
    cuts = sorted({start, end, *(at for at in changes if start < at < end)})
    until: dict[int, int] = {}  # of those that run, by their place
    turn = 0
    for here, after in pairwise(cuts):
        while turn < len(spans) and spans[turn][0] <= here:
            until[spans[turn][2]] = spans[turn][1]
            turn += 1
        until = {place: over for place, over in until.items() if over > here}
        yield Stretch(here, after, tuple(runs[place] for place in sorted(until)))


def elapsed_ms(run: Run, at_ms: int) -> int:
    """How long a run had run at an instant, pauses left out."""
    return sum(min(at_ms, over) - begun for begun, over in run.spans if begun < at_ms)


def occupancy(count: int, running: Sequence[Run], rest: str) -> dict[Share, int]:
    """Who has how much of `count` units, as weights; of none, nobody.

    While units suffice each job has its own, and the rest is `rest`'s. Else all is in use: jobs on
    one unit share it by the memory reserved for them (by units where one of it is unknown), which
    is what they keep from others and is known beforehand; several units by units alone, else a job
    could pay more than without the others. So nobody ever does.
    """
    if count <= 0:
        return {}
    asked = sum(run.units for run in running)
    if count == 1 and asked > 1 and all(run.reserved_bytes for run in running):
        weights = [run.reserved_bytes or 0 for run in running]
    else:
        weights = [run.units for run in running]
    shares = {(run.job, n): weights[n] for n, run in enumerate(running)}
    if asked < count:
        shares[rest, REST] = count - asked
    return shares
