"""Lines of rented machines: rent, disk, and what a provider bills beyond the time that was used."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from operator import attrgetter
from typing import NamedTuple, final

from mathcore.units import HOUR_MS
from mesh.state.bills.cells import Share, Stretch, occupancy, stretches
from mesh.state.bills.given import Given, latest
from mesh.state.bills.inputs import Price, Rental, Run, Span
from mesh.state.bills.lines import DISK, IDLE, MINIMUM, RENT, Line, Source, apportion
from mesh.state.bills.owned import outside_lines


@final
@dataclass(frozen=True, slots=True)
class Paid:
    """A rental up to now: it costs until `end_ms`, its disk until `gone_ms`.

    `before`: for each price, hourly nano-dollars times ms up to its begin. An unknown price adds 0
    here; its time is told apart.
    """

    rental: Rental
    prices: tuple[Price, ...]  # the first from the rental's begin on
    before: tuple[int, ...]
    end_ms: int
    gone_ms: int
    is_over: bool

    def rent_nusd(self, at_ms: int) -> int:
        """Rent from the begin up to an instant: rounded down once, whatever prices there were."""
        place = self._place(at_ms)
        price = self.prices[place]
        whole = self.before[place] + (price.hourly_nusd or 0) * (at_ms - price.from_ms)
        return whole * (self.rental.count if self.rental.per_unit else 1) // HOUR_MS

    def disk_nusd(self, at_ms: int) -> int:
        """What its disk cost up to an instant, rounded down."""
        one = self.rental
        month = one.disk_gb * one.disk_month_nusd
        return month * (at_ms - one.from_ms) // (one.month_hours * HOUR_MS)

    def price(self, at_ms: int) -> Price:
        """The price in force at an instant of the rental."""
        return self.prices[self._place(at_ms)]

    def source(self, price: Price) -> Source:
        """The first price is the quote."""
        return "quote" if price is self.prices[0] else "reread"

    def _place(self, at_ms: int) -> int:
        return max(0, bisect_right(self.prices, at_ms, key=attrgetter("from_ms")) - 1)


def paid(rental: Rental, now_ms: int) -> Paid:
    """A rental as it stands now: what ends later runs still."""
    start, is_over = rental.from_ms, rental.to_ms is not None and rental.to_ms <= now_ms
    end = max(start, now_ms if rental.to_ms is None else min(rental.to_ms, now_ms))
    gone = rental.gone_ms if rental.gone_ms is not None else rental.to_ms
    until = now_ms if gone is None else min(gone, now_ms)
    first = latest(rental.prices, start) or rental.prices[0]
    later = [one for one in rental.prices if one.from_ms > first.from_ms and one.from_ms > start]
    prices = (replace(first, from_ms=start), *later)
    before = [0]
    for one, after in pairwise(prices):
        before.append(before[-1] + (one.hourly_nusd or 0) * (after.from_ms - one.from_ms))
    return Paid(rental, prices, tuple(before), end, max(end, until), is_over)


def rented_lines(
    given: Given, device: str, now_ms: int, since_ms: int | None = None
) -> Iterator[Line]:
    """All lines of a device's rentals up to now, from the edge of a quarter-hour `since_ms` on,
    which changes none of them.

    Of two at once the one that began later has the jobs. A job while none runs is time without a
    price.
    """
    runs = given.runs.get(device, ())
    every = [paid(one, now_ms) for one in given.rentals.get(device, ()) if one.from_ms < now_ms]
    edges = [
        *_edges(given, device, every),
        *(at for run in runs for span in run.spans for at in span),
    ]
    if not every:
        return
    begin = min(edges) if since_ms is None else max(since_ms, min(edges))
    for stretch in stretches((begin, min(now_ms, max(edges))), edges, runs):
        at = stretch.from_ms
        on = [one for one in every if one.rental.from_ms <= at < one.end_ms]
        for one in on:
            yield from _rent_lines(one, stretch, stretch.running if one is on[-1] else ())
        if not on:
            yield from outside_lines(device, every[-1].rental.owner, stretch)
        for one in every:
            if one.rental.disk_gb and one.rental.from_ms <= at < one.gone_ms:
                yield from _disk_lines(one, stretch, stretch.running if one in on[-1:] else ())
    for one in every:
        yield from (line for line in _minimum(one) if line.at_ms >= begin)


def _edges(given: Given, device: str, every: Sequence[Paid]) -> Iterator[int]:
    for one in every:
        yield from (one.rental.from_ms, one.end_ms, one.gone_ms)
        yield from (price.from_ms for price in one.prices[1:] if price.from_ms < one.end_ms)
    for charge in given.charges.get(device, ()):
        yield from (charge.from_ms, charge.to_ms)


class _Shared(NamedTuple):
    cell: Span
    shares: dict[Share, int]


def _shared(one: Paid, stretch: Stretch, running: tuple[Run, ...]) -> Iterator[_Shared]:
    shares = occupancy(one.rental.count, running, one.rental.for_job or IDLE)
    for cell in stretch.cells():
        yield _Shared(cell, shares)


def _rent_lines(one: Paid, stretch: Stretch, running: tuple[Run, ...]) -> Iterator[Line]:
    """What each who has the machine pays of its rent."""
    rental, price = one.rental, one.price(stretch.from_ms)
    for (start, end), shares in _shared(one, stretch, running):
        held = apportion((end - start) * rental.count, shares)
        rent = apportion(one.rent_nusd(end) - one.rent_nusd(start), shares)
        for key, ms in held.items():
            where = (start, rental.device, rental.owner, key[0], RENT)
            if price.hourly_nusd is None:
                yield Line(*where, "unknown", "none", None, ms, ms, None)
            else:
                told = price.from_ms
                yield Line(*where, "estimated", one.source(price), told, ms, 0, rent[key])


def _disk_lines(one: Paid, stretch: Stretch, running: tuple[Run, ...]) -> Iterator[Line]:
    """What its disk costs, also after the machine until the disk is gone."""
    rental = one.rental
    for (start, end), shares in _shared(one, stretch, running):
        whole = one.disk_nusd(end) - one.disk_nusd(start)
        for key, nusd in apportion(whole, shares).items():
            where = (start, rental.device, rental.owner, key[0], DISK)
            yield Line(*where, "estimated", "quote", one.prices[0].from_ms, 0, 0, nusd)


def _minimum(one: Paid) -> Iterator[Line]:
    """What is billed beyond the time it ran: whole steps, and a least time; at its last price."""
    rental, used = one.rental, one.end_ms - one.rental.from_ms
    steps = -(-used // rental.step_ms) * rental.step_ms
    billed = max(steps, rental.minimum_ms)
    if not one.is_over or billed <= used:
        return
    price = one.price(one.end_ms)
    part, at = rental.for_job or IDLE, max(rental.from_ms, one.end_ms - 1)
    where = (at, rental.device, rental.owner, part, MINIMUM)
    if price.hourly_nusd is None:
        yield Line(*where, "unknown", "none", None, 0, (billed - used) * rental.count, None)
        return
    # The time is not the part's: nobody had the machine in it.
    nusd = one.rent_nusd(rental.from_ms + billed) - one.rent_nusd(one.end_ms)
    yield Line(*where, "estimated", one.source(price), price.from_ms, 0, 0, nusd)
