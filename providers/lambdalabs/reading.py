"""Typed reads of JSON that anybody may have written: a value or its absence, never an error."""

from __future__ import annotations

from typing import Final

MAX_TEXT: Final = 300  # characters of a provider's text that are kept; its longest own is 180
MAX_ID: Final = 128  # an id has 32; a longer one is no id


def items(value: object) -> list[object] | None:
    """A JSON array; None where there is none."""
    return value if isinstance(value, list) else None


def text(value: object, most: int = MAX_TEXT) -> str:
    """A text on one line, without control characters and cut to `most`; "" of anything else."""
    if not isinstance(value, str):
        return ""
    kept = "".join(c if c.isprintable() else " " for c in value[: 4 * most])
    return " ".join(kept.split())[:most]


def word(value: object) -> str:
    """An id or a name as a request may carry it: printable ASCII without blanks; "" of others."""
    if not isinstance(value, str) or not 0 < len(value) <= MAX_ID:
        return ""
    return value if value.isascii() and value.isprintable() and " " not in value else ""
