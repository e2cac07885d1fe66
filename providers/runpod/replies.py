"""What all of RunPod's replies have in common: how a failure is told (RFC 9457), and safe text.

A body is whatever came: any JSON, or text. Nothing here raises for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from providers.rental.contract import Refused, Reply, Unclear, Unread
from providers.rental.reading import mapping

MAX_TEXT: Final = 300  # of what a provider says, as much as a person reads
MAX_ERRORS: Final = 3  # of the schema's complaints
# The refusals its documents name. A 400 is a broken rule or no capacity: nothing tells them apart.
REFUSALS: Final[Mapping[int, str]] = {
    400: "rule_or_capacity",
    401: "auth",
    402: "balance",
    403: "not_allowed",
    404: "not_found",
    409: "conflict",
    422: "invalid",
}


def said(value: object, most: int = MAX_TEXT) -> str:
    """A provider's text, for people: one line without control characters, cut; "" of no text."""
    if not isinstance(value, str):
        return ""
    line = " ".join(value[: 4 * most].split())
    return "".join(letter for letter in line if letter.isprintable())[:most]


def is_problem(reply: Reply) -> bool:
    """Whether RunPod itself said no, and not a gateway before it: title and detail are required."""
    body = mapping(reply.body)
    return isinstance(body.get("title"), str) or isinstance(body.get("detail"), str)


def detail(reply: Reply) -> str:
    """Its own words for a failure."""
    body = mapping(reply.body)
    errors = body.get("errors")
    listed = errors[:MAX_ERRORS] if isinstance(errors, list) else []
    parts = [said(body.get("detail")) or said(body.get("title")), *(said(one) for one in listed)]
    return "; ".join(part for part in parts if part)[:MAX_TEXT]


def failure(reply: Reply) -> Refused | Unclear:
    """What a mutation's reply says that is no success: refused where the documents say so, and
    unclear in every other case."""
    if reply.status == 0:
        return Unclear(code=reply.broke or "unreached")
    if reply.status == 429:
        return Unclear(code="429")
    if reply.status >= 500:
        return Unclear(code="5xx")
    if reply.status == 410:
        return Unclear(code="retired")
    code = REFUSALS.get(reply.status)
    if code is None or not is_problem(reply):
        return Unclear(code="odd_reply")
    return Refused(code=code, text=detail(reply))


def unread(reply: Reply) -> Unread | None:
    """Why a question's reply is no answer; None of a 200, whose body is still to be judged."""
    if reply.status == 200:
        return None
    if reply.status in (401, 403):
        return Unread(why="auth", text=detail(reply))
    if reply.status in REFUSALS:
        return Unread(why=REFUSALS[reply.status], text=detail(reply))
    told = failure(reply)
    why = told.code if told.code != "odd_reply" else "malformed"
    text = "this version of its API was switched off" if why == "retired" else detail(reply)
    return Unread(why=why, text=text)
