"""One process and its peer's purse: what it may hold, begin, settle, let go.

It does no I/O and awaits nothing: a check and the deduction are one step, so of fifty requests at
once no two are given the same money. What it returns is a fact to be written; what is not in the
ledger yet is deducted here. All that it remembers is lost with the process, and then nothing is
known of what was begun: every hold left open may have been spent.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import final

from mesh.policy.budgets.nesting import policy, used_up_by
from mesh.policy.budgets.values import (
    Ask,
    Group,
    Refusal,
    over_budget,
    too_many_budgets,
    too_many_holds,
    unknown_zone,
)
from mesh.state.budgets.budget import Budget, budget_of, named, period_at
from mesh.state.budgets.budgets import MAX_PARTS, Budgets
from mesh.state.budgets.entries import ADJUSTED, MOST_NUSD, Hold, Part
from mesh.state.budgets.word import MAX_HOLDS
from mesh.state.facts.budget import (
    ALL,
    CLOUD_STOP,
    BudgetAdjusted,
    BudgetGiven,
    BudgetHeld,
    BudgetPart,
    BudgetReleased,
    BudgetSettled,
)

Said = BudgetHeld | BudgetGiven | BudgetSettled | BudgetReleased


@final
class Spender:
    """The purse of peer `me` in this process. Not thread-safe: one loop uses it.

    `book` is always the state as folded from what is on disk.
    """

    def __init__(self, me: str) -> None:
        self._me = me
        # Said, not in the ledger yet: how much, in what.
        self._holding: dict[str, tuple[int, tuple[Part, ...]]] = {}
        self._giving: dict[str, BudgetGiven] = {}
        self._mine: set[str] = set()  # holds of this process
        self._begun: set[str] = set()
        self._ending: set[str] = set()  # an end was said

    # What there is

    def free(self, book: Budgets, budget: Budget, period: int) -> int:
        """What may still be held or given, nano-dollars."""
        return book.money(self._me, budget, period).free - self._leaving(
            book, budget, period, period
        )

    def _leaving(self, book: Budgets, budget: Budget, first: int, last: int) -> int:
        """Said, and not in the ledger yet: of these periods at most."""
        word = book.word(self._me)
        held = (
            nusd
            for name, (nusd, parts) in self._holding.items()
            if name not in word.holds
            and any(at == budget and first <= period <= last for at, period in parts)
        )
        given = (
            one.amount_nusd
            for name, one in self._giving.items()
            if name not in word.gives
            and budget_of(one.budget) == budget
            and one.first <= last
            and first <= one.last
        )
        return sum(held) + sum(given)

    # Before something is bought

    def admit(
        self, book: Budgets, ask: Ask, groups: Iterable[Group], *, owned: bool
    ) -> BudgetHeld | Refusal | None:
        """As `reserve`; `owned`: on a device of the fleet, whose cost only budgets count that say
        so. None where nothing is to be held: it may go on."""
        asked = list(groups)
        try:
            stopped, paying = _of_owned(book, asked, ask.now_ms) if owned else (None, asked)
        except ValueError:
            return unknown_zone(_strange(asked, ask.now_ms))
        return stopped or self.reserve(book, ask, paying)

    def reserve(
        self, book: Budgets, ask: Ask, groups: Iterable[Group]
    ) -> BudgetHeld | Refusal | None:
        """Hold the most it can cost in one budget of each group, or in none: the fact to write.
        None without groups. In the period of now, however long it lasts.

        ValueError for an amount below 0, or a hold_id that this process or the ledger knows.
        """
        self._tidy(book)
        word, asked = book.word(self._me), [group for group in groups if group]
        if ask.most_nusd < 0 or ask.hold_id in self._mine or ask.hold_id in word.holds:
            raise ValueError(f"nothing can be held as {ask.hold_id}")
        try:
            chosen = [self._best(book, group, ask.now_ms) for group in asked]
        except ValueError:
            return unknown_zone(_strange(asked, ask.now_ms))
        if not chosen:
            return None
        if len(chosen) > MAX_PARTS:
            return too_many_budgets(len(chosen))
        poorest, period, free = min(chosen, key=lambda one: one[2])
        if free < ask.most_nusd or ask.most_nusd > MOST_NUSD:
            return over_budget(poorest, period, most_nusd=ask.most_nusd, free_nusd=free)
        if len(word.open_ids) + len(self._holding) >= MAX_HOLDS:
            return too_many_holds()
        return self._hold(ask, tuple((one, at) for one, at, _ in chosen))

    def _hold(self, ask: Ask, parts: tuple[Part, ...]) -> BudgetHeld:
        self._holding[ask.hold_id] = (ask.most_nusd, parts)
        self._mine.add(ask.hold_id)
        return BudgetHeld(
            hold_id=ask.hold_id,
            parts=tuple(BudgetPart(budget=named(one), period=at) for one, at in parts),
            amount_nusd=ask.most_nusd,
            until_ms=max(0, ask.until_ms),
            about=ask.about,
        )

    def _best(self, book: Budgets, group: Group, now_ms: int) -> tuple[Budget, int, int]:
        """(budget, period, free) of the one with most."""
        at = [(one, period_at(one, now_ms)) for one in group]
        found = [(one, period, self.free(book, one, period)) for one, period in at]
        return max(found, key=lambda one: (one[2], one[0]))

    def begin(self, book: Budgets, hold_id: str) -> bool:
        """Whether what was held for may be asked for now: this process holds it, it is on disk,
        and nobody began it. Said once."""
        one = book.word(self._me).holds.get(hold_id)
        ready = one is not None and one.is_open and hold_id in self._mine
        if not ready or hold_id in self._begun or hold_id in self._ending:
            return False
        self._begun.add(hold_id)
        return True

    # After it

    def settle(
        self, book: Budgets, hold_id: str, cost_nusd: int, basis: str = "measured"
    ) -> BudgetSettled | None:
        """It cost this, be it more than was held; None where an end was said already."""
        if not self._ends(book, hold_id):
            return None
        return BudgetSettled(hold_id=hold_id, cost_nusd=max(0, cost_nusd), basis=basis)

    def release(self, book: Budgets, hold_id: str, why: str) -> BudgetReleased | None:
        """It is proved that nothing was bought; None where an end was said already."""
        return BudgetReleased(hold_id=hold_id, why=why) if self._ends(book, hold_id) else None

    def adjust(self, book: Budgets, hold_id: str, cost_nusd: int) -> BudgetAdjusted | None:
        """By its invoice it cost this in all; None where the ledger says so already, or knows no
        such hold any more."""
        one = book.word(self._me).holds.get(hold_id)
        cost = max(0, cost_nusd)
        if one is None or one.is_open or _is_known(one, cost):
            return None
        return BudgetAdjusted(hold_id=hold_id, cost_nusd=cost)

    def lapsed(self, book: Budgets, now_ms: int) -> list[str]:
        """Holds past their time that this process made and knows it never used: to be released.
        Those of a process before are never among them, whatever the clock says."""
        holds = book.word(self._me).holds
        return sorted(
            one
            for one in self._open(book)
            if one in self._mine and one not in self._begun and holds[one].until_ms <= now_ms
        )

    def doubtful(self, book: Budgets) -> list[str]:
        """Holds a process before left open: each may have been spent. The provider is asked; then
        they are settled, or released on proved absence. Where nobody can be asked they are settled
        at what was held, estimated; until then they stay held."""
        return sorted(one for one in self._open(book) if one not in self._mine)

    def _open(self, book: Budgets) -> set[str]:
        return book.word(self._me).open_ids - self._ending

    def _ends(self, book: Budgets, hold_id: str) -> bool:
        """Note that an end is said; False where there is nothing to end."""
        if hold_id not in book.word(self._me).open_ids or hold_id in self._ending:
            return False
        self._ending.add(hold_id)
        return True

    # Gifts

    def give(
        self, book: Budgets, give_id: str, budget: Budget, to: str, amount_nusd: int, *,
        first: int, last: int,
    ) -> BudgetGiven | Refusal:  # fmt: skip
        """Give another peer so much in each of some periods: the fact to write. It leaves this
        purse now, and is nobody's until it is taken. ValueError for no amount, this peer itself,
        or an id that is used."""
        used = give_id in self._giving or give_id in book.word(self._me).gives
        if not 0 < amount_nusd <= MOST_NUSD or to == self._me or used or first > last:
            raise ValueError(f"nothing can be given as {give_id}")
        self._tidy(book)
        free = book.least(self._me, budget, first, last) - self._leaving(book, budget, first, last)
        if free < amount_nusd:
            return over_budget(budget, first, most_nusd=amount_nusd, free_nusd=free)
        made = BudgetGiven(
            give_id=give_id,
            budget=named(budget),
            to=to,
            amount_nusd=amount_nusd,
            first=first,
            last=last,
        )
        self._giving[give_id] = made
        return made

    # What became of what was said

    def unwritten(self, said: Said) -> None:
        """A fact is surely not in the ledger, and will not be: its disk was full. Where that is
        not sure nothing is called, and the money stays deducted."""
        if isinstance(said, BudgetHeld):
            self._holding.pop(said.hold_id, None)
            self._mine.discard(said.hold_id)
        elif isinstance(said, BudgetGiven):
            self._giving.pop(said.give_id, None)
        else:
            self._ending.discard(said.hold_id)

    def _tidy(self, book: Budgets) -> None:
        """Forget what the ledger tells by now."""
        word = book.word(self._me)
        for hold_id in [one for one in self._holding if one in word.holds]:
            del self._holding[hold_id]
        for give_id in [one for one in self._giving if one in word.gives]:
            del self._giving[give_id]
        over = {one for one in self._mine | self._ending if one not in word.open_ids}
        over -= self._holding.keys()
        self._mine -= over
        self._begun -= over
        self._ending -= over


def _of_owned(
    book: Budgets, groups: list[Group], now_ms: int
) -> tuple[Refusal | None, list[Group]]:
    """Why owned work stops, None where it goes on; and the groups that count what it costs."""
    policies = [(group, policy(book, group, now_ms)) for group in groups]
    stops = (used_up_by(book, group, now_ms) for group, one in policies if one == CLOUD_STOP)
    stopped = next((one for one in stops if one is not None), None)
    return stopped, [group for group, one in policies if one == ALL]


def _is_known(one: Hold, cost_nusd: int) -> bool:
    end = one.end
    return end is not None and end.cost_nusd == cost_nusd and end.rank == ADJUSTED


def _strange(groups: Iterable[Group], now_ms: int) -> Budget:
    """The budget whose calendar is not known here."""
    for one in (one for group in groups for one in group):
        try:
            period_at(one, now_ms)
        except ValueError:
            return one
    raise AssertionError("every calendar is known")
