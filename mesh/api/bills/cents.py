"""Amounts as they are shown: text with all its digits, and cents that add up as shown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, TypeVar

from mathcore.units import HOUR_MS, NUSD

CENT: Final = NUSD // 100
K = TypeVar("K", str, tuple[str, ...], tuple[str, str])


def shown(parts: Mapping[K, int], unit: int = CENT) -> dict[K, int]:
    """Amounts in whole units (cents) whose sum is the rounded sum of the amounts.

    The largest remainders are rounded up, of equal ones the lower key; amounts below zero are fine.
    """
    down = {key: nusd // unit for key, nusd in parts.items()}
    left = (2 * sum(parts.values()) + unit) // (2 * unit) - sum(down.values())
    for key in sorted(parts, key=lambda key: (-(parts[key] % unit), key))[:left]:
        down[key] += 1
    return down


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
