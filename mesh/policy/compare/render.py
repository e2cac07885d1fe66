"""A comparison as JSON values: whole nano-dollars, milliseconds and tokens; unknown is null."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

from mathcore.band import Band
from mesh.policy.compare.amounts import DAYS_PER_MONTH, MILLION, Line, Spread, half_up
from mesh.policy.compare.break_even import BreakEven, Crossing, running_nusd
from mesh.policy.compare.owned import Owned
from mesh.policy.compare.rows import Row

Json = dict[str, Any]


def row_dict(row: Row, months: int | None, now_ms: int) -> Json:
    """A row; `months`: with what is paid in so many, the purchase whole."""
    return {
        "kind": row.kind,
        "name": row.name,
        "id": row.row_id,
        "provider": row.provider or None,
        **_speed(row),
        **_line(row, row.line),
        "kept": None if row.kept is None else _line(row, row.kept),
        "total_nusd": None if months is None else _total(row, months),
        "lacks": list(row.lacks),
        "owned": None if row.owned is None else _owned(row.owned),
        "offer": _offer(row, now_ms),
        "api": _api(row, now_ms),
    }


def _band(value: Spread | None) -> Json | None:
    """A cost or a time: its good end is the least."""
    if value is None:
        return None
    return {"p10": half_up(value.good), "p50": half_up(value.mid), "p90": half_up(value.bad)}


def _most(value: Spread | None) -> Json | None:
    """What can be made: its good end is the most; rounded down."""
    if value is None:
        return None
    return {"p10": int(value.bad), "p50": int(value.mid), "p90": int(value.good)}


def _rate(band: Band) -> Json:
    return {"p10": round(band.p10, 3), "p50": round(band.p50, 3), "p90": round(band.p90, 3)}


def _speed(row: Row) -> Json:
    """What runs there, how fast, and whether it makes the amount."""
    placed = row.placement
    return {
        "engine": None if placed is None else placed.engine,
        "quant": None if placed is None else placed.quant,
        "fit": None if placed is None else placed.fit,
        "tokens_per_s": None if placed is None else _rate(placed.tokens_per_s),
        "speed_basis": None if placed is None else placed.basis,
        "makes": row.makes,
        "at_most_tokens": _most(row.at_most),
        "made_tokens": half_up(row.made.mid),
        "busy_ms": _band(row.busy_ms),
        "start_ms": _band(row.start_ms),
    }


def _line(row: Row, line: Line) -> Json:
    """A day, split in what is fixed and what its use adds, a month and a million tokens.

    Amounts that hold a part nobody said are null; but idle power alone makes them lower bounds,
    as unknown power makes those that hold wear, too: `lacks` says so."""
    made = row.made
    day = line.at(made)
    shown = {
        "day_nusd": _band(day),
        "fixed_nusd": _band(line.fixed),
        "use_nusd": _band(day.with_(line.fixed, lambda a, b: a - b)),
        "month_nusd": _band(day.map(lambda one: one * DAYS_PER_MONTH)),
        "million_nusd": _band(day.with_(made, lambda cost, n: cost * MILLION / n)),
    }
    lacks = set(row.lacks)
    if "price" in lacks:
        shown |= dict.fromkeys(("day_nusd", "fixed_nusd", "month_nusd", "million_nusd"))
    if lacks & {"watts", "tariff"}:
        shown["use_nusd"] = None
    return shown


def _total(row: Row, months: int) -> Json | None:
    """What is paid in so many months: a device's price at once, no wear; None where that is not
    known."""
    days = DAYS_PER_MONTH * months
    if row.owned is None:
        return _band(row.day_nusd.map(lambda one: one * days))
    price = row.owned.price_nusd
    if price is None:
        return None
    return _band(running_nusd(row).map(lambda one: one * days + price))


def _owned(owned: Owned) -> Json:
    """What its costs are made from."""
    return {
        "price_nusd": owned.price_nusd,
        "wear_nusd_per_day": _whole(owned.wear_nusd),
        "load_mw": owned.load_mw,
        "idle_mw": owned.idle_mw,
        "tariff_nusd_per_kwh": _whole(owned.kwh_nusd),
        "basis": "registration" if owned.told_ms is None else "rate",
    }


def _whole(value: Fraction | None) -> int | None:
    return None if value is None else half_up(value)


def _offer(row: Row, now_ms: int) -> Json | None:
    one = row.quote
    if one is None:
        return None
    return {
        "hourly_nusd": one.hourly_nusd,
        "spot": one.spot,
        "source": one.source,
        "at_ms": one.at_ms,
        "age_ms": max(0, now_ms - one.at_ms),
        "boot_basis": "assumed" if one.boot_ms is None else "learned",
        "link_basis": "told" if one.network_bps else "assumed",
    }


def _api(row: Row, now_ms: int) -> Json | None:
    price = row.price
    if price is None:
        return None
    return {
        "model": price.name,
        "serves": price.model or None,
        "input_nusd_per_million": price.input_nusd_per_million,
        "cached_nusd_per_million": price.cached_nusd_per_million,
        "output_nusd_per_million": price.output_nusd_per_million,
        "written_ms": price.written_ms,
        "seen_ms": price.seen_ms,
        "age_ms": max(0, now_ms - price.seen_ms),
        "page": price.page,
        "source": price.source,
    }


def break_even_dict(found: BreakEven) -> Json:
    """When one row is cheaper than another: by tokens a day, and by months where one was bought."""
    return {
        "one": found.one.row_id,
        "one_name": found.one.name,
        "other": found.other.row_id,
        "other_name": found.other.name,
        "kept": found.kept,
        "tokens": None if found.found is None else _crossings(found.found),
        "reach": found.reach,
        "months": None if found.months is None else _months(found.months),
        "lacks": list(found.lacks),
    }


def _crossings(found: Sequence[Crossing]) -> Json:
    names = ("p10", "p50", "p90")
    return {
        name: {"side": one.side, "tokens": half_up(one.tokens)}
        for name, one in zip(names, found, strict=True)
    }


def _months(found: Sequence[Fraction | None]) -> Json:
    names = ("p10", "p50", "p90")
    return {
        name: None if one is None else round(float(one), 2)
        for name, one in zip(names, found, strict=True)
    }
