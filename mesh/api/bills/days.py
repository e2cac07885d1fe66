"""A day or month as somebody types it, within the years of which a bill can be made."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Final
from zoneinfo import ZoneInfo

from mesh.api.fields import refuse
from mesh.state.bills.calendar import bounds_ms
from mesh.state.bills.reading import FIRST_MS, LAST_MS

SAY: Final = "say 2026-04-19 or 2026-04"
YEARS: Final = " to ".join(
    str(datetime.fromtimestamp(at_ms / 1000, UTC).year) for at_ms in (FIRST_MS, LAST_MS - 1)
)
_PERIOD: Final = re.compile(r"[0-9]{4}-[0-9]{2}(-[0-9]{2})?")


def period_ms(name: str, text: str, zone: ZoneInfo, hint: str = SAY) -> tuple[int, int]:
    """From and to of the day or month; RequestError where it is none, or where nobody reads what is
    said of it. `hint`: what to do where it is of other years."""
    try:
        if _PERIOD.fullmatch(text) is None:
            raise ValueError
        start, end = bounds_ms(text, zone)
    except (ValueError, OverflowError):
        refuse(f"{name}: {text[:40]!r} is no day and no month", SAY)
    if not FIRST_MS <= start < end <= LAST_MS:
        refuse(f"{name}: {text} is outside the years of bills, {YEARS} (UTC)", hint)
    return start, end
