"""Amounts in cells: text with all its digits, and none that a spreadsheet runs."""

from __future__ import annotations

from mathcore.units import HOUR_MS, NUSD


def usd(nusd: int | None) -> str | None:
    """Dollars with nine decimals, "0.456621004", which is exact; None for unknown."""
    if nusd is None:
        return None
    sign = "-" if nusd < 0 else ""
    return f"{sign}{abs(nusd) // NUSD}.{abs(nusd) % NUSD:09d}"


def hours(ms: int) -> str:
    """Hours with nine decimals, rounded down: "12.500000000"."""
    nano = ms * NUSD // HOUR_MS
    return f"{nano // NUSD}.{nano % NUSD:09d}"


def plain(text: str) -> str:
    """A cell no spreadsheet runs: text that begins like a formula gets a quote in front."""
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text
