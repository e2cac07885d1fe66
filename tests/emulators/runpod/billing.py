"""What pods cost, in buckets of time, each rounded by itself, and late where a test says so."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any

from tests.emulators.machines import HOUR, Machine
from tests.emulators.runpod.pods import text
from tests.emulators.runpod.stock import dollars

DAY = 24 * HOUR
SIZES = {"hour": HOUR, "day": DAY, "week": 7 * DAY}
STEP = 10_000  # a record is rounded to a thousandth of a cent, nano-dollars


class BadQuery(Exception):
    """What is wrong with it."""


def rounded(exact: int) -> int:
    """Rate x ms as nano-dollars, to the step, half up."""
    return (2 * exact + HOUR * STEP) // (2 * HOUR * STEP) * STEP


def buckets(one: Machine, begin: int, end: int, size: int) -> Iterator[tuple[int, int]]:
    """(its start, what it cost in it) of each bucket of [begin, end) that cost something."""
    first = max(begin, one.created // size * size)
    for at in range(first, end, size):
        if one.ended is not None and at > one.ended:
            return
        if amount := rounded(one.meter(min(at + size, end), at)):
            yield at, amount


def invoice(one: Machine, now: int) -> int:
    return sum(amount for _, amount in buckets(one, 0, now, HOUR))


def window(query: Mapping[str, str], now: int) -> tuple[int, int, str]:
    """(begin, end, bucket size): snapped outward, the last 30 days where nothing is said."""
    name = query.get("bucketSize", "day")
    if name not in SIZES:
        raise BadQuery(f"bucketSize {name} is not served here")
    size = SIZES[name]
    if "lastN" in query:
        if "startTime" in query or "endTime" in query:
            raise BadQuery("lastN and startTime/endTime are mutually exclusive")
        end = (now // size + 1) * size
        return end - int(query["lastN"]) * size, end, name
    begin = moment(query["startTime"]) if "startTime" in query else now - 30 * DAY
    end = moment(query["endTime"]) if "endTime" in query else now
    return begin // size * size, -(-end // size) * size, name


def moment(value: str) -> int:
    try:
        return int(datetime.fromisoformat(value).timestamp() * 1000)
    except ValueError as error:
        raise BadQuery(f"{value} is no time") from error


def records(
    machines: Iterable[Machine], query: Mapping[str, str], now: int, late: int
) -> dict[str, Any]:
    """The answer; what happened in the last `late` ms is not in it yet."""
    begin, end, name = window(query, now)
    wanted = query.get("podId")
    found = []
    for one in machines:
        if wanted and one.id != wanted:
            continue
        for at, amount in buckets(one, begin, min(end, now - late), SIZES[name]):
            span = {"startTime": text(at), "endTime": text(at + SIZES[name])}
            found.append({**span, "podId": one.id, **_amounts(one, amount)})
    found.sort(key=lambda record: (record["startTime"], record["podId"]))
    asked = {"startTime": text(begin), "endTime": text(end), "bucketSize": name, "podId": wanted}
    return {"records": found, "metadata": _metadata(found, asked)}


def _amounts(one: Machine, amount: int) -> dict[str, float]:
    beside = int(str(one.extra.get("beside", 0)))
    disk = amount * beside // one.price if one.price else 0
    return {
        "totalAmount": dollars(amount),
        "gpuAmount": dollars(amount - disk),
        "cpuAmount": 0.0,
        "diskAmount": dollars(disk),
    }


def _metadata(found: list[dict[str, Any]], asked: dict[str, Any]) -> dict[str, Any]:
    kinds = ("totalAmount", "gpuAmount", "cpuAmount", "diskAmount")
    return {
        "query": asked,
        "recordCount": len(found),
        "uniquePodCount": len({record["podId"] for record in found}),
        "totals": {kind: round(sum(record[kind] for record in found), 9) for kind in kinds},
    }
