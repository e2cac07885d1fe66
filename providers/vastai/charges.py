"""What Vast.ai charged for one machine, `GET /api/v0/charges/`: by whole days UTC, in thousandths
of a dollar. A row is one contract in the days asked for; one machine is one contract. A row's `end`
lies in the last day that is booked: at its begin, as documented."""

from __future__ import annotations

import json
from typing import Final

from providers.rental.contract import NOT_YET, Charges, Reply, Request, Unread
from providers.rental.reading import mapping, unread
from providers.rental.units import usd
from providers.rental.waits import DAY_MS
from providers.vastai.errors import failure
from providers.vastai.listing import MAX_TOKEN

STEP_NUSD: Final = 1_000_000  # amounts are rounded to three decimals
LIMIT: Final = 500  # the most it gives a page
MAX_S: Final = 1 << 36  # a time beyond the year 4000 is none


def days(from_ms: int, to_ms: int) -> tuple[int, int]:
    """The whole days UTC around a time: a charge is booked at its day's begin."""
    return from_ms // DAY_MS * DAY_MS, -(-to_ms // DAY_MS) * DAY_MS


def charges_request(from_ms: int, to_ms: int, after: str = "") -> Request:
    """All contracts' charges of some days."""
    begin, end = days(from_ms, to_ms)
    day = {"gte": begin // 1000, "lte": end // 1000 - 1}
    query = {
        "select_filters": json.dumps({"day": day, "type": {"in": ["instance"]}}),
        "format": "table",
        "latest_first": "true",
        "limit": str(LIMIT),
    }
    if after:
        query["after_token"] = after
    return Request(op="charges", method="GET", path="/api/v0/charges/", query=query)


def next_charges(reply: Reply) -> str:
    """What asks for the next page; "" after the last."""
    after = mapping(reply.body).get("next_token")
    return after if isinstance(after, str) and len(after) <= MAX_TOKEN else ""


def charges_from(
    replies: tuple[Reply, ...], instance_id: str, from_ms: int, to_ms: int
) -> Charges | Unread:
    """One machine's sum over all pages; Unread where a page is none, or it has no row yet."""
    booked: list[tuple[int, int | None]] = []
    for reply in replies:
        found = _booked(reply, instance_id)
        if isinstance(found, Unread):
            return found
        booked += found
    if not booked:
        return Unread(why=NOT_YET)
    begin, end = days(from_ms, to_ms)
    return Charges(
        amount_nusd=sum(amount for amount, _ in booked),
        step_nusd=STEP_NUSD,
        from_ms=begin,
        to_ms=end,
        until_ms=max((until for _, until in booked if until is not None), default=None),
    )


def _booked(reply: Reply, instance_id: str) -> list[tuple[int, int | None]] | Unread:
    """The amount of each row of ours, and the end of the last day in it."""
    if (failed := failure(reply)) is not None:
        return failed
    rows = mapping(reply.body).get("results")
    if not isinstance(rows, list):
        return unread(reply)
    ours = [row for one in rows if (row := mapping(one)).get("source") == f"instance-{instance_id}"]
    amounts = [(usd(row.get("amount")), _until_ms(row.get("end"))) for row in ours]
    good = [(amount, end) for amount, end in amounts if amount is not None and amount >= 0]
    return good if len(good) == len(amounts) else unread(reply)


def _until_ms(end: object) -> int | None:
    if isinstance(end, bool) or not isinstance(end, int | float) or not 0 <= end <= MAX_S:
        return None
    return (int(end) * 1000 // DAY_MS + 1) * DAY_MS
