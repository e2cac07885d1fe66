"""When a budget's owner tells people how much of it is gone, or will be."""

from __future__ import annotations

from typing import Final, NamedTuple, final

from mesh.state.budgets.budget import Budget, bounds_ms, period_at
from mesh.state.budgets.budgets import Budgets

LEVELS: Final = (50, 80, 100)  # percent of the cap, spent and held
FORECAST: Final = 0  # the level of an alarm that is about the future
# Before a tenth of a period is over its pace says nothing.
LEAST_PART: Final = 10


Told = tuple[Budget, int, int, int]  # with its period, its cap and the level


@final
class Alarm(NamedTuple):
    """Of a budget and its cap so much is used, or will be; `level` 0 = by forecast, `nusd` is that
    sum then."""

    budget: Budget
    period: int
    cap_nusd: int
    level: int
    nusd: int

    @property
    def key(self) -> Told:
        """What is told once: of another cap a level is another sum."""
        return self[:4]


def levels(cap_nusd: int, used_nusd: int) -> list[int]:
    """The levels that are reached; none of an untouched budget, also of one that is 0."""
    return [one for one in LEVELS if used_nusd > 0 and used_nusd * 100 >= cap_nusd * one]


def forecast_nusd(used_nusd: int, begin_ms: int, end_ms: int, now_ms: int) -> int | None:
    """What will be used at the pace so far; None while it is too early to say, or over."""
    past, whole = now_ms - begin_ms, end_ms - begin_ms
    if not 0 < past < whole or past * LEAST_PART < whole:
        return None
    return used_nusd * whole // past


@final
class Alarms:
    """What one process has told of its peer's own budgets: each level of a cap once a period. A new
    process tells the highest level once more."""

    def __init__(self, me: str) -> None:
        self._me = me
        self._told: set[Told] = set()

    def due(self, book: Budgets, now_ms: int) -> list[Alarm]:
        """What is to be told now, of each budget the highest level. Budgets of zones that this
        machine does not know are passed over."""
        found, current = [], set()
        for budget in [one for one in book.capped() if one.owner == self._me]:
            try:
                period = period_at(budget, now_ms)
            except ValueError:
                continue
            current.add((budget, period))
            found += self._of(book, budget, period, now_ms)
        self._told = {one for one in self._told if one[:2] in current}
        return found

    def _of(self, book: Budgets, budget: Budget, period: int, now_ms: int) -> list[Alarm]:
        cap = book.cap(budget, period)
        if cap is None or cap.lifted:
            return []
        used = sum(book.used(budget, period))
        most = cap.amount_nusd
        reached = [Alarm(budget, period, most, one, used) for one in levels(most, used)]
        bounds = bounds_ms(budget, period)
        ahead = None if bounds is None else forecast_nusd(used, *bounds, now_ms)
        if ahead is not None and used < most < ahead:
            reached.insert(0, Alarm(budget, period, most, FORECAST, ahead))
        new = [one for one in reached if one.key not in self._told]
        self._told |= {one.key for one in reached}
        return [one for one in new if one.level in (FORECAST, new[-1].level)]
