"""What a device of the fleet costs its owner, as far as anybody said: by its registration, or by
the rate that its owner set later."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Final, Literal, final

from mathcore.price import HOURS_PER_MONTH
from mathcore.price import Rate as Registered
from mathcore.units import DAY_MS, HOUR_MS, NUSD
from mesh.state.bills.given import Given, latest
from mesh.state.bills.in_force import InForce
from mesh.state.bills.inputs import Rate, Tariff
from mesh.state.bills.owned import loss_nusd
from mesh.state.state import State

# What nobody said: the price or the lifetime, what it draws at work, what a kWh costs, what it
# draws while it waits.
Lack = Literal["price", "watts", "tariff", "idle watts"]
MW_PER_KW: Final = 1_000_000
WEEK_MIN: Final = 7 * 1440


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Owned:
    """Of the whole device, None where nobody said."""

    price_nusd: int | None
    wear_nusd: Fraction | None  # a day
    load_mw: int | None
    idle_mw: int | None
    kwh_nusd: Fraction | None
    told_ms: int | None = None  # of a rate that was set; None = by its registration

    @property
    def lacks(self) -> tuple[Lack, ...]:
        """What is not known."""
        known: tuple[tuple[Lack, object], ...] = (
            ("price", self.wear_nusd),
            ("watts", self.load_mw),
            ("tariff", self.kwh_nusd),
            ("idle watts", self.idle_mw),
        )
        return tuple(name for name, value in known if value is None)

    def power_nusd(self, mw: int | None) -> Fraction:
        """An hour at so many milliwatts; nothing where it is not known, which `lacks` says."""
        if mw is None or self.kwh_nusd is None:
            return Fraction(0)
        return mw * self.kwh_nusd / MW_PER_KW


def by_registration(rate: Registered) -> Owned:
    """What a registration says. A tariff of 0 was never said, as a price or a draw of 0 was not;
    what it draws while it waits has no place there."""
    wear = None
    if rate.price_nusd is not None and rate.lifetime_months > 0:
        wear = _wear(max(0, rate.price_nusd - rate.resale_nusd), rate.lifetime_months)
    return Owned(
        price_nusd=rate.price_nusd,
        wear_nusd=wear,
        load_mw=None if rate.watts is None else rate.watts * 1000,
        idle_mw=None,
        kwh_nusd=Fraction(rate.tariff_nusd_per_kwh) if rate.tariff_nusd_per_kwh > 0 else None,
    )


def _wear(loss_nusd: int, months: int) -> Fraction:
    """A day's share of what is lost over so many months."""
    return Fraction(loss_nusd * DAY_MS, months * HOURS_PER_MONTH * HOUR_MS)


def rates_set(state: State, now_ms: int) -> dict[str, Owned]:
    """By device id, of those whose owner set a rate that holds now."""
    now, found = InForce(state, now_ms), {}
    for device in now.devices():
        said = now.said(device)
        if said is not None and said[1].count > 0:
            found[device] = by_rate(*said, now_ms)
    return found


def by_rate(given: Given, rate: Rate, now_ms: int) -> Owned:
    """What a rate says of all its units together."""
    worth = given.worth(rate.currency, rate.bought_ms)
    price = None if rate.price is None or worth is None else rate.price * rate.count * worth // NUSD
    tariff = latest(given.tariffs.get(rate.tariff, ()), now_ms)
    return Owned(
        price_nusd=price,
        wear_nusd=_wear_now(given, rate, now_ms),
        load_mw=None if rate.tdp_mw is None else rate.tdp_mw * rate.count,
        idle_mw=None if rate.idle_mw is None else rate.idle_mw * rate.count,
        kwh_nusd=None if tariff is None else mean_kwh_nusd(given, tariff, now_ms),
        told_ms=rate.told_ms,
    )


def _wear_now(given: Given, rate: Rate, now_ms: int) -> Fraction | None:
    """A day's wear; none any more once it is written off."""
    loss = loss_nusd(given, rate)
    if loss is None or not rate.life_months:
        return None
    ends_ms = rate.bought_ms + rate.life_months * HOURS_PER_MONTH * HOUR_MS
    return Fraction(0) if now_ms >= ends_ms else _wear(loss * rate.count, rate.life_months)


def mean_kwh_nusd(given: Given, tariff: Tariff, now_ms: int) -> Fraction | None:
    """The mean over the minutes of a week, of each the first band that holds; None where one has
    no band, or where nobody knows what the currency is worth."""
    worth = given.worth(tariff.currency, now_ms)
    prices = _by_minute(tariff)
    if worth is None or len(prices) < WEEK_MIN:
        return None
    return Fraction(sum(prices.values()) * worth, WEEK_MIN * NUSD)


def _by_minute(tariff: Tariff) -> Mapping[tuple[int, int], int]:
    """The price of each (weekday, minute) that a band covers."""
    found: dict[tuple[int, int], int] = {}
    for band in reversed(tariff.bands):  # the first that holds counts: it is written last
        minutes: Iterable[int] = range(band.from_min, band.to_min)
        for day in band.weekdays:
            found |= dict.fromkeys(((int(day), minute) for minute in minutes), band.price)
    return found
