"""Where an event stands in its author's chain, also where that chain has branches.

An event's place is its number and its branch: 0 for the main line, which came here first, and so
on. The numbers of branches are this peer's own; what is asked of them (is this event an ancestor
of that one) is the same on every peer. Every ledger hands events over after their predecessors.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, NamedTuple

from mesh.ledger.event import Event

# Events at one number before an author counts as shattered: a disk copied twice makes three.
MAX_SIBLINGS: Final = 16


class Place(NamedTuple):
    """Where an event stands in its author's chain."""

    branch: int
    seq: int


@dataclass(slots=True)
class Branch:
    """A run of events from `first` to `tip`, after event `first - 1` of `parent`.

    `jump` is a branch that this one came from, some steps further down: with one in each, the walk
    to the main line takes as many steps as the branches' number has digits, whatever was signed.
    """

    parent: int
    first: int
    tip: int
    hash: str  # of the event at `tip`
    depth: int = 0  # steps to the main line
    jump: int = 0


@dataclass(slots=True)
class Chains:
    """The branches of every author. A sound chain is one branch, whatever its length."""

    branches: dict[str, list[Branch]] = field(default_factory=dict)
    # Of authors that forked: the branch of each event beside the main line, by its hash.
    beside: dict[str, dict[str, int]] = field(default_factory=dict)
    siblings: dict[str, dict[int, int]] = field(default_factory=dict)  # how many of them at a seq
    forks: dict[str, int] = field(default_factory=dict)  # the lowest seq with two events
    ends: dict[str, int] = field(default_factory=dict)  # the highest seq of any branch
    # From which seq on authors with MAX_SIBLINGS events at it are shattered; a function of the
    # events below that seq and of how many are at it, so the same on all peers.
    shattered: dict[str, int] = field(default_factory=dict)

    def add(self, event: Event) -> bool:
        """Give an event its place; True where that may change an earlier verdict."""
        known = self.branches.get(event.author)
        self.ends[event.author] = max(event.seq, self.ends.get(event.author, 0))
        if known is None:
            self.branches[event.author] = [Branch(-1, event.seq, event.seq, event.hash)]
            return False
        beside = self.beside.get(event.author)
        number = 0 if beside is None else beside.get(event.prev, 0)
        branch = known[number]
        if event.prev == branch.hash and event.seq == branch.tip + 1:
            branch.tip, branch.hash = event.seq, event.hash
            return self._beside(event, number) if number else self._crowds(event)
        known.append(_grown(known, number, event))
        return self._beside(event, len(known) - 1)

    def _beside(self, event: Event, number: int) -> bool:
        """Note an event off the main line; True where its author is shattered by it."""
        self.beside.setdefault(event.author, {})[event.hash] = number
        at = self.siblings.setdefault(event.author, {})
        at[event.seq] = at.get(event.seq, 0) + 1
        fork = min(event.seq, self.forks.get(event.author, event.seq))
        self.forks[event.author] = fork
        return self._crowds(event)

    def _crowds(self, event: Event) -> bool:
        """Whether an event is one too many at its seq, and at no lower one there were too many."""
        beside = self.siblings.get(event.author, {}).get(event.seq, 0)
        main = self.branches[event.author][0].tip >= event.seq
        lowest = self.shattered.get(event.author, event.seq + 1)
        if beside + main < MAX_SIBLINGS or lowest <= event.seq:
            return False
        self.shattered[event.author] = event.seq
        return True

    def place(self, author: str, seq: int, digest: str) -> Place:
        """The place of an event that is here."""
        beside = self.beside.get(author)
        return Place(0 if beside is None else beside.get(digest, 0), seq)

    def reaches(self, author: str, old: Place, new: Place) -> bool:
        """Whether the event at `old` is the one at `new`, or before it on its branch."""
        branch, seq = new
        while branch > old.branch:  # a branch has a higher number than the one it came from
            line = self.branches[author][branch]
            if line.jump > old.branch:
                branch = line.jump
            else:
                branch, seq = line.parent, line.first - 1
        return branch == old.branch and old.seq <= seq

    def fork(self, author: str) -> int:
        """The lowest seq at which the author signed two events; 0 for an author that did not."""
        return self.forks.get(author, 0)

    def tip(self, author: str) -> int:
        """The highest seq of any branch; 0 for no events."""
        return self.ends.get(author, 0)


def _grown(known: list[Branch], parent: int, event: Event) -> Branch:
    """A new branch of an author, from another; its jump as in Myers' random-access lists."""
    one = known[parent]
    over = known[one.jump]
    even = one.depth - over.depth == over.depth - known[over.jump].depth
    jump = over.jump if even and one.depth else parent
    return Branch(parent, event.seq, event.seq, event.hash, one.depth + 1, jump)
