"""What to ask of a neighbour, from its tips and ours. Pure but for two questions to the ledger."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, final

from mesh.ledger import document
from mesh.sync.manifest import Tip

# Events sent as an Automerge tail; beyond that a batch is cheaper, and a tail could outgrow
# a message: 32 of the largest events are 2.1 MiB.
TAIL_EVENTS: Final = 32
# Steps back along a chain to where another branch left it: 64, 128, 256 ... events.
FIRST_STEP_BACK: Final = 64

NOTHING: Final = Tip(0, "")

# Who comes first, lower before higher: who says who belongs, before those it speaks of.
Rank = Callable[[str], int]


def no_rank(author: str) -> int:
    """Every author alike."""
    return 0


@final
class Queue:
    """Authors to look at: by rank, and among equals the one that waits longest first."""

    def __init__(self, rank: Rank) -> None:
        self._rank: Final = rank
        self._lines: Final[dict[int, dict[str, None]]] = {}
        self._place: Final[dict[str, int]] = {}

    def add(self, author: str) -> None:
        """Put an author at the end of its line, where it does not wait already."""
        if author not in self._place:
            rank = self._place[author] = self._rank(author)
            self._lines.setdefault(rank, {})[author] = None

    def discard(self, author: str) -> None:
        """Take an author out."""
        rank = self._place.pop(author, None)
        if rank is not None:
            del self._lines[rank][author]

    def clear(self) -> None:
        """Begin anew: ranks may have changed."""
        self._lines.clear()
        self._place.clear()

    def __iter__(self) -> Iterator[str]:
        """As they wait at this moment."""
        for rank in sorted(self._lines):
            yield from list(self._lines[rank])

    def __len__(self) -> int:
        return len(self._place)


@final
@dataclass(frozen=True, slots=True)
class Retreat:
    """A stretch did not fit what we hold: ask from `after` next, and step back further then."""

    after: int
    step: int


@final
@dataclass(slots=True)
class Asked:
    """The stretch we are fetching: it began past `began` and has come up to `at`."""

    author: str
    began: int
    at: int
    gap: bool = False
    sent: bool = False


def ask_after(
    mine: Tip, theirs: Tip, retreat: Retreat | None, hashes_at: Callable[[int], frozenset[str]]
) -> int | None:
    """The seq past which to ask for events; None when the neighbour has nothing new."""
    if theirs == mine or theirs.seq == 0:
        return None
    if retreat is not None:
        return retreat.after
    if not theirs.fork and theirs.seq <= mine.seq:
        if theirs.hash in hashes_at(theirs.seq):
            return None  # a chain names its past: all of theirs is here
        return max(0, min(theirs.seq, mine.fork or theirs.seq) - FIRST_STEP_BACK)
    forks = [fork - 1 for fork in (mine.fork, theirs.fork) if fork]
    return min([mine.seq, *forks])


def fits_tail(mine: Tip, theirs: Tip) -> bool:
    """Whether the last few events of one open segment are all that differs."""
    if mine.fork or theirs.fork or not mine.seq < theirs.seq <= mine.seq + TAIL_EVENTS:
        return False
    return shares_segment(mine, theirs)


def shares_segment(one: Tip, two: Tip) -> bool:
    """Whether two tips lie in the same open segment, with some of it on both sides."""
    full = document.SEGMENT_EVENTS
    if not (one.seq % full and two.seq % full):
        return False
    return document.segment_of(one.seq) == document.segment_of(two.seq)


def step_back(began: int, last: Retreat | None) -> Retreat:
    """Where to ask from after a stretch from `began` on found no predecessor."""
    step = FIRST_STEP_BACK if last is None else last.step * 2
    return Retreat(max(0, began - step), step)
