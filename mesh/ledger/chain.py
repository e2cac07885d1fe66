"""One author's chain: does an event extend it, wait, break it, or begin another branch?

A fork (two events signed at one seq: a copied disk) loses nothing: every branch whose links
hold is kept, so what peers keep is a function of the set of events and not of their order.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final, final

from mesh.ledger.event import NO_PREV
from mesh.ledger.hlc import ZERO, Stamp


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """What the chain needs to know of an event."""

    seq: int
    hash: str
    prev: str
    stamp: Stamp


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """The last event kept of one author; seq 0 before the first."""

    seq: int
    hash: str
    stamp: Stamp


GENESIS: Final = Head(seq=0, hash=NO_PREV, stamp=ZERO)


class Verdict(Enum):
    """What a link does to a chain."""

    EXTENDS = auto()
    KNOWN = auto()
    WAITS = auto()
    FORKS = auto()
    BREAKS = auto()


def judge(
    link: Link, head: Head, here: Mapping[str, Stamp], before: Mapping[str, Stamp]
) -> Verdict:
    """Judge a link against the main line's head and all branches.

    `here` and `before` are the hashes kept at `link.seq` and at the seq before it, with their
    stamps. FORKS means: sound, and on another branch than the main line.
    """
    if link.hash in here:
        return Verdict.KNOWN
    if link.seq == head.seq + 1 and link.prev == head.hash:
        return Verdict.EXTENDS if link.stamp > head.stamp else Verdict.BREAKS
    if link.seq == 1:
        return Verdict.FORKS if link.prev == NO_PREV and here else Verdict.BREAKS
    stamp = before.get(link.prev)
    if stamp is None:
        return Verdict.WAITS
    return Verdict.FORKS if link.stamp > stamp else Verdict.BREAKS
