"""Lines of an owned device: wear and power, of its jobs, of idle time, of what nobody saw."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from operator import itemgetter
from typing import NamedTuple

from mathcore.units import HOUR_MS, NUSD
from mesh.state.bills.cells import Share, Stretch, occupancy, stretches
from mesh.state.bills.given import Given, latest, merged
from mesh.state.bills.inputs import MONTH_HOURS, WHOLE, Rate, Run, Span
from mesh.state.bills.lines import IDLE, OUTSIDE, POWER, UNKNOWN, WEAR, Line, apportion
from mesh.state.bills.power import power_costs


def loss_nusd(given: Given, rate: Rate) -> int | None:
    """What one unit loses over its life: price less resale, in dollars of the day it was bought.

    None where the price, the life or that day's currency rate is unknown.
    """
    worth = given.worth(rate.currency, rate.bought_ms)
    if rate.price is None or not rate.life_months or worth is None:
        return None
    return max(0, rate.price - rate.resale) * worth // NUSD


def worn_nusd(rate: Rate, loss: int, at_ms: int) -> int:
    """Wear of all units up to an instant, rounded down; of what was worn off before, nothing.

    A month has 730 hours, a twelfth of a year. What a while costs is the difference of two of
    these, never an hour's rate times hours: so a life's wear is exactly the loss, and nothing
    after it.
    """
    begin_ms = rate.bought_ms if rate.worn_ms is None else max(rate.bought_ms, rate.worn_ms)
    end_ms = rate.bought_ms + (rate.life_months or 1) * MONTH_HOURS * HOUR_MS
    if end_ms <= begin_ms:
        return 0  # written off
    used_ms = min(max(at_ms, begin_ms), end_ms) - begin_ms
    return max(0, loss - rate.worn) * rate.count * used_ms // (end_ms - begin_ms)


class Had(NamedTuple):
    """A cell of an owned device and who has it."""

    rate: Rate
    running: tuple[Run, ...]
    shares: Mapping[Share, int]
    cell: Span


def owned_lines(given: Given, device: str, window: Span) -> Iterator[Line]:
    """Lines of a device by its rates, between two instants.

    Where the window begins and ends changes no line that lies in it, if both are edges of
    quarter-hours. A job where nobody owned the device (count 0, or before the first rate) is time
    without a price.
    """
    rates, runs = given.rates.get(device, ()), given.runs.get(device, ())
    seen = merged((one.from_ms, one.to_ms) for one in given.watched.get(device, ()))
    begins = [one.from_ms for one in rates] + [run.spans[0][0] for run in runs]
    if not begins:
        return
    inside = max(window[0], min(begins)), window[1]
    losses: dict[int, int | None] = {}  # by the begin of the rate
    for stretch in stretches(inside, _edges(given, device, seen), runs):
        rate = latest(rates, stretch.from_ms)
        if rate is None or rate.count <= 0:
            yield from outside_lines(device, rate.owner if rate else "", stretch)
            continue
        if rate.from_ms not in losses:
            losses[rate.from_ms] = loss_nusd(given, rate)
        rest = IDLE if _holds(seen, stretch.from_ms) else UNKNOWN
        shares = occupancy(rate.count, stretch.running, rest)
        for cell in stretch.cells():
            had = Had(rate, stretch.running, shares, cell)
            yield from _cell_lines(given, had, losses[rate.from_ms])


def _edges(given: Given, device: str, seen: Sequence[Span]) -> Iterator[int]:
    """Where a rate begins, and where a watch, a meter or a charge begins or ends."""
    yield from (one.from_ms for one in given.rates.get(device, ()))
    yield from (at for span in seen for at in span)
    for rows in (given.metered.get(device, ()), given.charges.get(device, ())):
        for one in rows:
            yield one.from_ms
            yield one.to_ms


def _holds(seen: Sequence[Span], at_ms: int) -> bool:
    """Whether somebody watched at an instant; spans are merged."""
    place = bisect_right(seen, at_ms, key=itemgetter(0))
    return place > 0 and at_ms < seen[place - 1][1]


def outside_lines(device: str, owner: str, stretch: Stretch) -> Iterator[Line]:
    """Jobs on a device that nobody owned or rented then. Those that have it whole share its time:
    how many units it has nobody said."""
    whole = {n: 1 for n, run in enumerate(stretch.running) if run.units >= WHOLE}
    for start, end in stretch.cells():
        shared = apportion(end - start, whole) if whole else {}
        for n, run in enumerate(stretch.running):
            ms = shared[n] if n in shared else (end - start) * run.units
            yield Line(start, device, owner, run.job, OUTSIDE, "unknown", "none", None, 0, ms, None)


def _cell_lines(given: Given, had: Had, loss: int | None) -> Iterator[Line]:
    """Wear and power of each who has the device in a cell."""
    rate, (start, end) = had.rate, had.cell
    held = apportion((end - start) * rate.count, had.shares)
    wear = None
    if loss is not None:
        whole = worn_nusd(rate, loss, end) - worn_nusd(rate, loss, start)
        wear = apportion(whole, had.shares)
    power = power_costs(given, rate, had.running, had.shares, had.cell)
    for key, ms in held.items():
        where = (start, rate.device, rate.owner, key[0])
        if wear is None:
            yield Line(*where, WEAR, "unknown", "none", None, ms, ms, None)
        else:
            yield Line(*where, WEAR, "estimated", "price", rate.told_ms, ms, 0, wear[key])
        cost = power[key]
        unknown = ms if cost.nusd is None else 0
        yield Line(*where, POWER, cost.basis, cost.source, cost.told_ms, 0, unknown, cost.nusd)
