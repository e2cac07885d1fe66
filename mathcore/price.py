"""What an hour of a device costs, in integer nano-dollars.

Owned hardware: depreciation plus electricity. Rented: the hourly rate.
"""

from dataclasses import dataclass
from typing import Literal, final

from mathcore.units import HOUR_MS

RatePart = Literal["price", "power"]
RATE_PARTS: tuple[RatePart, ...] = ("price", "power")

HOURS_PER_MONTH = 730  # 8,760 hours a year over twelve months


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """How one device is paid for; `hourly_nusd` above 0 means rented at that rate."""

    price_nusd: int | None = None  # paid for it; None = nobody said, 0 = it was free
    resale_nusd: int = 0
    lifetime_months: int = 0
    tariff_nusd_per_kwh: int = 0
    watts: int | None = None  # drawn at work; None = nobody said
    hourly_nusd: int = 0
    basis: str = "estimated"
    source: str = ""


def unknown_parts(rate: Rate) -> tuple[RatePart, ...]:
    """The parts of an hour's cost that nobody stated; () where it is rented, for a rent is whole.

    With any part unknown, `cost_nusd` is a lower bound.
    """
    if rate.hourly_nusd > 0:
        return ()
    if rate.price_nusd is None:
        return ("price", "power") if rate.watts is None else ("price",)
    return ("power",) if rate.watts is None else ()


def _round(top: int, bottom: int) -> int:
    """top / bottom to the nearest integer, halves up."""
    return (2 * top + bottom) // (2 * bottom)


def _lost_nusd(rate: Rate) -> int:
    lost = (rate.price_nusd or 0) - rate.resale_nusd
    return lost if lost > 0 else 0


def depreciation_nusd(rate: Rate, duration_ms: int) -> int:
    """Straight-line wear of an owned device over `duration_ms`; 0 if no lifetime is given."""
    if rate.lifetime_months <= 0:
        return 0
    return _round(_lost_nusd(rate) * duration_ms, rate.lifetime_months * HOURS_PER_MONTH * HOUR_MS)


def energy_nusd(watts: int, duration_ms: int, tariff_nusd_per_kwh: int) -> int:
    """Electricity for a constant draw: watts x ms x tariff."""
    return _round(watts * duration_ms * tariff_nusd_per_kwh, 1000 * HOUR_MS)


def cost_nusd(rate: Rate, duration_ms: int) -> int:
    """Cost of `duration_ms`, exact and rounded half up once, at the end.

    A part nobody stated counts as nothing: see `unknown_parts`.
    """
    if rate.hourly_nusd > 0:
        return _round(rate.hourly_nusd * duration_ms, HOUR_MS)
    months = rate.lifetime_months if rate.lifetime_months > 0 else 0
    energy = (rate.watts or 0) * rate.tariff_nusd_per_kwh * duration_ms  # over 1000 * HOUR_MS
    if months == 0:
        return _round(energy, 1000 * HOUR_MS)
    hours = months * HOURS_PER_MONTH
    wear = _lost_nusd(rate) * duration_ms * 1000  # over hours * 1000 * HOUR_MS
    return _round(wear + energy * hours, hours * 1000 * HOUR_MS)


def hourly_nusd(rate: Rate) -> int:
    """What an hour costs."""
    return cost_nusd(rate, HOUR_MS)
