"""One author's word on budgets, and the purses that follow from it and from nothing else.

All sums are over sets of what was said, each thing once: in whatever order an author's branches
arrive, the purses are the same. What was said counts also where it leaves less than nothing, for
money that was spent is gone: `audit` says who did it. What is not counted is only what no longer
has room here; then the later word of the same author is passed over, never an older one forgotten
that still matters.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any, Final, TypeVar, final

from mathcore.units import DAY_MS
from mesh.state.budgets.budget import Budget, surely_over_ms
from mesh.state.budgets.entries import (
    MOST_SUM,
    Cap,
    End,
    Hold,
    Lost,
    Money,
    Move,
    Part,
    Tally,
    better,
)

# Of one author. A person sets some ten caps a year, an owner gives to some tens of peers a month.
MAX_CAPS: Final = 512
MAX_MOVES: Final = 2048  # given, and as many taken
MAX_HOLDS: Final = 4096  # open ones, and the youngest of the others
MAX_ENDS: Final = 256  # of holds that are not here
MAX_TALLIES: Final = 8192  # budgets times periods: twenty budgets a day for a year
# Invoices come within two months; what ended longer ago may go where room is wanted.
KEEP_MS: Final = 92 * DAY_MS

Range = tuple[int, int]
Name = TypeVar("Name", str, tuple[str, str])


@final
@dataclass(slots=True)
class Word:
    """What one author said; what is written here is what its events say, in any order."""

    caps: dict[Budget, dict[Range, Cap]] = field(default_factory=dict)
    gives: dict[str, Move] = field(default_factory=dict)
    takes: dict[tuple[str, str], Move] = field(default_factory=dict)  # (giver, its id)
    holds: dict[str, Hold] = field(default_factory=dict)
    ends: dict[str, End] = field(default_factory=dict)  # of holds that are not here
    tallies: dict[Part, Tally] = field(default_factory=dict)
    open_ids: set[str] = field(default_factory=set)
    last_ms: int = 0
    lost: Lost = field(default_factory=Lost)

    # What is said

    def cap(self, budget: Budget, span: Range, said: Cap) -> None:
        """A cap for a range; said of the same range again, the later word counts."""
        known = self.caps.get(budget, {}).get(span)
        if known is None:
            if sum(map(len, self.caps.values())) >= MAX_CAPS and not self._drop_caps():
                self.lost.add("cap")
            else:
                self.caps.setdefault(budget, {})[span] = said
            return
        later = said if known.key < said.key else known
        later.top_nusd = max(known.top_nusd, said.top_nusd)
        self.caps[budget][span] = later

    def give(self, give_id: str, move: Move) -> None:
        """A gift; of two with one id the first counts."""
        self._add_move(self.gives, give_id, move)

    def take(self, giver: str, give_id: str, move: Move) -> None:
        """A gift taken, once."""
        self._add_move(self.takes, (giver, give_id), move)

    def hold(self, hold_id: str, one: Hold) -> None:
        """Money held; of two with one id the first counts."""
        known = self.holds.get(hold_id)
        if known is not None and known.key < one.key:
            return
        if not (known or self._has_place()) or not self._has_tallies(one.parts):
            self.lost.add("hold")
            return
        if known is not None:
            self._count(known, -1)
            one.end = known.end
        else:
            one.end = self.ends.pop(hold_id, None)
        self.holds[hold_id] = one
        self._count(one, 1)
        self._mark(hold_id, one)

    def end(self, hold_id: str, said: End) -> None:
        """A hold is over, or cost something else than was told."""
        one = self.holds.get(hold_id)
        if one is None:
            if better(said, self.ends.get(hold_id)):
                self.ends[hold_id] = said
            if len(self.ends) > MAX_ENDS:
                del self.ends[min(self.ends, key=lambda each: self.ends[each].key)]
        elif better(said, one.end):
            self._count(one, -1)
            one.end = said
            self._count(one, 1)
            self._mark(hold_id, one)

    # What follows

    def money(self, budget: Budget, period: int, *, mine: bool) -> Money:
        """The purse in one period; `mine`: the author is the budget's owner, and has its cap."""
        cap = self.cap_of(budget, period) if mine else None
        tally = self.tallies.get((budget, period)) or Tally()
        return Money(
            cap=0 if cap is None else cap.amount_nusd,
            taken=_moved(self.takes, budget, period),
            given=_moved(self.gives, budget, period),
            held=tally.held_nusd,
            spent=tally.spent_nusd,
        )

    def cap_of(self, budget: Budget, period: int) -> Cap | None:
        """The latest word on a range with that period; None where none was said."""
        ranges = self.caps.get(budget, {})
        those = [one for (first, last), one in ranges.items() if first <= period <= last]
        return max(those, key=lambda one: one.key, default=None)

    def top_nusd(self, budget: Budget, period: int) -> int:
        """The most the cap of a period ever was."""
        ranges = self.caps.get(budget, {}).items()
        return max((one.top_nusd for (a, b), one in ranges if a <= period <= b), default=0)

    def least(self, budget: Budget, first: int, last: int, *, mine: bool) -> int:
        """What is free in the poorest of some periods."""
        found = self.money(budget, first, mine=mine).free
        for period, nusd in self.balances(self.takes.values()).get(budget, ()):
            if first < period <= last:
                cap = self.cap_of(budget, period) if mine else None
                found = min(found, nusd + (0 if cap is None else cap.amount_nusd))
        return found

    def balances(self, takes: Iterable[Move]) -> dict[Budget, list[tuple[int, int]]]:
        """By budget the periods in which its purse may change, and what it has from then on without
        its cap; of gifts taken only `takes` count. In one pass, whatever was said."""
        changes: dict[Budget, dict[int, int]] = {}

        def add(budget: Budget, first: int, last: int, nusd: int) -> None:
            of = changes.setdefault(budget, {})
            of[first] = of.get(first, 0) + nusd
            of[last + 1] = of.get(last + 1, 0) - nusd

        for one in takes:
            add(one.budget, one.first, one.last, one.amount_nusd)
        for one in self.gives.values():
            add(one.budget, one.first, one.last, -one.amount_nusd)
        for (budget, period), tally in self.tallies.items():
            if tally.held_nusd or tally.spent_nusd:
                add(budget, period, period, -tally.held_nusd - tally.spent_nusd)
        for budget, ranges in self.caps.items():
            for first, last in ranges:
                add(budget, first, last, 0)
        return {
            budget: list(zip(sorted(of), accumulate(of[at] for at in sorted(of)), strict=True))
            for budget, of in changes.items()
        }

    def is_over(self, budget: Budget, period: int, since_ms: int) -> bool:
        """Whether a period was over for so long when the author last said something. What was over
        for KEEP_MS may have been forgotten."""
        over_ms = surely_over_ms(budget, period)
        return over_ms is not None and over_ms + since_ms < self.last_ms

    # What is kept

    def _count(self, one: Hold, sign: int) -> None:
        """Put a hold into the sums, or take it out."""
        for part in one.parts:
            tally = self.tallies.get(part)
            if tally is not None and one.is_open:
                tally.held_nusd += sign * one.amount_nusd
            elif tally is not None:
                tally.spent_nusd += sign * one.spent_nusd

    def _mark(self, hold_id: str, one: Hold) -> None:
        if one.is_open:
            self.open_ids.add(hold_id)
        else:
            self.open_ids.discard(hold_id)

    def _has_place(self) -> bool:
        """Whether one more hold can be kept: the oldest that is over gives way to it."""
        if len(self.holds) < MAX_HOLDS:
            return True
        over = next((each for each in self.holds if each not in self.open_ids), None)
        if over is not None:
            del self.holds[over]
        return over is not None

    def _has_tallies(self, parts: tuple[Part, ...]) -> bool:
        """Whether there are sums for all parts, and room in them."""
        wanted = [part for part in parts if part not in self.tallies]
        if len(self.tallies) + len(wanted) > MAX_TALLIES:
            self._drop_tallies()
            wanted = [part for part in parts if part not in self.tallies]
            if len(self.tallies) + len(wanted) > MAX_TALLIES:
                return False
        for part in wanted:
            self.tallies[part] = Tally()
        tallies = (self.tallies[part] for part in parts)
        return all(each.held_nusd + each.spent_nusd < MOST_SUM for each in tallies)

    def _drop_tallies(self) -> None:
        """Let old sums go, with the holds in them that are over."""
        live = {part for each in self.open_ids for part in self.holds[each].parts}
        old = {part for part in self.tallies if self._is_old(*part) and part not in live}
        for part in old:
            del self.tallies[part]
        for name, one in list(self.holds.items()):
            if old.intersection(one.parts):
                del self.holds[name]

    def _drop_caps(self) -> bool:
        old = [
            (budget, span)
            for budget, spans in self.caps.items()
            for span in spans
            if self._is_old(budget, span[1])
        ]
        for budget, span in old:
            del self.caps[budget][span]
            if not self.caps[budget]:
                del self.caps[budget]
        return bool(old)

    def _add_move(self, moves: dict[Name, Move], name: Name, move: Move) -> None:
        """Keep a gift, given or taken; of two with one name the first counts."""
        known = moves.get(name)
        if known is not None:
            moves[name] = min(known, move, key=lambda one: one.key)
            return
        if len(moves) >= MAX_MOVES:
            for old in [each for each, one in moves.items() if self._is_old(one.budget, one.last)]:
                del moves[old]
        if len(moves) < MAX_MOVES:
            moves[name] = move
        else:
            self.lost.add("move")

    def _is_old(self, budget: Budget, period: int) -> bool:
        return self.is_over(budget, period, KEEP_MS)


def _moved(moves: Mapping[Any, Move], budget: Budget, period: int) -> int:
    return sum(one.amount_nusd for one in moves.values() if one.covers(budget, period))
