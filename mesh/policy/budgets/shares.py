"""Money between peers: what to take, what to hand back, slices for while the owner is away."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final, NamedTuple, final

from mathcore.units import show_nusd
from mesh.state.budgets.audit import out_nusd, overdrawn, proved, under_way_nusd
from mesh.state.budgets.budget import Budget, named
from mesh.state.budgets.budgets import Budgets
from mesh.state.budgets.entries import Move
from mesh.state.budgets.word import MAX_MOVES
from mesh.state.facts.budget import BudgetTaken

# Of what an owner has, so much stays with it for those who come later.
KEEP_PERCENT: Final = 20
# Gifts kept of one giver: many of nothing must not take the room of others'. Who gives slices of
# ten budgets each week has a year.
MAX_FROM_ONE: Final = MAX_MOVES // 4


def takes_due(book: Budgets, me: str) -> list[BudgetTaken]:
    """Gifts to this peer that it has not taken, from givers that had the money, as far as known
    here; the others wait. Facts to write before this is asked again; a copy counts nothing."""
    mine = book.word(me).takes
    found: list[BudgetTaken] = []
    for giver, word in sorted(book.words.items()):
        gifts = [
            (give_id, one)
            for give_id, one in sorted(word.gives.items(), key=lambda each: each[1].key)
            if one.peer == me and (giver, give_id) not in mine
        ]
        bad = overdrew(book, giver) if gifts else frozenset()
        room = max(0, MAX_FROM_ONE - sum(by == giver for by, _ in mine))
        due = [(give_id, one) for give_id, one in gifts if one.budget not in bad]
        found += [_taken(giver, give_id, one) for give_id, one in due[:room]]
    return found[: max(0, MAX_MOVES - len(mine))]


def _taken(giver: str, give_id: str, gift: Move) -> BudgetTaken:
    return BudgetTaken(
        give_id=give_id,
        giver=giver,
        budget=named(gift.budget),
        amount_nusd=gift.amount_nusd,
        first=gift.first,
        last=gift.last,
    )


def overdrew(book: Budgets, giver: str) -> frozenset[Budget]:
    """The budgets of which a peer gave, held or spent more than it had, in a period that is not
    over: by its cap, and by what others say that they gave it."""
    return frozenset(one for one, _, _ in overdrawn(book, giver, proved(book, giver), over_ms=0))


def slices(
    free_nusd: int, peers: Collection[str], keep_percent: int = KEEP_PERCENT
) -> dict[str, int]:
    """Equal standing slices of what an owner has, by peer: given for many periods, they hold while
    it is away. The owner keeps its part, and what does not divide."""
    to_give = max(0, free_nusd) * (100 - keep_percent) // 100
    each = to_give // len(peers) if peers else 0
    return {one: each for one in sorted(peers) if each}


@final
class Return(NamedTuple):
    """Money to give back to the owner of a budget."""

    budget: Budget
    period: int
    nusd: int


def return_due(
    book: Budgets, me: str, budget: Budget, period: int, free_nusd: int
) -> Return | None:
    """What this peer should hand back: an owner lowered its cap below what is out, and this peer
    has something `free_nusd`. What is on its way there already counts as handed back."""
    short = -book.money(budget.owner, budget, period).free
    takes = book.word(budget.owner).takes
    for give_id, one in book.word(me).gives.items():
        if one.peer == budget.owner and one.covers(budget, period) and (me, give_id) not in takes:
            short -= one.amount_nusd
    nusd = min(short, free_nusd)
    return Return(budget, period, nusd) if me != budget.owner and nusd > 0 else None


def begins_anew(book: Budgets, budget: Budget) -> int:
    """The first period in which nobody has anything of a budget but its owner. If that one is lost,
    another peer's budget can stand in its place from then on; before, nobody knows what it gave."""
    gifts = (one for word in book.words.values() for one in word.gives.values())
    return max((one.last for one in gifts if one.budget == budget), default=-1) + 1


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """A budget in one period, over all purses, as far as known here; nano-dollars."""

    cap_nusd: int
    out_nusd: int  # may still be spent, or is: the cap, or more after it was lowered
    held_nusd: int
    spent_nusd: int
    under_way_nusd: int  # given, not taken yet

    @property
    def text(self) -> str:
        """ "cap $50.00, out $80.00, spent $12.00, held $3.00"; `out` where it is above the cap."""
        out = f", out {show_nusd(self.out_nusd)}" if self.out_nusd > self.cap_nusd else ""
        used = f", spent {show_nusd(self.spent_nusd)}, held {show_nusd(self.held_nusd)}"
        return f"cap {show_nusd(self.cap_nusd)}{out}{used}"


def standing(book: Budgets, budget: Budget, period: int) -> Standing:
    """How a budget stands."""
    cap = book.cap(budget, period)
    held, spent = book.used(budget, period)
    return Standing(
        cap_nusd=0 if cap is None else cap.amount_nusd,
        out_nusd=out_nusd(book, budget, period),
        held_nusd=held,
        spent_nusd=spent,
        under_way_nusd=under_way_nusd(book, budget, period),
    )
