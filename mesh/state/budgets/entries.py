"""What one author said of budgets, one thing each."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, NamedTuple, final

from mesh.state.budgets.budget import Budget
from mesh.state.jobs import Key

Part = tuple[Budget, int]  # a budget and one of its periods
# A million dollars: no budget of a person's is larger, and 4,096 open holds of it can be summed in
# the 63 bits of a snapshot.
MOST_NUSD: Final = 10**15
MOST_SUM: Final = 1 << 61  # with so much in a sum no more holds are added to it

# Ends of a hold, the one that counts first.
ADJUSTED, SETTLED, RELEASED = 0, 1, 2


@final
@dataclass(slots=True)
class Cap:
    """The owner's last word on one range of periods; `top_nusd` is the most it ever said there."""

    amount_nusd: int
    owned: str
    lifted: bool
    key: Key
    top_nusd: int


@final
@dataclass(frozen=True, slots=True)
class Move:
    """Money given to, or taken from, `peer`: `amount_nusd` in each of first..last."""

    budget: Budget
    peer: str
    amount_nusd: int
    first: int
    last: int
    key: Key

    def covers(self, budget: Budget, period: int) -> bool:
        """Whether it moves money of that budget in that period."""
        return self.budget == budget and self.first <= period <= self.last


@final
@dataclass(frozen=True, slots=True)
class End:
    """How a hold ended, by the best word on it: an invoice, what it cost, that it was nothing."""

    rank: int
    key: Key
    cost_nusd: int
    basis: str = ""


def better(one: End, known: End | None) -> bool:
    """Whether a word on an end counts in place of the known: a later invoice, else the first."""
    if known is None or one.rank != known.rank:
        return known is None or one.rank < known.rank
    return one.key > known.key if one.rank == ADJUSTED else one.key < known.key


@final
@dataclass(slots=True)
class Hold:
    """Money held for one thing in all of `parts`, and how that ended."""

    parts: tuple[Part, ...]
    amount_nusd: int
    until_ms: int
    about: str
    key: Key
    end: End | None = None

    @property
    def is_open(self) -> bool:
        """Whether it may still cost."""
        return self.end is None

    @property
    def spent_nusd(self) -> int:
        """What it cost as far as it is told."""
        return 0 if self.end is None else self.end.cost_nusd


@final
@dataclass(slots=True)
class Tally:
    """Sums of one author, budget and period."""

    held_nusd: int = 0
    spent_nusd: int = 0


@final
class Money(NamedTuple):
    """One peer's purse in one budget and period, term by term, nano-dollars."""

    cap: int
    taken: int
    given: int
    held: int
    spent: int

    @property
    def free(self) -> int:
        """What it may still hold or give; below zero where more is out than there is."""
        return self.cap + self.taken - self.given - self.held - self.spent


@final
@dataclass(slots=True)
class Lost:
    """What was said and is not counted, since no author may fill another's memory."""

    count: int = 0
    kinds: dict[str, int] = field(default_factory=dict)

    def add(self, kind: str) -> None:
        """One more of a kind."""
        self.count += 1
        self.kinds[kind] = self.kinds.get(kind, 0) + 1
