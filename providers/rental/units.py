"""What providers write as money and sizes, as exact integers. A function names the unit it reads.

A price of theirs is a JSON number or a decimal text; nothing is ever multiplied as a float.
"""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal, InvalidOperation
from typing import Final

NUSD: Final = 1_000_000_000
SECONDS_IN_HOUR: Final = 3600
HOURS_IN_MONTH_720: Final = 720  # Vast.ai's month; RunPod's is 730
HOURS_IN_MONTH_730: Final = 730
MAX_USD: Final = Decimal(1_000_000)  # dearer is a mistake of theirs
GB: Final = 1_000_000_000
GIB: Final = 1 << 30
MIB: Final = 1 << 20


def decimal_of(value: object) -> Decimal | None:
    """A number or a text of one, exact as it was written; None of anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float | str | Decimal):
        return None
    try:  # a float's text is the shortest that reads back to it: what was written
        found = Decimal(repr(value) if isinstance(value, float) else value)
    except (InvalidOperation, ValueError):  # ValueError: a number of thousands of digits
        return None
    return found if found.is_finite() and abs(found) <= MAX_USD else None


def _nano(value: Decimal) -> int:
    return int((value * NUSD).to_integral_value(ROUND_HALF_UP))


def _written(value: object) -> int | None:
    """Nano-dollars of a float that was written with nine digits behind its point or fewer: its text
    with the point moved, a third of a Decimal's time. None for any other."""
    if type(value) is not float or not -1_000_000 <= value <= 1_000_000:
        return None
    whole, _, part = repr(value).partition(".")
    return int(whole + part.ljust(9, "0")) if part.isdigit() and len(part) <= 9 else None


def usd(value: object) -> int | None:
    """Dollars, as nano-dollars."""
    if (exact := _written(value)) is not None:
        return exact
    found = decimal_of(value)
    return None if found is None else _nano(found)


def usd_per_hour(value: object) -> int | None:
    """Dollars an hour, as nano-dollars an hour; None where it is no price: nothing is free."""
    found = usd(value)
    return found if found is not None and found > 0 else None


def usd_per_hour_each(value: object, count: int) -> int | None:
    """Dollars an hour for one of `count` accelerators, as nano-dollars an hour for the machine."""
    found = decimal_of(value)
    return None if found is None or found <= 0 or count < 1 else _nano(found * count)


def usd_per_second(value: object) -> int | None:
    """Dollars a second, as nano-dollars an hour."""
    found = decimal_of(value)
    return None if found is None or found <= 0 else _nano(found * SECONDS_IN_HOUR)


def cents_per_hour(value: object) -> int | None:
    """US cents an hour, as nano-dollars an hour."""
    found = decimal_of(value)
    return None if found is None or found <= 0 else _nano(found / 100)


def usd_per_gb_month(value: object, gigabytes: Decimal | int, hours: int) -> int | None:
    """Dollars a GB and month, as nano-dollars an hour for so many GB; `hours` are a month's."""
    exact = _written(value)
    if exact is not None and exact >= 0 and isinstance(gigabytes, int):
        return (2 * exact * gigabytes + hours) // (2 * hours)  # half up
    found = decimal_of(value)
    return None if found is None or found < 0 else _nano(found * gigabytes / hours)


def usd_per_gb(value: object) -> int | None:
    """Dollars a GB of traffic, as nano-dollars; 0 is a price here."""
    found = usd(value)
    return found if found is not None and found >= 0 else None


def whole(value: object) -> int | None:
    """A count: a number, or a text of one, without a fraction, not below 0."""
    if type(value) is int:  # no other kind is so common, and ten thousand offers have several each
        return value if 0 <= value <= MAX_USD else None
    found = decimal_of(value)
    return int(found) if found is not None and found >= 0 and found == int(found) else None


def scaled(value: object, unit: int) -> int | None:
    """A size in `unit`s of bytes, rounded down; None of what is no size."""
    if type(value) is int:
        return value * unit if 0 <= value < 1 << 40 else None
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        found = Decimal(str(value).strip())
    except (InvalidOperation, ValueError):
        return None
    return int(found * unit) if found.is_finite() and 0 <= found < 1 << 40 else None
