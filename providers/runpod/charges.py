"""What a pod cost: GET /v2/billing/pods, in buckets of whole hours, UTC.

The window is widened to whole hours. A query parameter that RunPod does not know is ignored, so
the records are chosen here once more, by pod and by time.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Final

from providers.rental.contract import NOT_YET, Charges, Reply, Request, Unread
from providers.rental.reading import mapping
from providers.rental.units import NUSD, decimal_of, usd
from providers.runpod.replies import unread

HOUR_MS: Final = 3_600_000
MAX_RECORDS: Final = 100_000
CENT_PLACES: Final = 2  # amounts that show no more are taken as rounded to cents
NANO_PLACES: Final = 9
LAST_MS: Final = 253_402_300_800_000 - HOUR_MS  # the year 9999 ends


def charges_request(instance_id: str, from_ms: int, to_ms: int) -> Request:
    """Ask what it cost in the hours that hold the time."""
    begin, end = _hours(from_ms, to_ms)
    query = {
        "podId": instance_id,
        "bucketSize": "hour",
        "startTime": _text(begin),
        "endTime": _text(end),
    }
    return Request(op="charges", method="GET", path="/v2/billing/pods", query=query)


def charges_from(reply: Reply, instance_id: str, from_ms: int, to_ms: int) -> Charges | Unread:
    """The sum of its records; Unread where there is none yet: they come some minutes late."""
    if (failed := unread(reply)) is not None:
        return failed
    records = mapping(reply.body).get("records")
    if not isinstance(records, list) or len(records) > MAX_RECORDS:
        return Unread(why="malformed")
    begin, end = _hours(from_ms, to_ms)
    amounts, until_ms = [], 0
    for record in records:
        if mapping(record).get("podId") != instance_id:
            continue
        amount, at = _amount(mapping(record)), _moment(mapping(record).get("startTime"))
        if amount is None or at is None:
            return Unread(why="malformed")
        if begin <= at < end:
            amounts.append(amount)
            until_ms = max(until_ms, at + HOUR_MS)
    if not amounts:
        return Unread(why=NOT_YET)
    total = sum((usd(amount) or 0) for amount in amounts)
    return Charges(
        amount_nusd=total,
        step_nusd=_step(amounts),
        from_ms=begin,
        to_ms=end,
        until_ms=until_ms,
    )


def _amount(record: Mapping[str, object]) -> Decimal | None:
    found = decimal_of(record.get("totalAmount"))
    return found if found is not None and found >= 0 else None


def _step(amounts: list[Decimal]) -> int:
    """How far the sum may be from the exact cost. The rounding is not documented: it is taken as
    the finest digit that any record shows, at most a cent, once for each record."""
    places = max(_places(amount) for amount in amounts)
    step: int = NUSD // 10 ** min(NANO_PLACES, max(CENT_PLACES, places))
    return len(amounts) * step


def _places(amount: Decimal) -> int:
    exponent = amount.normalize().as_tuple().exponent
    return -exponent if isinstance(exponent, int) else 0


def _hours(from_ms: int, to_ms: int) -> tuple[int, int]:
    begin = max(0, min(from_ms, LAST_MS)) // HOUR_MS * HOUR_MS
    end = -(-max(0, min(to_ms, LAST_MS)) // HOUR_MS) * HOUR_MS
    return begin, max(end, begin + HOUR_MS)


def _text(ms: int) -> str:
    return datetime.fromtimestamp(ms // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _moment(value: object) -> int | None:
    """RFC 3339 as ms, UTC."""
    if not isinstance(value, str) or len(value) > 40:
        return None
    try:
        at = datetime.fromisoformat(value)
        return int(at.timestamp() * 1000) if at.tzinfo is not None else None
    except (ValueError, OverflowError, OSError):
        return None
