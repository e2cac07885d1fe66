"""Local days and wall clocks of any zone, in steps of quarter-hours.

Since 2000 the offsets of all zones are multiples of 15 minutes (a test looks at each): so a UTC
quarter-hour lies within one local day and one band of a tariff, those of its first instant.
"""

from __future__ import annotations

import re
from datetime import datetime
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo

QUARTER_MS: Final = 900_000
QUARTER_S: Final = 900
MAX_ZONE_CHARS: Final = 64  # the longest of IANA's have 32
# What is asked about at once: some ten zones of some years (35,000 quarter-hours each).
REMEMBERED: Final = 1 << 18
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_+-]*(/[A-Za-z0-9][A-Za-z0-9_+-]*)*")


@lru_cache(maxsize=1024)
def zone_of(name: str) -> ZoneInfo | None:
    """The zone of a name that anybody may have typed; None where there is none."""
    if len(name) > MAX_ZONE_CHARS or not _NAME.fullmatch(name):
        return None
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # unknown; no zone's file; a folder of zones
        return None


def quarter(at_ms: int) -> int:
    """The begin of the quarter-hour an instant is in."""
    return at_ms // QUARTER_MS * QUARTER_MS


def wall_clock(at_ms: int, zone: ZoneInfo) -> datetime:
    """The local time at the begin of the quarter-hour of an instant."""
    return datetime.fromtimestamp(at_ms // QUARTER_MS * QUARTER_S, zone)


def day_of(at_ms: int, zone: ZoneInfo) -> str:
    """The local day of an instant, "2026-04-19"."""
    return _day(at_ms // QUARTER_MS, zone)


def month_of(at_ms: int, zone: ZoneInfo) -> str:
    """The local month of an instant, "2026-04"."""
    return _day(at_ms // QUARTER_MS, zone)[:7]


@lru_cache(maxsize=REMEMBERED)
def _day(quarters: int, zone: ZoneInfo) -> str:
    return wall_clock(quarters * QUARTER_MS, zone).date().isoformat()


def bounds_ms(period: str, zone: ZoneInfo) -> tuple[int, int]:
    """First instant of a local day ("2026-04-19") or month ("2026-04") and of what comes after it.

    A day has 23 to 25 hours, at a change of clocks by half an hour 23.5 or 24.5. ValueError where
    it names neither.
    """
    if len(period) not in (7, 10):
        raise ValueError(f"'{period}' is neither a day nor a month: say 2026-04-19 or 2026-04")
    year, month, *day = map(int, period.split("-"))
    if day:
        start = datetime(year, month, day[0])
        end = datetime.fromordinal(start.toordinal() + 1)
    else:
        start = datetime(year, month, 1)
        end = datetime(year + month // 12, month % 12 + 1, 1)
    return _first_ms(start, zone), _first_ms(end, zone)


def _first_ms(midnight: datetime, zone: ZoneInfo) -> int:
    """Where a change of clocks leaves midnight out, the day begins at the change; where it repeats
    midnight, at the first of both."""
    return int(midnight.replace(tzinfo=zone).timestamp()) * 1000
