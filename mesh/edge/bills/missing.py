"""What devices cost as far as anybody said, and what is missing where a bill says unknown."""

from __future__ import annotations

from collections.abc import Iterator
from zoneinfo import ZoneInfo

from mesh.api.bills.rates import DAYS
from mesh.state.bills.calendar import day_of, quarter, zone_of
from mesh.state.bills.given import Given, gather, latest
from mesh.state.bills.inputs import FxRate, Input, Rate, Tariff
from mesh.state.bills.power import gap
from mesh.state.bills.reading import FIRST_MS
from mesh.state.fleet import DeviceView
from mesh.state.runs.making import PaidKnown, hardware
from mesh.state.runs.reading import paid_row
from mesh.state.state import State


def rates_known(state: State) -> Given:
    """Rates, tariffs and currencies in the order in which a bill reads them: what each device's
    owner said of it, what anybody said of power and currencies, and tariffs that registered."""

    def believed(author: str, device: str) -> bool:
        return not device or author == state.owner(device)

    registrations = (each for one in state.devices.values() for each in _registered(one))
    flats = [one for one in registrations if isinstance(one, Tariff)]
    said = state.books.inputs(believed)
    return gather([*flats, *(one for one in said if isinstance(one, Rate | Tariff | FxRate))])


def registered(one: DeviceView) -> Rate:
    """What a device's last registration says of its cost."""
    return next(each for each in _registered(one) if isinstance(each, Rate))


def _registered(one: DeviceView) -> Iterator[Input]:
    row = paid_row(one.facts)
    known = PaidKnown(device=one.device_id, owner=one.owner, from_ms=one.seen_ms, row=row)
    return hardware([known])


def missing(given: Given, rate: Rate, now_ms: int, zone: ZoneInfo) -> list[str]:
    """Why a part of what a device costs now is unknown; nothing where all is known."""
    known = {
        "price": rate.price,
        "months": rate.life_months,
        "watts": rate.tdp_mw,
        "idle watts": rate.idle_mw,
    }
    found = [name for name, value in known.items() if value is None]
    if rate.price and rate.bought_ms < FIRST_MS:  # an older version took a day that is none for 0
        found.append("the day it was bought")
    elif rate.price is not None and given.worth(rate.currency, rate.bought_ms) is None:
        found.append(f"no rate of {rate.currency} on {day_of(rate.bought_ms, zone)}")
    return found + _of_tariff(given, rate, quarter(now_ms), zone)


def _of_tariff(given: Given, rate: Rate, at_ms: int, zone: ZoneInfo) -> list[str]:
    """Why nobody knows what a kWh costs, now or at some hour of a week."""
    if not rate.tariff:
        return ["tariff"]
    name, rows = rate.tariff.partition("/")[2], given.tariffs.get(rate.tariff, ())
    tariff = latest(rows, at_ms)
    if tariff is None:
        before = f" before {day_of(rows[0].from_ms, zone)}" if rows else ""
        return [f"tariff {name} is not said{before}"]
    found = []
    if given.worth(tariff.currency, at_ms) is None:
        found.append(f"no rate of {tariff.currency} on {day_of(at_ms, zone)}")
    if zone_of(tariff.zone) is None:
        found.append(f"no zone {tariff.zone} of tariff {name} on this machine")
    lacks = gap(tariff)
    if lacks:
        weekday, minute = lacks
        at = f"{DAYS[weekday]} {minute // 60:02}:{minute % 60:02}"
        found.append(f"no band of {name} holds on {at}")
    return found
