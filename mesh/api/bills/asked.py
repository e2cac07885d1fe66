"""Which bill somebody wants: a query's texts in, a checked question out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, final
from zoneinfo import ZoneInfo

from mesh.api.bills import GROUPINGS
from mesh.api.bills.days import period_ms
from mesh.api.errors import RequestError
from mesh.api.fields import refuse, unknown_field
from mesh.state.bills.calendar import bounds_ms, day_of, zone_of

FIELDS: Final = ("by", "since", "until", "tz", "as_of")
MAX_TEXT: Final = 64
HINT: Final = "fleet cost --help"


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class BillAsked:
    """Days are local ones of `zone`, "2026-04-19"; "" does not bind. `day_after` is the first that
    is not in it. `as_of`: as known at the end of that day."""

    by: str
    zone: ZoneInfo
    first_day: str = ""
    day_after: str = ""
    as_of: str | None = None

    def bounds(self, now_ms: int) -> tuple[int, int]:
        """From and to, ms UTC; 0 = from the first."""
        start = bounds_ms(self.first_day, self.zone)[0] if self.first_day else 0
        by_ms = self.by_ms(now_ms)
        end = bounds_ms(self.day_after, self.zone)[0] if self.day_after else by_ms
        return start, min(end, by_ms)

    def by_ms(self, now_ms: int) -> int:
        """Up to when anything is known: now, or the end of `as_of` before that."""
        if self.as_of is None:
            return now_ms
        return min(now_ms, bounds_ms(self.as_of, self.zone)[1])


def parse_bill(given: Mapping[str, str], default_zone: str = "UTC") -> BillAsked:
    """The question of a query's fields; RequestError names the one that is wrong.

    `since` and `until` name days or months: from the begin of one to the end of the other.
    """
    for name, value in given.items():
        if name not in FIELDS:
            unknown_field(name, FIELDS, HINT)
        if len(value) > MAX_TEXT:
            refuse(f"{name}: {len(value)} characters", f"at most {MAX_TEXT}")
    by = given.get("by", "day")
    if by not in GROUPINGS:
        raise RequestError("BadField", f"by={by!r}", f"one of {', '.join(GROUPINGS)}")
    zone = _zone(given.get("tz", default_zone))
    first = _first("since", given["since"], zone) if "since" in given else ""
    after = _after("until", given["until"], zone) if "until" in given else ""
    if first and after and first >= after:
        refuse(f"since {given['since']} is after until {given['until']}", HINT)
    as_of = given.get("as_of")
    if as_of is not None:
        _first("as_of", as_of, zone)
    return BillAsked(by=by, zone=zone, first_day=first, day_after=after, as_of=as_of)


def _zone(text: str) -> ZoneInfo:
    found = zone_of(text)
    if found is None:
        refuse(f"tz: this machine knows no time zone {text!r}", "say for example Europe/Berlin")
    assert found is not None
    return found


def _first(name: str, text: str, zone: ZoneInfo) -> str:
    period_ms(name, text, zone)
    return text if len(text) == 10 else f"{text}-01"


def _after(name: str, text: str, zone: ZoneInfo) -> str:
    return day_of(period_ms(name, text, zone)[1], zone)
