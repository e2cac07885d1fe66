"""Whose word on budgets does not add up. What was spent stays counted: this says by whom.

An honest peer is never named: it holds and gives only what its own purse has. Named is who gave,
held or spent more than it had, and who took what nobody gave it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import Final, Literal, NamedTuple, final

from mesh.state.budgets.budget import Budget
from mesh.state.budgets.budgets import Budgets
from mesh.state.budgets.entries import Move
from mesh.state.budgets.word import KEEP_MS

Fault = Literal["overdrew", "took another gift", "too much to keep"]
MAX_NAMED: Final = 1000  # lines of one audit: a page for people


@final
class Named(NamedTuple):
    """Who, by how much, in which budget and period; those are None where it is not about one."""

    fault: Fault
    author: str
    nusd: int
    budget: Budget | None = None
    period: int = 0
    about: str = ""


def audit(book: Budgets) -> list[Named]:
    """Everything that does not add up, as far as it is known here; one order on every peer.

    A gift whose giver has not been heard of yet is no fault: it waits.
    """
    found: list[Named] = []
    for author in sorted(book.words):
        for one in _faults(book, author):
            if len(found) >= MAX_NAMED:
                return found
            found.append(one)
    return found


def _faults(book: Budgets, author: str) -> Iterator[Named]:
    word = book.words[author]
    if word.lost.count:
        yield Named("too much to keep", author, word.lost.count)
    for (giver, give_id), took in sorted(word.takes.items()):
        gave = book.word(giver).gives.get(give_id)
        if gave is not None and not matches(gave, took, author):
            yield Named(
                "took another gift", author, took.amount_nusd, took.budget, took.first, give_id
            )
    for budget, period, missing in overdrawn(book, author, word.takes.values()):
        yield Named("overdrew", author, missing, budget, period)


def matches(gave: Move, took: Move, taker: str) -> bool:
    """Whether what was taken is what was given, to whom it was given."""
    terms = (gave.budget, gave.amount_nusd, gave.first, gave.last)
    return gave.peer == taker and terms == (took.budget, took.amount_nusd, took.first, took.last)


def overdrawn(
    book: Budgets, author: str, takes: Iterable[Move], over_ms: int = KEEP_MS
) -> Iterator[tuple[Budget, int, int]]:
    """Where a peer gave, held and spent more than it had, and by how much: by its cap and by those
    of its `takes`. An owner that lowered its cap had the highest of them. Of a stretch of periods
    that are alike one is named; those that were over for `over_ms` are passed over, since of them
    something may have been forgotten."""
    word = book.word(author)
    for budget, balances in sorted(word.balances(takes).items()):
        for (period, nusd), (after, _) in pairwise(balances):
            if nusd >= 0 or word.is_over(budget, after - 1, over_ms):
                continue
            at = after - 1 if word.is_over(budget, period, over_ms) else period
            top = word.top_nusd(budget, at) if author == budget.owner else 0
            if nusd + top < 0:
                yield budget, at, -nusd - top


def proved(book: Budgets, taker: str) -> list[Move]:
    """The gifts a peer took that their givers say they gave it."""
    takes = book.word(taker).takes.items()
    gave = [(took, book.word(giver).gives.get(give_id)) for (giver, give_id), took in takes]
    return [took for took, gift in gave if gift is not None and matches(gift, took, taker)]


def under_way_nusd(book: Budgets, budget: Budget, period: int) -> int:
    """Given and not yet taken: in nobody's purse, so spent by nobody."""
    total = 0
    for giver, word in book.words.items():
        for give_id, gave in word.gives.items():
            took = (giver, give_id) in book.word(gave.peer).takes
            if gave.covers(budget, period) and not took:
                total += gave.amount_nusd
    return total


def out_nusd(book: Budgets, budget: Budget, period: int) -> int:
    """How much of a budget may still be spent or is, by all: its cap, or more where that was
    lowered and what is out has not come back ("cap 50, out 80")."""
    money = book.money(budget.owner, budget, period)
    return money.cap + max(0, -money.free)
