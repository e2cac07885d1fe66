"""What somebody says things cost: a body of texts in, the fact to sign out.

Money is typed in units of a currency ("1600", "1600 EUR"), power in watts, days as 2025-06-01.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from decimal import Decimal, InvalidOperation
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

from msgspec.structs import replace

from mesh.api.bills.days import period_ms
from mesh.api.fields import refuse, unknown_field
from mesh.state.bills.calendar import quarter, zone_of
from mesh.state.bills.inputs import DOLLAR
from mesh.state.bills.lines import POWER, RENT, WEAR
from mesh.state.bills.reading import (
    FIRST_MS,
    MAX_AMOUNT,
    MAX_BANDS,
    MAX_COUNT,
    MAX_MONTHS,
    MAX_MW,
    MAX_NAME,
    STEP_MIN,
)
from mesh.state.facts.fact import Fact
from mesh.state.facts.money import (
    ChargeRecorded,
    Corrected,
    DeviceRateSet,
    FxRateSet,
    TariffBand,
    TariffSet,
)

HINT: Final = "fleet rates --help"
COMPONENTS: Final = (POWER, WEAR, RENT)  # of which a charge can take the place
NANO: Final = 10**9
MICRO: Final = 10**6
DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
DAY_MIN: Final = 24 * 60
_CURRENCY: Final = re.compile(r"[A-Z]{3}")
_BAND: Final = re.compile(r"(?:([a-z,-]+) )?(?:(\d\d:\d\d)-(\d\d:\d\d) )?([0-9.]+)")
BOUGHT: Final = "--bought 2025-06-01"
# What a typed field is in the fact; all others stay as they were. A tariff is whose name it is.
OF_RATE: Final[Mapping[str, tuple[str, ...]]] = {
    "price": ("price_micro",),
    "resale": ("resale_micro",),
    "bought": ("bought_ms",),
    "months": ("life_months",),
    "watts": ("tdp_mw",),
    "idle_watts": ("idle_mw", "idle_basis"),
    "tariff": ("tariff", "tariff_by"),
    "tariff_by": ("tariff_by",),
    "currency": ("currency",),
    "count": ("count",),
    "from": ("from_ms",),
    "owner": ("owner",),
}
RATE_FIELDS: Final = ("device", *OF_RATE)
TARIFF_FIELDS: Final = ("name", "zone", "currency", "from")  # and `bands`, a list
WORTH_FIELDS: Final = ("currency", "usd", "from")
CHARGE_FIELDS: Final = ("device", "period", "usd", "basis", "component")
UNDO_FIELDS: Final = ("seq", "event_type")


class Said(NamedTuple):
    """A fact to sign: its event's type and device ("" = this peer itself)."""

    event_type: str
    device: str
    fact: Fact


def parse_rate(given: Mapping[str, object], now_ms: int, zone: ZoneInfo) -> Said:
    """What an owned device costs, as typed: whoever signs it fills in what was said before."""
    text = _texts(given, RATE_FIELDS)
    device = _needed(text, "device", "which device?", "fleet devices")
    currency = _currency(text.get("currency", DOLLAR))
    from_ms = _from_ms(text, zone, now_ms)
    fact = DeviceRateSet(
        from_ms=from_ms,
        owner=text.get("owner", ""),
        count=_whole("count", text.get("count", "1"), 0, MAX_COUNT),
        price_micro=_micro("price", text["price"]) if "price" in text else None,
        resale_micro=_micro("resale", text["resale"]) if "resale" in text else 0,
        currency=currency,
        bought_ms=_bought_ms(text["bought"], zone, max(from_ms, now_ms)) if "bought" in text else 0,
        life_months=_whole("months", text.get("months", "60"), 1, MAX_MONTHS),
        tdp_mw=_milliwatts("watts", text["watts"]) if "watts" in text else None,
        idle_mw=_milliwatts("idle_watts", text["idle_watts"]) if "idle_watts" in text else None,
        tariff=_name("tariff", text.get("tariff", "")),
        tariff_by=text.get("tariff_by", ""),
    )
    _demand_loss(fact)
    return Said("device_rate_set", device, fact)


def with_kept(
    fact: DeviceRateSet, kept: DeviceRateSet, body: Mapping[str, object]
) -> DeviceRateSet:
    """A rate of which `body` was typed, with the rest as it was; RequestError where the two
    together would have it cost nothing."""
    typed = {"from_ms"}.union(*(OF_RATE.get(name, ()) for name in body))
    filled = replace(kept, **{name: getattr(fact, name) for name in typed})
    _demand_loss(filled)
    if filled.price_micro and filled.bought_ms < FIRST_MS:
        refuse("bought: since when does it wear? say the day it was bought", BOUGHT)
    return filled


def _demand_loss(fact: DeviceRateSet) -> None:
    price, resale = fact.price_micro, fact.resale_micro
    if price is not None and resale > price:
        text = f"resale: {resale / MICRO:.12g} is more than the price {price / MICRO:.12g}"
        refuse(text, "another --price, or --resale 0")


def parse_tariff(given: Mapping[str, object], now_ms: int, zone: ZoneInfo) -> Said:
    """What a kWh costs: "0.32" always, or bands such as "mon-fri 06:00-22:00 0.36", the first that
    holds counts."""
    bands = given.get("bands")
    rest = {name: value for name, value in given.items() if name != "bands"}
    text = _texts(rest, TARIFF_FIELDS)
    name = _name(
        "name", _needed(text, "name", "what is it called?", "fleet rates tariff home 0.32")
    )
    called = text.get("zone", zone.key)
    where = zone_of(called)
    if where is None:
        refuse(f"zone: this machine knows no time zone {called[:40]!r}", "say Europe/Berlin")
    if not isinstance(bands, list) or not 0 < len(bands) <= MAX_BANDS:
        refuse(
            f"say one to {MAX_BANDS} prices",
            'fleet rates tariff home "mon-fri 06:00-22:00 0.36" 0.29',
        )
    parts = tuple(part for one in bands for part in _bands(one))
    if len(parts) > MAX_BANDS:
        split = "one whose hours go over midnight counts as two"
        refuse(f"{len(bands)} prices are {len(parts)} bands, for {split}", f"at most {MAX_BANDS}")
    fact = TariffSet(
        name=name,
        from_ms=_from_ms(text, where, quarter(now_ms)),
        zone=where.key,
        currency=_currency(text.get("currency", DOLLAR)),
        bands=parts,
    )
    return Said("tariff_set", "", fact)


def parse_worth(given: Mapping[str, object], now_ms: int, zone: ZoneInfo) -> Said:
    """What a currency is worth in dollars."""
    text = _texts(given, WORTH_FIELDS)
    currency = _currency(
        _needed(text, "currency", "which currency?", "fleet rates currency EUR 1.08")
    )
    if currency == DOLLAR:
        refuse("a dollar is a dollar", "say another currency, such as EUR")
    worth = _decimal(
        "usd", _needed(text, "usd", "how many dollars?", "fleet rates currency EUR 1.08")
    )
    nusd = int(worth * NANO)
    if not 0 < nusd <= MAX_AMOUNT:
        refuse(f"usd: {text['usd']!r} is no worth of a currency", "say for example 1.08")
    at_ms = _from_ms(text, zone, quarter(now_ms))
    return Said("fx_rate_set", "", FxRateSet(currency=currency, from_ms=at_ms, nusd=nusd))


def parse_charge(given: Mapping[str, object], now_ms: int, zone: ZoneInfo) -> Said:
    """What a bill says that a device cost in a day or month; below 0 it is a credit."""
    text = _texts(given, CHARGE_FIELDS)
    device = _needed(text, "device", "which device?", "fleet devices")
    period = _needed(
        text, "period", "for which day or month?", "fleet rates charge rig 2026-10 12.50"
    )
    start, end = period_ms("period", period, zone)
    if start > now_ms:
        refuse(f"period: {period} has not begun", "a bill is of a day or month that was")
    amount = _decimal("usd", _needed(text, "usd", "how many dollars?", "12.50"))
    basis = text.get("basis", "invoiced")
    if basis not in ("invoiced", "measured"):
        refuse(f"basis: {basis!r} is neither invoiced nor measured", HINT)
    if abs(amount * NANO) > MAX_AMOUNT:
        refuse(f"usd: {text['usd']} is more than any device costs", HINT)
    component = text.get("component", "")
    if component and component not in COMPONENTS:
        known = f"one of {', '.join(COMPONENTS)}; none = all but wear"
        refuse(f"component: {component[:40]!r} is no part of a bill", known)
    fact = ChargeRecorded(
        from_ms=start,
        to_ms=end,
        amount_nusd=int(amount * NANO),
        basis=basis,
        component=component,
    )
    return Said("charge_recorded", device, fact)


def parse_undo(given: Mapping[str, object], now_ms: int, zone: ZoneInfo) -> Said:
    """An earlier statement of this peer was wrong: it counts no more from now on."""
    text = _texts(given, UNDO_FIELDS)
    seq = _whole("seq", _needed(text, "seq", "which event?", "fleet rates show"), 1, 2**53 - 1)
    fact = Corrected(seq=seq, event_type=text.get("event_type", ""))
    return Said("corrected", "", fact)


Parser = Callable[[Mapping[str, object], int, ZoneInfo], Said]
PARSERS: Final[Mapping[str, Parser]] = {
    "rate": parse_rate,
    "tariff": parse_tariff,
    "currency": parse_worth,
    "charge": parse_charge,
    "undo": parse_undo,
}


def _bands(given: object) -> list[TariffBand]:
    """A typed price: one band, two where its hours go over midnight: those after it are of the day
    that follows each."""
    found = _BAND.fullmatch(str(given).strip().lower())
    if found is None:
        refuse(f"{str(given)[:40]!r} is no price of a kWh", '0.32, or "mon-fri 06:00-22:00 0.36"')
    assert found is not None
    days, price = _days(found[1] or "mon-sun"), _decimal("price", found[4]) * NANO
    if price > MAX_AMOUNT:
        refuse(f"{found[4]} a kWh is a typing error", "say for example 0.32")
    begin = _minutes(found[2]) if found[2] else 0
    end = (_minutes(found[3]) if found[3] else 0) or DAY_MIN
    spans = [(days, begin, end)]
    if begin >= end:
        spans = [(days, begin, DAY_MIN), ({(day + 1) % len(DAYS) for day in days}, 0, end)]
    return [
        TariffBand(
            weekdays="".join(map(str, sorted(on))), from_min=one, to_min=other, price=int(price)
        )
        for on, one, other in spans
        if one < other
    ]


def _days(text: str) -> set[int]:
    """Weekdays, Monday is 0: "mon-fri", "sat,sun"."""
    found: set[int] = set()
    for part in text.split(","):
        first, _, last = part.partition("-")
        if first not in DAYS or (last and last not in DAYS):
            refuse(f"{part!r} is no weekday", "mon-fri, or sat,sun")
        begin, end = DAYS.index(first), DAYS.index(last or first)
        found |= set(range(begin, end + 1)) if begin <= end else {*range(begin, 7), *range(end + 1)}
    return found


def _minutes(text: str) -> int:
    hours, minutes = int(text[:2]), int(text[3:])
    whole = hours * 60 + minutes
    if minutes > 59 or whole > DAY_MIN or whole % STEP_MIN:
        refuse(f"{text} is no quarter of an hour", "say for example 06:00-22:15")
    return whole


def _texts(given: Mapping[str, object], fields: tuple[str, ...]) -> dict[str, str]:
    for name, value in given.items():
        if name not in fields:
            unknown_field(name, fields, HINT)
        if not isinstance(value, str) or len(value) > MAX_NAME:
            refuse(f"{name} must be a text of at most {MAX_NAME} characters", HINT)
    return {name: str(value).strip() for name, value in given.items()}


def _needed(text: Mapping[str, str], name: str, what: str, hint: str) -> str:
    if not text.get(name):
        refuse(f"{name}: {what}", hint)
    return text[name]


def _name(name: str, text: str) -> str:
    if not text.isprintable() or "/" in text:
        refuse(f"{name}: {text[:40]!r} is no name", "letters, digits and blanks")
    return text


def _currency(text: str) -> str:
    if _CURRENCY.fullmatch(text.upper()) is None:
        refuse(f"currency: {text[:40]!r} is none", "three letters, such as EUR")
    return text.upper()


def _decimal(name: str, text: str) -> Decimal:
    try:
        found = Decimal(text.removeprefix("$"))
    except InvalidOperation:
        found = Decimal("NaN")
    if not found.is_finite() or abs(found) > MAX_AMOUNT:
        refuse(f"{name}: {text[:40]!r} is no amount", "say for example 12.50")
    return found


def _micro(name: str, text: str) -> int:
    value = _decimal(name, text)
    if value < 0 or value * MICRO > MAX_AMOUNT:
        refuse(f"{name}: {text[:40]!r} is below 0 or beyond any price", "say for example 1600")
    return int(value * MICRO)


def _milliwatts(name: str, text: str) -> int:
    value = _decimal(name, text.lower().removesuffix("w").strip())
    if value < 0 or value * 1000 > MAX_MW:
        refuse(f"{name}: {text[:40]!r} is below 0 or beyond any device", "say for example 450")
    return int(value * 1000)


def _whole(name: str, text: str, least: int, most: int) -> int:
    number = int(text) if text.isascii() and text.isdigit() and len(text) < 17 else -1
    if not least <= number <= most:
        refuse(f"{name}: {text[:40]!r} is not a whole number from {least} to {most}", HINT)
    return number


def _from_ms(text: Mapping[str, str], zone: ZoneInfo, now_ms: int) -> int:
    """When what is said begins to hold: on a day of the zone, else now."""
    return period_ms("from", text["from"], zone)[0] if "from" in text else now_ms


def _bought_ms(text: str, zone: ZoneInfo, latest_ms: int) -> int:
    """Since when a device wears: before `latest_ms`, or it would cost nothing until then."""
    at_ms = period_ms("bought", text, zone, "what is written off by now has --price 0")[0]
    if at_ms > latest_ms:
        refuse(f"bought: {text} has not come", f"say the day it was bought, or --from {text}, too")
    return at_ms
