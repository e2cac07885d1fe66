"""The same account again in fractions, with wall-clock midnights and constants of its own.

It shares no arithmetic with mesh/state/bills: what both say is right for another reason than that
both are wrong alike.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from zoneinfo import ZoneInfo

from mesh.state.bills.given import Given
from mesh.state.bills.inputs import Metered, Rate, Run

H, Q, USD = 3_600_000, 900_000, 10**9
LIFE_MONTH = Fraction(8760, 12) * H
# (local day, device, part, component); of a metered device the meter's whole is part "".
Place = tuple[str, str, str, str]


class Broken(AssertionError):
    """Something that must hold does not."""


def must(holds: bool, what: str) -> None:  # noqa: FBT001
    """Break with `what` where it does not hold."""
    if not holds:
        raise Broken(what)


class Entry:
    """Of one part: nano-dollars, time without a price, time held."""

    def __init__(self) -> None:
        self.nusd, self.unknown, self.ms = Fraction(0), Fraction(0), Fraction(0)


class Exact:
    """Owned devices, by local day, device, part and component."""

    def __init__(
        self, given: Given, runs: Mapping[str, Sequence[Run]], now: int, zone: str
    ) -> None:
        self.given, self.runs, self.now, self.zone = given, runs, now, ZoneInfo(zone)
        self.found: dict[Place, Entry] = defaultdict(Entry)
        for device in sorted(given.rates):
            self.account(device)

    def midnight(self, at: int) -> tuple[str, int]:
        """The local day of an instant and the next local midnight, by the clock on the wall."""
        day = datetime.fromtimestamp(at // 1000, UTC).astimezone(self.zone).date()
        after = day + timedelta(days=1)
        whole = datetime(after.year, after.month, after.day, tzinfo=self.zone)
        return day.isoformat(), int(whole.timestamp() * 1000)

    def price(self, name: str, at: int) -> Fraction | None:
        """Nano-dollars of a kWh."""
        tariffs = self.given.tariffs.get(name)
        if not tariffs:
            return None
        wall = datetime.fromtimestamp(at // 1000, UTC).astimezone(ZoneInfo(tariffs[0].zone))
        seconds = wall.hour * 3600 + wall.minute * 60 + wall.second
        nano = next(
            band.price
            for band in tariffs[0].bands
            if str(wall.weekday()) in band.weekdays
            and band.from_min * 60 <= seconds < band.to_min * 60
        )
        if tariffs[0].currency == "USD":
            return Fraction(nano)
        worth = [one.nusd for one in self.given.fx.get("EUR", ()) if one.from_ms <= at // Q * Q]
        return Fraction(nano) * worth[-1] / USD if worth else None

    def account(self, device: str) -> None:
        """Step through a device's time; every step lies within one day and one quarter-hour."""
        given = self.given
        rates, runs = given.rates[device], self.runs.get(device, ())
        seen, meters = given.watched.get(device, ()), given.metered.get(device, ())
        at = min([rates[0].from_ms, *(span[0] for run in runs for span in run.spans)])
        points = {self.now, *(one.from_ms for one in rates)}
        points |= {edge for run in runs for span in run.spans for edge in span}
        points |= {edge for one in seen for edge in (one.from_ms, one.to_ms)}
        points |= {edge for one in meters for edge in (one.from_ms, one.to_ms)}
        every = sorted(points)
        while at < self.now:
            day, midnight = self.midnight(at)
            end = min(midnight, at // Q * Q + Q, next(p for p in every if p > at))
            here = [one for one in rates if one.from_ms <= at]
            running = [run for run in runs if any(a <= at < b for a, b in run.spans)]
            rest = "idle" if any(a.from_ms <= at < a.to_ms for a in seen) else "unknown"
            meter = [one for one in meters if one.from_ms <= at < one.to_ms]
            if here and here[-1].count:
                self.step((day, device), (at, end), here[-1], running, rest, meter)
            else:
                for run in running:
                    entry = self.found[day, device, run.job, "outside"]
                    entry.unknown += (end - at) * run.units
            at = end

    def step(
        self,
        where: tuple[str, str],
        span: tuple[int, int],
        rate: Rate,
        running: Sequence[Run],
        rest: str,
        meter: Sequence[Metered],
    ) -> None:
        """One step in which nothing changes."""
        (a, b), ms = span, span[1] - span[0]
        weight = weights(rate, running, rest)
        whole, kwh = sum(weight.values()), self.price(rate.tariff, a)
        if meter and kwh is not None:
            joules = Fraction(meter[0].energy_mj, 1000) * ms / (meter[0].to_ms - meter[0].from_ms)
            self.found[*where, "", "metered"].nusd += joules * kwh / H
        for part, units in weight.items():
            share = units / whole
            run = next((one for one in running if one.job == part), None)
            alone = min(Fraction(1), Fraction(run.units, rate.count)) if run else Fraction(1)
            must(share <= alone, f"{part} pays more than alone")
            held = share * ms * rate.count
            wear, power = self.found[*where, part, "wear"], self.found[*where, part, "power"]
            wear.ms += held
            if rate.price is None or not rate.life_months:
                wear.unknown += held
            else:
                life = rate.life_months * LIFE_MONTH
                new = max(
                    Fraction(0), min(Fraction(b), rate.bought_ms + life) - max(a, rate.bought_ms)
                )
                lost = max(0, rate.price - rate.resale) * rate.count
                wear.nusd += lost * share * new / life
            drawn = energy(rate, run, part, units, share)
            if meter and kwh is not None:
                continue
            if drawn is None or kwh is None:
                power.unknown += held
            else:
                power.nusd += drawn * ms * kwh / H


def weights(rate: Rate, running: Sequence[Run], rest: str) -> dict[str, Fraction]:
    """Who has the device."""
    held = sum(run.units for run in running)
    by_memory = rate.count == 1 and len(running) > 1 and all(r.reserved_bytes for r in running)
    found = {
        run.job: Fraction((run.reserved_bytes or 0) if by_memory else run.units) for run in running
    }
    if held < rate.count:
        found[rest] = Fraction(rate.count - held)
    return found


def energy(
    rate: Rate, run: Run | None, part: str, units: Fraction, share: Fraction
) -> Fraction | None:
    """Joules a millisecond; None: nobody can say."""
    if run and run.energy_mj is not None:
        return Fraction(run.energy_mj, 1000) / sum(b - a for a, b in run.spans)
    if run and rate.tdp_mw is not None:
        return Fraction(rate.tdp_mw * rate.count, 10**6) * share
    if part == "idle" and rate.idle_mw is not None:
        return Fraction(rate.idle_mw, 10**6) * units
    return None
