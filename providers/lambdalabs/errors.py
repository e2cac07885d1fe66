"""What Lambda Cloud's errors mean: `{"error": {"code", "message", "suggestion"}}`, by the code."""

from __future__ import annotations

from typing import Final

from providers.lambdalabs.reading import text, word
from providers.rental.contract import Refused, Reply, Unclear, Unread
from providers.rental.reading import mapping

LAUNCH: Final = "instance-operations/launch/"
NO_CAPACITY: Final = LAUNCH + "insufficient-capacity"
NOT_THERE: Final = "global/object-does-not-exist"
CONFLICT: Final = "global/conflict"
# The codes its OpenAPI documents: with a status of 4xx each says that nothing was done.
# "global/internal-error" and "provider/…" do not.
DOCUMENTED: Final = frozenset(
    {
        NO_CAPACITY,
        LAUNCH + "file-system-in-wrong-region",
        NOT_THERE,
        CONFLICT,
        "global/account-inactive",
        "global/duplicate",
        "global/forbidden",
        "global/invalid-address",
        "global/invalid-api-key",
        "global/invalid-parameters",
        "global/not-found",
        "global/quota-exceeded",
    }
)
# Why an action is refused, as listings and messages have it.
REASONS: Final = (
    "vm-has-not-launched",
    "vm-is-too-old",
    "vm-is-terminating",
    "vm-action-in-progress",
)
BROKE: Final = ("timeout", "reset", "unreached")


def code_of(reply: Reply) -> str:
    """The error's code, "" where there is none."""
    return word(mapping(mapping(reply.body).get("error")).get("code"))


def text_of(reply: Reply) -> str:
    """What it says for people: the message, and what it suggests."""
    error = mapping(mapping(reply.body).get("error"))
    said = (text(error.get("message")), text(error.get("suggestion")))
    return text(" ".join(one for one in said if one))


def broke(reply: Reply) -> str:
    """Why no answer came at all; "" where one did."""
    if reply.status != 0:
        return ""
    return reply.broke if reply.broke in BROKE else "unreached"


def unread(reply: Reply) -> Unread:
    """Why a reply to a question is no answer to it."""
    return Unread(why=broke(reply) or _why(reply), text=text_of(reply))


def _why(reply: Reply) -> str:
    status, code = reply.status, code_of(reply)
    if status == 429:
        return "429"
    if status in (401, 403):
        return "auth"
    # What moved, or is not there in any words of the API, is a version of it that has ended.
    if status == 410 or 300 <= status < 400 or (status == 404 and not code):
        return "retired"
    if status >= 500:
        return "5xx"
    return code or "malformed"


def failed(reply: Reply) -> Refused | Unclear:
    """What a reply to a change means where it did not say that it was done."""
    status, code = reply.status, code_of(reply)
    if why := broke(reply):
        return Unclear(code=why)
    if status == 429:
        return Unclear(code="429")
    if status >= 500:
        return Unclear(code="5xx")
    if 400 <= status < 500 and code in DOCUMENTED:
        return Refused(code=code, text=text_of(reply))
    return Unclear(code="odd_reply")
