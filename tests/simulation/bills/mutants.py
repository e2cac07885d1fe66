"""Broken variants: what went wrong with bills elsewhere, put into ours. Each must be caught.

A variant says which names of which modules it puts something else in place of.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from unittest.mock import patch
from zoneinfo import ZoneInfo

from mathcore.units import HOUR_MS, NUSD
from mesh.state.bills import bill, books, calendar, cells, charges, given, owned, power, rented
from mesh.state.bills.books import NOW, AsKnown
from mesh.state.bills.cells import Share
from mesh.state.bills.given import Given
from mesh.state.bills.inputs import MONTH_HOURS, Charge, Rate, Rental, Run, Span
from mesh.state.bills.lines import IDLE, MINIMUM, UNKNOWN, WEAR, Line

Patch = tuple[object, str, object]
OWNED, RENTED, REPLACED = owned.owned_lines, rented.rented_lines, charges.replaced
OCCUPANCY, WORN, PAID = cells.occupancy, owned.worn_nusd, rented.paid
SANE, WORTH, HOLDS = given._sane, Given.worth, AsKnown.holds


def winter(at_ms: int, zone: ZoneInfo) -> datetime:
    """The clock of January all the year: no summer time."""
    offset = zone.utcoffset(datetime(2026, 1, 1))
    assert offset is not None
    return datetime.fromtimestamp(at_ms // 900_000 * 900, UTC).astimezone(timezone(offset))


def winter_day(at_ms: int, zone: ZoneInfo) -> str:
    return winter(at_ms, zone).strftime("%Y-%m-%d")


def day_of_24_hours(at_ms: int, zone: ZoneInfo) -> str:
    """24 hours after the midnight before: wrong at a change of clocks."""
    wall = datetime.fromtimestamp(at_ms // 1000, zone)
    back = wall.astimezone(UTC) - timedelta(hours=24)
    return (back.astimezone(zone).date() + timedelta(days=1)).isoformat()


def float_worn(rate: Rate, loss: int, at_ms: int) -> int:
    life = (rate.life_months or 1) * MONTH_HOURS * HOUR_MS
    used = min(max(at_ms - rate.bought_ms, 0), life)
    return int(loss / 1e9 * rate.count * used / life * 1e9)


def hourly_worn(rate: Rate, loss: int, at_ms: int) -> int:
    """An hour's rate, rounded, times hours."""
    hourly = loss // ((rate.life_months or 1) * MONTH_HOURS)
    life = (rate.life_months or 1) * MONTH_HOURS * HOUR_MS
    return hourly * rate.count * min(max(at_ms - rate.bought_ms, 0), life) // HOUR_MS


def one_units_worn(rate: Rate, loss: int, at_ms: int) -> int:
    """The price of one unit taken for that of all."""
    return WORN(replace(rate, count=1), loss, at_ms)


def worn_for_ever(rate: Rate, loss: int, at_ms: int) -> int:
    """Wear goes on after the end of its life."""
    life = (rate.life_months or 1) * MONTH_HOURS * HOUR_MS
    return loss * rate.count * max(at_ms - rate.bought_ms, 0) // life


def each_alone(whole: int, weights: Mapping[Any, int]) -> dict[Any, int]:
    """Each part rounded by itself."""
    below = sum(weights.values()) or 1
    return {key: (2 * whole * one + below) // (2 * below) for key, one in weights.items()}


def cents_for_dollars(self: Given, currency: str, at_ms: int) -> int | None:
    return 100 * NUSD if currency == "USD" else WORTH(self, currency, at_ms)


def par(self: Given, currency: str, at_ms: int) -> int:
    return NUSD


def unknown_as_0(told: Given, device: str, window: Span) -> Iterator[Line]:
    for one in OWNED(told, device, window):
        free = one._replace(nusd=0, basis="estimated", unknown_ms=0)
        yield free if one.nusd is None else one


def idle_by_difference(told: Given, device: str, window: Span) -> list[Line]:
    """Idle is what the units at the hour's end cost in the hour, less what jobs used: below 0 when
    their number drops."""
    every = list(OWNED(told, device, window))
    hours: dict[int, list[Line]] = defaultdict(list)
    for one in every:
        if one.component == WEAR and one.nusd is not None:
            hours[one.at_ms // HOUR_MS].append(one)
    kept = [one for one in every if one.component != WEAR or one.part != IDLE]
    for hour, rows in hours.items():
        idle = [one for one in rows if one.part == IDLE]
        rate = given.latest(told.rates[device], (hour + 1) * HOUR_MS - 1)
        loss = owned.loss_nusd(told, rate) if rate else None
        if rate is None or loss is None or not idle:
            kept += idle
            continue
        whole = WORN(rate, loss, rows[-1].at_ms) - WORN(rate, loss, rows[0].at_ms)
        used = sum(one.nusd or 0 for one in rows if one.part != IDLE)
        kept.append(idle[0]._replace(nusd=whole - used, unit_ms=sum(one.unit_ms for one in idle)))
    return kept


def memory_everywhere(count: int, running: Sequence[Run], rest: str) -> dict[Share, int]:
    """Memory splits several units too: a job can pay more than alone."""
    if sum(run.units for run in running) > count > 0 and all(r.reserved_bytes for r in running):
        return {(run.job, n): run.reserved_bytes or 0 for n, run in enumerate(running)}
    return OCCUPANCY(count, running, rest)


def unwatched_is_idle(count: int, running: Sequence[Run], rest: str) -> dict[Share, int]:
    return OCCUPANCY(count, running, IDLE if rest == UNKNOWN else rest)


def pauses_paid(one: Any) -> Any:
    kept = SANE(one)
    if isinstance(kept, Run):
        return replace(kept, spans=((kept.spans[0][0], kept.spans[-1][1]),))
    return kept


def as_they_came(self: books.Books, believed: books.Believed, known: AsKnown = NOW) -> list[Any]:
    """Of two words on one time the one that came last counts, not the one said last."""
    every = [
        getattr(word, shelf.name)
        for word in self.words.values()
        for shelf in books.SHELVES.values()
    ]
    return [value for rows in every for _, value in books._corrected(rows, known)]


def at_once(self: AsKnown, key: Any) -> bool:
    """A correction counts as said when what it corrects was."""
    return self.by_ms is None or HOLDS(self, (self.by_ms, 0, key[2], 1, ""))


def added(those: Sequence[Line], told: Sequence[Charge]) -> Any:
    """An invoice beside what was reckoned, not in its place."""
    return [*those, *(charges._other(one)._replace(nusd=one.nusd) for one in told)], []


def weaker_over_stronger(those: Sequence[Line], told: Sequence[Charge]) -> Any:
    """A meter takes an invoice's place."""
    first, kept = REPLACED(those, [one for one in told if one.basis == "invoiced"])
    open_ = [one._replace(basis="estimated") if one.nusd is not None else one for one in first]
    last, more = REPLACED(open_, [one for one in told if one.basis != "invoiced"])
    return last, kept + more


def unknown_paid_0(those: Sequence[Line], told: Sequence[Charge]) -> Any:
    """What is unknown becomes 0 once an invoice comes."""
    if not told:
        return REPLACED(those, told)
    free = [
        one._replace(nusd=0, basis="estimated", unknown_ms=0) if one.nusd is None else one
        for one in those
    ]
    return REPLACED(free, told)


def unit_and_machine_swapped(rental: Rental, now_ms: int) -> rented.Paid:
    return PAID(replace(rental, per_unit=not rental.per_unit), now_ms)


def months_swapped(rental: Rental, now_ms: int) -> rented.Paid:
    """720 for 730 hours and the other way round."""
    return PAID(replace(rental, month_hours=1450 - rental.month_hours), now_ms)


def boot_is_nobodys(rental: Rental, now_ms: int) -> rented.Paid:
    """Boot, tail, minimum and disk are idle, not the job's it was rented for."""
    return PAID(replace(rental, for_job=""), now_ms)


def first_price_only(rental: Rental, now_ms: int) -> rented.Paid:
    """A price that is read again changes nothing."""
    return PAID(replace(rental, prices=rental.prices[:1]), now_ms)


def disk_to_the_end(rental: Rental, now_ms: int) -> rented.Paid:
    """The disk costs nothing after the machine."""
    return PAID(replace(rental, gone_ms=None), now_ms)


def no_minimum(*asked: Any) -> Iterator[Line]:
    return (one for one in RENTED(*asked) if one.component != MINIMUM)


def to_the_latest(at_ms: int) -> int:
    """A new currency rate counts at once, in the middle of a cell."""
    return at_ms


def whole_meter(run: Run, at_ms: int) -> int:
    """A job's energy is spread over pauses too."""
    return max(0, at_ms - run.spans[0][0])


EVERYWHERE: tuple[object, ...] = (owned, power, rented, charges)
MUTANTS: dict[str, list[Patch]] = {
    "month_of_720_hours": [(owned, "MONTH_HOURS", 720)],
    "month_of_744_hours": [(owned, "MONTH_HOURS", 744)],
    "month_taken_for_an_hour": [(owned, "MONTH_HOURS", 1)],
    "disk_months_swapped": [(rented, "paid", months_swapped)],
    "units_price_for_all": [(owned, "worn_nusd", one_units_worn)],
    "wear_after_its_life": [(owned, "worn_nusd", worn_for_ever)],
    "floats": [(owned, "worn_nusd", float_worn)],
    "rounded_hourly_rate": [(owned, "worn_nusd", hourly_worn)],
    "rent_per_unit_and_machine_swapped": [(rented, "paid", unit_and_machine_swapped)],
    "first_price_only": [(rented, "paid", first_price_only)],
    "disk_free_after_the_machine": [(rented, "paid", disk_to_the_end)],
    "boot_and_tail_are_nobodys": [(rented, "paid", boot_is_nobodys)],
    "minimum_forgotten": [(bill, "rented_lines", no_minimum)],
    "cents_for_dollars": [(Given, "worth", cents_for_dollars)],
    "every_currency_at_par": [(Given, "worth", par)],
    "days_without_summer_time": [(calendar, "day_of", winter_day)],
    "days_of_24_hours": [(calendar, "day_of", day_of_24_hours)],
    "tariffs_without_summer_time": [(power, "wall_clock", winter)],
    "new_rates_at_once": [(power, "quarter", to_the_latest)],
    "each_part_rounded_alone": [(one, "apportion", each_alone) for one in EVERYWHERE],
    "idle_by_difference": [(bill, "owned_lines", idle_by_difference)],
    "unwatched_is_idle": [(owned, "occupancy", unwatched_is_idle)],
    "unknown_as_0": [(bill, "owned_lines", unknown_as_0)],
    "unknown_paid_0_by_an_invoice": [(bill, "replaced", unknown_paid_0)],
    "memory_splits_several_units": [(owned, "occupancy", memory_everywhere)],
    "pauses_are_paid": [(given, "_sane", pauses_paid)],
    "energy_spread_over_pauses": [(power, "elapsed_ms", whole_meter)],
    "last_to_come_counts": [(books.Books, "inputs", as_they_came)],
    "corrections_rewrite_history": [(AsKnown, "holds", at_once)],
    "invoice_added": [(bill, "replaced", added)],
    "weaker_over_stronger": [(bill, "replaced", weaker_over_stronger)],
}  # fmt: skip


@contextmanager
def broken(name: str) -> Iterator[None]:
    """One variant in place, or none."""
    calendar._day.cache_clear()
    with ExitStack() as stack:
        for where, what, instead in MUTANTS[name] if name else ():
            stack.enter_context(patch.object(where, what, instead))
        yield
    calendar._day.cache_clear()
