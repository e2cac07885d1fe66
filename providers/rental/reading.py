"""What every provider's replies need to be read safely: any JSON of any type gives a value."""

from __future__ import annotations

from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Final

from providers.rental.contract import Reply, Unread

MAX_NOTE: Final = 300  # characters of a provider's words that people see
MAX_CODE: Final = 80
MAX_ID: Final = 100
_NO_CODE: Final = "odd_code"
# Years 2024 to 2200: no provider answers outside of them.
LEAST_MS: Final = 1_704_067_200_000
MOST_MS: Final = 7_258_118_400_000


def mapping(value: object) -> dict[str, object]:
    """A JSON object; empty for anything else."""
    return value if isinstance(value, dict) else {}


def items(value: object) -> list[object]:
    """A JSON array; empty for anything else."""
    return value if isinstance(value, list) else []


def text(value: object, most: int = MAX_NOTE) -> str:
    """Words for people: one line, control characters replaced, cut; "" for what is no text."""
    if not isinstance(value, str):
        return ""
    cut = value[:most].strip()
    if cut.isprintable():
        return cut
    return "".join(c if c.isprintable() else "\ufffd" for c in cut)


def code(value: object) -> str:
    """An error's code, as short printable text without spaces; "" for none."""
    if not isinstance(value, str) or not value.strip():
        return ""
    word = text(value, MAX_CODE)
    return _NO_CODE if "\ufffd" in word or " " in word else word


def identity(value: object) -> str:
    """What a provider names a thing by: a positive number, or a word that can stand in a path as
    it is; "" for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | str):
        return ""
    if isinstance(value, int):
        return str(value) if 0 < value < 1 << 63 else ""
    good = 0 < len(value) <= MAX_ID and value.isascii()
    return value if good and value.replace("-", "").replace("_", "").isalnum() else ""


def silent(reply: Reply) -> str:
    """Why a reply says nothing of what was asked: never came, "5xx", "429"; "" where it may."""
    if reply.status == 0:
        return reply.broke or "timeout"
    if reply.status == 429:
        return "429"
    return "5xx" if reply.status >= 500 else ""


def unread(reply: Reply, why: str = "") -> Unread:
    """No answer, with what it said."""
    words = reply.body if isinstance(reply.body, str) else ""
    return Unread(why=why or silent(reply) or "malformed", text=text(words))


def date_ms(text: str) -> int | None:
    """A Date header, ms UTC; None of what is none."""
    try:
        found = parsedate_to_datetime(text[:64])
    except (TypeError, ValueError, OverflowError):
        return None
    aware = found if found.tzinfo is not None else found.replace(tzinfo=UTC)
    try:
        found_ms = round(aware.timestamp()) * 1000
    except (OverflowError, ValueError):
        return None
    return found_ms if LEAST_MS <= found_ms <= MOST_MS else None
