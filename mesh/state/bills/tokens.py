"""A job's cost by what it made: prompt, cached, generated; and per million tokens."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from mesh.state.bills.given import Given
from mesh.state.bills.inputs import Who
from mesh.state.bills.lines import apportion

PHASES: Final = ("prompt", "cached", "generated")
UNSPLIT: Final = "unsplit"
MILLION: Final = 1_000_000


def whose(given: Given) -> dict[str, Who]:
    """Whose each job was and what it made, over all of its runs and calls."""
    found: dict[str, Who] = {}
    for rows in (given.runs, given.calls):
        for device in sorted(rows):
            for one in rows[device]:
                known = found.get(one.job)
                found[one.job] = _both(known, one.who) if known else one.who
    return found


def _both(one: Who, other: Who) -> Who:
    """Tokens and phases of two runs of a job; unmeasured where one of them is."""
    phases = None
    if one.phases_ms is not None and other.phases_ms is not None:
        phases = _added(one.phases_ms, other.phases_ms)
    return replace(one, tokens=_added(one.tokens, other.tokens), phases_ms=phases)


def _added(one: tuple[int, int, int], other: tuple[int, int, int]) -> tuple[int, int, int]:
    return one[0] + other[0], one[1] + other[1], one[2] + other[2]


def split(nusd: int, who: Who) -> dict[str, int]:
    """A cost by measured phase, in parts that add up; all `unsplit` where none was measured."""
    if who.phases_ms is None or not any(who.phases_ms):
        return {UNSPLIT: nusd}
    parts = apportion(nusd, dict(enumerate(who.phases_ms)))
    return {PHASES[place]: part for place, part in parts.items()}


def per_million(nusd: int, tokens: int) -> int | None:
    """Nano-dollars per million tokens, rounded half up; None where there are none."""
    return (2 * nusd * MILLION + tokens) // (2 * tokens) if tokens > 0 else None
