"""A rental's label: known before the call, the same after a restart, readable without a ledger."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

PREFIX: Final = "fl"
# Lambda's names end at 64 characters and take letters, digits and dashes: so do ours.
MAX_LABEL: Final = 64
MAX_MESH: Final = 10
MAX_RENTAL: Final = 40
_LABEL: Final = re.compile(r"fl-([a-z0-9]{1,10})-([a-z0-9]{1,40})-([0-9a-f]{8,9})")


def label_of(mesh: str, rental: str, expires_ms: int) -> str:
    """`mesh`: the fleet's short name, letters and digits; `rental`: the intent's own, with a random
    part. The expiry (unix seconds, rounded up) lets a peer judge it that has no ledger."""
    label = f"{PREFIX}-{mesh}-{rental}-{-(-expires_ms // 1000):08x}"
    if _LABEL.fullmatch(label) is None or len(label) > MAX_LABEL:
        raise ValueError(f"{label!r} is no label")
    return label


def read_label(mesh: str, label: str) -> tuple[str, int] | None:
    """(rental, expiry in ms) of a label of this fleet; None of any other text."""
    found = _LABEL.fullmatch(label)
    return (found[2], int(found[3], 16) * 1000) if found and found[1] == mesh else None


def read_any(names: Iterable[str], label: str) -> tuple[str, int] | None:
    """The same, of a fleet that has or had any of these names."""
    found = (read_label(name, label) for name in names)
    return next((one for one in found if one is not None), None)


def is_ours(label: str) -> bool:
    """Whether some fleet wrote it."""
    return _LABEL.fullmatch(label) is not None
