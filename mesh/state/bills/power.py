"""What electricity costs in a cell, by the first rule that applies to each who has the device.

Energy is counted in microjoules: a milliwatt for a millisecond is one. Amounts are differences of a
running total, as wear is, so that no cell's rounding adds up.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple, final

from mathcore.units import NUSD
from mesh.state.bills.calendar import quarter, wall_clock, zone_of
from mesh.state.bills.cells import REST, Share, elapsed_ms
from mesh.state.bills.given import Given, latest
from mesh.state.bills.inputs import Basis, Metered, Rate, Run, Span, Tariff
from mesh.state.bills.lines import IDLE, Source, apportion

DAY_MIN: Final = 1440
UJ_PER_KWH: Final = 3_600_000_000_000
# A price is nano-units of a currency times nano-dollars of one unit.
BELOW: Final = UJ_PER_KWH * NUSD


class Cost(NamedTuple):
    """Of the power of one part; `nusd` None: unknown."""

    basis: Basis
    source: Source
    told_ms: int | None
    nusd: int | None


NOT_KNOWN: Final = Cost("unknown", "none", None, None)


@final
@dataclass(frozen=True, slots=True)
class Draw:
    """Energy that grows with a clock: at `t` it is `uj` times `clock(t)` over `over_ms`."""

    uj: int
    over_ms: int
    clock: Callable[[int], int]
    basis: Basis
    source: Source
    told_ms: int | None

    def energy_uj(self, cell: Span) -> int:
        """Within a cell, rounded down: a weight, no amount."""
        start, end = cell
        return self.uj * (end - start) // self.over_ms

    def cost(self, cell: Span, price: int) -> int:
        """Nano-dollars of a cell."""
        below = self.over_ms * BELOW
        start, end = (self.uj * self.clock(at) * price // below for at in cell)
        return end - start


class Priced(NamedTuple):
    """What a kWh costs, times BELOW / UJ_PER_KWH, and when its tariff was told."""

    price: int
    told_ms: int | None


def kwh_price(given: Given, rate: Rate, at_ms: int) -> Priced | None:
    """What a kWh costs in the quarter-hour of an instant.

    A new tariff or currency rate counts from the next quarter-hour on. None: no tariff, no band or
    no rate of its currency is known; never a currency at par.
    """
    at_ms = quarter(at_ms)
    tariff = latest(given.tariffs.get(rate.tariff, ()), at_ms)
    price = band_price(tariff, at_ms) if tariff else None
    worth = given.worth(tariff.currency, at_ms) if tariff else None
    if tariff is None or price is None or worth is None:
        return None
    return Priced(price * worth, tariff.told_ms)


def band_price(tariff: Tariff, at_ms: int) -> int | None:
    """A tariff's price by its own wall clock: a repeated hour has one band both times."""
    zone = zone_of(tariff.zone)
    if zone is None:
        return None
    wall = wall_clock(at_ms, zone)
    minute, weekday = wall.hour * 60 + wall.minute, str(wall.weekday())
    for band in tariff.bands:
        if weekday in band.weekdays and band.from_min <= minute < band.to_min:
            return band.price
    return None


def gap(tariff: Tariff) -> tuple[int, int] | None:
    """The first (weekday, minute) of a week in which no band holds; None where one always does."""
    for weekday in range(7):
        held = [one for one in tariff.bands if str(weekday) in one.weekdays]
        at = 0
        while at < DAY_MIN:
            ends = [one.to_min for one in held if one.from_min <= at < one.to_min]
            if not ends:
                return weekday, at
            at = max(ends)
    return None


def power_costs(
    given: Given,
    rate: Rate,
    running: tuple[Run, ...],
    shares: Mapping[Share, int],
    cell: Span,
) -> dict[Share, Cost]:
    """The power of a cell for each who has the device.

    The device's meter, split by what each drew (by its shares where that isn't known of one); a
    job's own measured energy, spread evenly over its running time; the nominal watts of its share,
    estimated; where nobody runs the idle watts; where nobody watched: unknown.
    """
    priced = kwh_price(given, rate, cell[0])
    if priced is None:
        return dict.fromkeys(shares, NOT_KNOWN)
    draws = {key: _draw(rate, running, shares, key) for key in shares}
    meter = latest(given.metered.get(rate.device, ()), cell[0])
    if meter is not None and cell[1] <= meter.to_ms:
        return _metered(meter, shares, draws, cell, priced)
    return {
        key: NOT_KNOWN if draw is None else _drawn(draw, cell, priced)
        for key, draw in draws.items()
    }


def _drawn(draw: Draw, cell: Span, priced: Priced) -> Cost:
    told = _older(draw.told_ms, priced.told_ms)
    return Cost(draw.basis, draw.source, told, draw.cost(cell, priced.price))


def _older(one: int | None, other: int | None) -> int | None:
    """An amount is as old as the oldest figure that it rests on."""
    if one is None or other is None:
        return other if one is None else one
    return min(one, other)


def _draw(
    rate: Rate, running: tuple[Run, ...], shares: Mapping[Share, int], key: Share
) -> Draw | None:
    """What one draws; None: nobody can say."""
    part, place = key
    if place == REST:
        if part != IDLE or rate.idle_mw is None:
            return None
        uj = rate.idle_mw * shares[key]
        return Draw(uj, 1, _wall, rate.idle_basis, "idle_watts", rate.told_ms)
    run = running[place]
    if run.energy_mj is not None:
        whole_ms = elapsed_ms(run, run.spans[-1][1])
        clock = _clock_of(run)
        return Draw(run.energy_mj * 1000, whole_ms, clock, "measured", "job", run.told_ms)
    if rate.tdp_mw is None:
        return None
    uj = rate.tdp_mw * rate.count * shares[key]
    return Draw(uj, sum(shares.values()), _wall, "estimated", "tdp", rate.told_ms)


def _wall(at_ms: int) -> int:
    return at_ms


def _clock_of(run: Run) -> Callable[[int], int]:
    return lambda at_ms: elapsed_ms(run, at_ms)


def _metered(
    meter: Metered,
    shares: Mapping[Share, int],
    draws: Mapping[Share, Draw | None],
    cell: Span,
    priced: Priced,
) -> dict[Share, Cost]:
    """What a meter shows in a cell, spread evenly over its time. How it is split is measured only
    where one has all of it, or each job's own energy is."""
    below = (meter.to_ms - meter.from_ms) * BELOW
    start, end = (
        meter.energy_mj * 1000 * (at - meter.from_ms) * priced.price // below for at in cell
    )
    known = {key: draw.energy_uj(cell) for key, draw in draws.items() if draw is not None}
    parts = apportion(end - start, known if len(known) == len(shares) else shares)
    is_sure = len(shares) == 1 or all(
        draw is not None and draw.basis == "measured" for draw in draws.values()
    )
    basis: Basis = "measured" if is_sure else "estimated"
    told = _older(meter.told_ms, priced.told_ms)
    return {key: Cost(basis, "meter", told, nusd) for key, nusd in parts.items()}
