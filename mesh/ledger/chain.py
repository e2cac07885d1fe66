"""One author's chain: does the next event extend it, wait, break it, or fork it?"""

from __future__ import annotations

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


def judge(link: Link, head: Head, stored: str | None) -> Verdict:
    """Judge a link; `stored` is the hash kept at `link.seq`, None past the head.

    A signed link whose `prev` is not our head proves another event at our head's seq: a fork.
    """
    if link.seq <= head.seq:
        return Verdict.KNOWN if link.hash == stored else Verdict.FORKS
    if link.seq > head.seq + 1:
        return Verdict.WAITS
    if link.prev != head.hash:
        return Verdict.FORKS if head.seq else Verdict.BREAKS
    return Verdict.EXTENDS if link.stamp > head.stamp else Verdict.BREAKS
