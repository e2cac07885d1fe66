"""What a person should look at though nothing failed: money that goes every day alike, and machines
that are paid for and do nothing. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from mesh.state.rentals.rental import Rental
from mesh.state.rentals.terms import DAY_MS, HOUR_MS, READY, RUNNING

# Three whole days that differ by less than this had no false alarm in the bills that people posted;
# a machine left on by mistake looks just so.
FLAT_DAYS: Final = 3
FLAT_PERCENT: Final = 5
# Below this a day is no matter: a disk that was kept on purpose.
FLAT_LEAST_NUSD: Final = 1_000_000_000
# A machine that nobody returns by itself (`--idle 0`), without a job for so long.
IDLE_MS: Final = HOUR_MS


def flat_days(rentals: Iterable[Rental], now_ms: int) -> tuple[int, ...]:
    """What each of the last whole UTC days cost, newest first, where they are alike; else ()."""
    every = list(rentals)
    today = now_ms - now_ms % DAY_MS
    days = [_day(every, today - back * DAY_MS) for back in range(1, FLAT_DAYS + 1)]
    return tuple(days) if is_flat(days) else ()


def is_flat(days: Sequence[int]) -> bool:
    """Whether all cost something worth a look, and the same within FLAT_PERCENT."""
    if min(days) < FLAT_LEAST_NUSD:
        return False
    return (max(days) - min(days)) * 100 <= FLAT_PERCENT * min(days)


def is_idle(one: Rental, idle_ms: int | None) -> bool:
    """Whether a machine that is up stands idle; `idle_ms` is for how long nothing ran there, None
    where nobody knows."""
    return one.state in (READY, RUNNING) and idle_ms is not None and idle_ms >= IDLE_MS


def _day(rentals: list[Rental], begin_ms: int) -> int:
    return sum(one.cost_nusd(begin_ms + DAY_MS, begin_ms) for one in rentals)
