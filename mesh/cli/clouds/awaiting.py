"""A request followed until its machine is up, or until it is known that none will be."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, Final

from mesh.cli.client import Daemon
from mesh.cli.clouds.words import STEP_WORDS, why_words
from mesh.cli.exits import CANCELLED, JOB_FAILED, stop
from mesh.cli.output import clean, money, say

Row = Mapping[str, Any]

LOOK_S: Final = 1.0
READY: Final = frozenset({"ready", "running"})
# Its own next attempt is under way: a refused offer is not the end of a request.
OVER: Final = frozenset({"interrupted", "terminating", "terminating_unconfirmed", "absent"})


def once_ready(daemon: Daemon, request_id: str) -> Row:
    """The request's machine, once jobs can run there; a Stop where it never comes up."""
    said = ""
    while True:
        found = daemon.get("/v1/rentals?ended=1")
        mine = [row for row in found["rentals"] if row["request_id"] == request_id]
        waits = [row for row in found["requests"] if row["request_id"] == request_id]
        one = next((row for row in mine if row["state"] not in OVER), None)
        if waits and one is not None and one["state"] in READY and one["devices"]:
            return dict(one)
        if not waits:
            _ended(mine, _why_over(found, request_id))
        now = _progress(one, waits[0])
        if now != said:
            say(now, err=True)
            said = now
        time.sleep(LOOK_S)


def hourly(row: Row) -> str:
    """ "$0.34/h": what a machine costs, as it was quoted while its provider says no more."""
    nusd = row["price_nusd"] or row["quote_nusd"]
    return f"{money(nusd)}/h" if nusd else "price unknown"


def _progress(one: Row | None, request: Row) -> str:
    if one is None:
        return f"  {clean(why_words(request['waits_for'] or 'choosing'))}"
    step = STEP_WORDS.get(str(one["step"]), "asked for")
    return f"  {clean(one['gpu'] or 'machine')}, {hourly(one)}: {step}"


def _why_over(found: Row, request_id: str) -> str:
    """Why the request itself is over; "" where nobody says so."""
    ended = found.get("ended_requests", [])
    return next((str(row["why"]) for row in ended if row["request_id"] == request_id), "")


def _ended(mine: list[Row], over: str) -> None:
    why = str(mine[0]["why"]) if mine else over or "cancelled"
    if over == "job_cap":
        last = f" (the last one: {clean(why_words(why))})" if mine else ""
        text = f"no machine came up, and {clean(why_words(over))}{last}"
        stop(JOB_FAILED, text, "fleet rentals -a, then fleet rent with a higher --cap")
    if why == "cancelled":
        stop(CANCELLED, "the request was cancelled", "fleet rentals -a")
    stop(JOB_FAILED, f"no machine came up: {clean(why_words(why))}", "fleet rentals -a")
