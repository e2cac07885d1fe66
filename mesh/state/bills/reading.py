"""Facts about money as inputs of a bill. Peers may sign anything: what makes no sense is None."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple, cast

from mathcore.units import DAY_MS
from mesh.state.bills.inputs import Band, Basis, Charge, FxRate, Input, Metered, Rate, Tariff
from mesh.state.bills.inputs import Watched as WatchedInput
from mesh.state.facts.fact import Payload, decode
from mesh.state.facts.money import (
    ChargeRecorded,
    DeviceRateSet,
    DeviceWatched,
    EnergyMetered,
    FxRateSet,
    TariffBand,
    TariffSet,
)

# Since then the offsets of zones are whole quarter-hours. From 1970 on a bill would have two
# million cells a device.
FIRST_MS: Final = 946_684_800_000  # 2000-01-01 UTC
LAST_MS: Final = 4_102_444_800_000  # 2100-01-01 UTC
MAX_AMOUNT: Final = 2**53 - 1  # an event holds no larger integer
MICRO: Final = 1000  # nano-units in a millionth
MAX_COUNT: Final = 1 << 16  # units of one device
MAX_MONTHS: Final = 1200  # of a life: a hundred years
MAX_MW: Final = 10**9  # of a unit: a megawatt
# A charge is spread over lines of all of its time: a year's bill is the longest.
MAX_CHARGE_MS: Final = 400 * DAY_MS
MAX_NAME: Final = 200  # characters of a name, an id or a key; keys have 64
MAX_BANDS: Final = 64  # of a tariff: each day its own four are 28
STEP_MIN: Final = 15
DAY_MIN: Final = 1440


class Said(NamedTuple):
    """A payload, and who said it of which device, when."""

    author: str
    device_id: str
    told_ms: int
    payload: Payload


Reader = Callable[[Said], Input | None]


def _is_name(*texts: str) -> bool:
    return all(len(one) <= MAX_NAME for one in texts)


def _is_time(from_ms: int, to_ms: int = LAST_MS) -> bool:
    return FIRST_MS <= from_ms < to_ms <= LAST_MS


def _at_most(most: int, *values: int | None) -> bool:
    return all(value is None or 0 <= value <= most for value in values)


def tariff_name(author: str, name: str) -> str:
    """Names of tariffs are each author's own: nobody changes another's."""
    return f"{author}/{name}"


def _tariff(said: Said) -> Tariff | None:
    fact = decode(TariffSet, said.payload)
    if not (0 < len(fact.name) <= MAX_NAME and _is_name(fact.zone, fact.currency)):
        return None
    if not (_is_time(fact.from_ms) and 0 < len(fact.bands) <= MAX_BANDS):
        return None
    if not all(_is_band(one) for one in fact.bands):
        return None
    bands = tuple(
        Band(weekdays=one.weekdays, from_min=one.from_min, to_min=one.to_min, price=one.price)
        for one in fact.bands
    )
    return Tariff(
        name=tariff_name(said.author, fact.name),
        from_ms=fact.from_ms,
        zone=fact.zone,
        currency=fact.currency,
        bands=bands,
        told_ms=said.told_ms,
    )


def _is_band(one: TariffBand) -> bool:
    steps = one.from_min % STEP_MIN == 0 == one.to_min % STEP_MIN
    days = 0 < len(one.weekdays) <= 7 and set(one.weekdays) <= set("0123456")
    return steps and days and one.from_min < one.to_min <= DAY_MIN and one.price <= MAX_AMOUNT


def _fx(said: Said) -> FxRate | None:
    fact = decode(FxRateSet, said.payload)
    is_sane = 0 < len(fact.currency) <= MAX_NAME and 0 < fact.nusd <= MAX_AMOUNT
    if not (is_sane and _is_time(fact.from_ms)):
        return None
    return FxRate(currency=fact.currency, from_ms=fact.from_ms, nusd=fact.nusd)


def _rate(said: Said) -> Rate | None:
    fact = decode(DeviceRateSet, said.payload)
    is_sane = (
        0 < len(said.device_id) <= MAX_NAME
        and _is_name(fact.owner, fact.currency, fact.tariff, fact.tariff_by)
        and _is_time(fact.from_ms)
        and _at_most(LAST_MS, fact.bought_ms)
        and _at_most(MAX_AMOUNT, fact.price_micro, fact.resale_micro)
        and _at_most(MAX_COUNT, fact.count)
        and _at_most(MAX_MONTHS, fact.life_months)
        and _at_most(MAX_MW, fact.tdp_mw, fact.idle_mw)
    )
    if not is_sane:
        return None
    by = fact.tariff_by or said.author
    return Rate(
        device=said.device_id,
        from_ms=fact.from_ms,
        owner=fact.owner or said.author,
        count=fact.count,
        price=None if fact.price_micro is None else fact.price_micro * MICRO,
        resale=fact.resale_micro * MICRO,
        bought_ms=fact.bought_ms,
        life_months=fact.life_months or None,
        currency=fact.currency,
        tdp_mw=fact.tdp_mw,
        idle_mw=fact.idle_mw,
        idle_basis="measured" if fact.idle_basis == "measured" else "estimated",
        tariff=tariff_name(by, fact.tariff) if fact.tariff else "",
        told_ms=said.told_ms,
    )


def rate_fact(rate: Rate, author: str) -> DeviceRateSet:
    """What an author would sign to say a rate once more: each field of the fact, as it is read."""
    by, _, tariff = rate.tariff.partition("/")
    return DeviceRateSet(
        from_ms=rate.from_ms,
        owner="" if rate.owner == author else rate.owner,
        count=rate.count,
        price_micro=None if rate.price is None else rate.price // MICRO,
        resale_micro=rate.resale // MICRO,
        currency=rate.currency,
        bought_ms=rate.bought_ms,
        life_months=rate.life_months or 0,
        tdp_mw=rate.tdp_mw,
        idle_mw=rate.idle_mw,
        idle_basis=rate.idle_basis,
        tariff=tariff,
        tariff_by="" if by == author else by,
    )


def _watched(said: Said) -> WatchedInput | None:
    fact = decode(DeviceWatched, said.payload)
    if not (0 < len(said.device_id) <= MAX_NAME and _is_time(fact.from_ms, fact.to_ms)):
        return None
    return WatchedInput(device=said.device_id, from_ms=fact.from_ms, to_ms=fact.to_ms)


def _metered(said: Said) -> Metered | None:
    fact = decode(EnergyMetered, said.payload)
    if not (0 < len(said.device_id) <= MAX_NAME and _is_time(fact.from_ms, fact.to_ms)):
        return None
    if fact.energy_mj > MAX_AMOUNT:
        return None
    return Metered(
        device=said.device_id,
        from_ms=fact.from_ms,
        to_ms=fact.to_ms,
        energy_mj=fact.energy_mj,
        told_ms=said.told_ms,
    )


def _charge(said: Said) -> Charge | None:
    fact = decode(ChargeRecorded, said.payload)
    is_sane = fact.basis in ("measured", "invoiced") and abs(fact.amount_nusd) <= MAX_AMOUNT
    names = 0 < len(said.device_id) <= MAX_NAME and _is_name(fact.component, fact.owner)
    if not (is_sane and names and _is_time(fact.from_ms, fact.to_ms)):
        return None
    if fact.to_ms - fact.from_ms > MAX_CHARGE_MS:
        return None
    return Charge(
        device=said.device_id,
        from_ms=fact.from_ms,
        to_ms=fact.to_ms,
        nusd=fact.amount_nusd,
        basis=cast("Basis", fact.basis),
        component=fact.component,
        owner=fact.owner or said.author,
        told_ms=said.told_ms,
    )


READERS: Final[dict[str, Reader]] = {
    "tariff_set": _tariff,
    "fx_rate_set": _fx,
    "device_rate_set": _rate,
    "device_watched": _watched,
    "energy_metered": _metered,
    "charge_recorded": _charge,
}
