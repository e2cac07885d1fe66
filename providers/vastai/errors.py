"""Vast.ai's ways to say no: `{"success": false, "error": code, "msg": text}`, where any of them may
be missing, also in a reply of status 200; a 429's `{"detail": text}`; or plain text."""

from __future__ import annotations

from typing import Final

from providers.rental.contract import Reply, Unread
from providers.rental.reading import code, mapping, silent, text, unread
from providers.rental.waits import QUOTA

AUTH: Final = "auth_error"
NO_SUCH_ASK: Final = "no_such_ask"
# An unknown key is a 404 that says so only in words.
_BAD_KEY: Final = "invalid user key"
_RETIRED: Final = frozenset({"deprecated_endpoint", "deprecated", "gone"})


def problem(reply: Reply) -> tuple[str, str]:
    """(code, words) of what it complains of; ("", "") where it complains of nothing."""
    body = mapping(reply.body)
    inner = mapping(body.get("error"))
    words = next(
        (text(w) for w in (body.get("msg"), body.get("detail"), inner.get("msg"), reply.body) if w),
        "",
    )
    said = code(body.get("error")) or code(inner.get("error")) or code(inner.get("code"))
    if _BAD_KEY in words.lower():
        return AUTH, words
    # Some of its errors name the code in the words alone: "error 404/3603: no_such_ask Instance…".
    if NO_SUCH_ASK in words:
        return NO_SUCH_ASK, words
    return said, words


def good(reply: Reply) -> bool:
    """Whether it says that all is well, or says nothing against it."""
    body = mapping(reply.body)
    fine = body.get("success") in (True, None) and body.get("error") in (None, "")
    return 200 <= reply.status < 300 and isinstance(reply.body, dict) and fine


def failure(reply: Reply) -> Unread | None:
    """Why a question was not answered; None where a body is there to be read."""
    said, words = problem(reply)
    if reply.status == 429:
        return unread(reply, "quota" if QUOTA in (said, words) else "429")
    if silent(reply):
        return unread(reply)
    if said == AUTH or reply.status in (401, 403):
        return Unread(why="auth", text=words)
    if reply.status == 410 or said in _RETIRED:
        return Unread(why="retired", text=words)
    if good(reply):
        return None
    if said or reply.status >= 300:
        return Unread(why=said or f"http_{reply.status}", text=words)
    return unread(reply)
