"""Other people's words, as a notebook shows them."""

from __future__ import annotations


def one_line(value: object, most: int) -> str:
    """A value on one line of at most `most` letters, without what moves a terminal's cursor."""
    text = " ".join("".join(c if c.isprintable() else " " for c in str(value)).split())
    return text if len(text) <= most else f"{text[: most - 1]}…"
