"""Deliberately broken budgets: each must be caught, or the simulation could not see it."""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any
from unittest.mock import patch

from mesh.policy.budgets.spender import Spender
from mesh.policy.budgets.values import Group
from mesh.state.budgets import budget as budget_module
from mesh.state.budgets import word as word_module
from mesh.state.budgets.budget import Budget
from mesh.state.budgets.budgets import Budgets
from mesh.state.budgets.entries import ADJUSTED, SETTLED, Cap, End, Hold, Money, Move
from mesh.state.budgets.word import Range, Word
from mesh.state.facts.budget import FLEET, BudgetReleased, BudgetSettled
from tests.simulation.budgets.peer import Peer

Broken = contextlib.AbstractContextManager[object]


def together(*many: Broken) -> Broken:
    """Several patches as one."""
    stack = contextlib.ExitStack()
    for one in many:
        stack.enter_context(one)
    return stack


def called_before_disk() -> Broken:
    """The provider is asked while the hold is on its way to the disk."""

    def begin(self: Spender, book: Budgets, hold_id: str) -> bool:
        if hold_id not in self._mine or hold_id in self._begun or hold_id in self._ending:
            return False
        self._begun.add(hold_id)
        return True

    return patch.object(Spender, "begin", begin)


def checked_now_deducted_when_written() -> Broken:
    """Until a hold is in the ledger all others pass the check."""
    return patch.object(Spender, "_leaving", lambda *_: 0)


def settled_again() -> Broken:
    """An answer that comes twice is paid twice."""
    real = Word.end

    def ends(self: Spender, book: Budgets, hold_id: str) -> bool:
        return hold_id in book.word(self._me).open_ids

    def end(self: Word, hold_id: str, said: End) -> None:
        one = self.holds.get(hold_id)
        if one is not None and not one.is_open and said.rank == SETTLED:
            for part in one.parts:
                self.tallies[part].spent_nusd += said.cost_nusd
        real(self, hold_id, said)

    return together(patch.object(Spender, "_ends", ends), patch.object(Word, "end", end))


def adjusted_again() -> Broken:
    """Each reading of an invoice takes the difference off once more."""
    real = Word.end

    def end(self: Word, hold_id: str, said: End) -> None:
        one = self.holds.get(hold_id)
        known = one.end if one is not None else None
        if one is not None and known is not None and {said.rank, known.rank} == {ADJUSTED}:
            for part in one.parts:
                self.tallies[part].spent_nusd += said.cost_nusd - one.amount_nusd
        real(self, hold_id, said)

    known = patch("mesh.policy.budgets.spender._is_known", lambda *_: False)
    return together(known, patch.object(Word, "end", end))


def taken_again() -> Broken:
    """A gift is taken each time that it is heard of."""

    def take(self: Word, giver: str, give_id: str, move: Move) -> None:
        self.takes[giver, f"{give_id}+{move.key[3]}"] = move

    return patch.object(Word, "take", take)


def only_the_inner_budgets() -> Broken:
    """The fleet's own budget is not looked at."""
    real = Spender._best

    def best(self: Spender, book: Budgets, group: Group, now_ms: int) -> tuple[Budget, int, int]:
        one, period, free = real(self, book, group, now_ms)
        return one, period, 10**15 if one.scope == FLEET else free

    return patch.object(Spender, "_best", best)


def released_by_the_clock() -> Broken:
    """After a crash, holds past their time are taken for unused."""

    def lapsed(self: Spender, book: Budgets, now_ms: int) -> list[str]:
        holds = book.word(self._me).holds
        return sorted(one for one in self._open(book) if holds[one].until_ms <= now_ms)

    def lapse(self: Peer) -> None:
        for hold_id in self.spender.lapsed(self.book, self.world.now):
            self.say(self.spender.release(self.book, hold_id, "lapsed"))

    return together(patch.object(Spender, "lapsed", lapsed), patch.object(Peer, "lapse", lapse))


def forgotten_at_restart() -> Broken:
    """A new process lets go of all that the one before held."""
    real = Peer.wake

    def wake(self: Peer) -> None:
        real(self)
        for hold_id in sorted(self.asks):
            self.say(self.spender.release(self.book, hold_id, "restart"))

    return patch.object(Peer, "wake", wake)


def cap_by_own_view() -> Broken:
    """Each peer compares the cap with what itself spent."""

    def free(self: Spender, book: Budgets, budget: Budget, period: int) -> int:
        cap, money = book.cap(budget, period), book.money(self._me, budget, period)
        known = 0 if cap is None else cap.amount_nusd
        return known - money.held - money.spent - self._leaving(book, budget, period, period)

    return patch.object(Spender, "free", free)


def new_cap_voids_gifts() -> Broken:
    """A new cap is believed to take back what was given under the old one."""
    real = Word.cap

    def cap(self: Word, budget: Budget, span: Range, said: Cap) -> None:
        if span in self.caps.get(budget, {}):
            self.gives = {name: one for name, one in self.gives.items() if one.budget != budget}
        real(self, budget, span, said)

    return patch.object(Word, "cap", cap)


def lost_answers_cost_nothing() -> Broken:
    """Where the answer was lost it is taken that nothing was bought."""
    real = Spender.settle

    def settle(
        self: Spender, book: Budgets, hold_id: str, cost_nusd: int, basis: str = "measured"
    ) -> BudgetSettled | BudgetReleased | None:
        made = real(self, book, hold_id, cost_nusd, basis)
        lost = made is not None and int(hold_id.strip("er")) % 3 == 0
        return BudgetReleased(hold_id=hold_id, why="lost") if lost else made

    return patch.object(Spender, "settle", settle)


def gifts_stay_until_taken() -> Broken:
    """The giver may spend a gift as long as nobody took it."""
    real = Budgets.money

    def money(self: Budgets, author: str, budget: Budget, period: int) -> Money:
        found = real(self, author, budget, period)
        left = sum(
            one.amount_nusd
            for name, one in self.word(author).gives.items()
            if one.covers(budget, period) and (author, name) not in self.word(one.peer).takes
        )
        return found._replace(given=found.given - left)

    return patch.object(Budgets, "money", money)


def books_what_was_held() -> Broken:
    """What was held is what it cost."""
    return patch.object(
        Hold, "spent_nusd", property(lambda self: 0 if self.end is None else self.amount_nusd)
    )


def days_of_utc() -> Broken:
    """Every budget's days are UTC's."""
    real = budget_module._zone
    return patch.object(budget_module, "_zone", lambda _: real(""))


def slices_leave_once() -> Broken:
    """A standing slice leaves its giver in the first of its periods alone."""
    real = word_module._moved

    def moved(moves: Any, budget: Budget, period: int) -> int:
        begun = {
            name: replace(one, last=one.first) if isinstance(name, str) else one
            for name, one in moves.items()
        }
        return real(begun, budget, period)

    return patch.object(word_module, "_moved", moved)


def held_in_one_budget() -> Broken:
    """A hold is deducted in the innermost budget alone."""
    real = Word.hold

    def hold(self: Word, hold_id: str, one: Hold) -> None:
        real(self, hold_id, replace(one, parts=one.parts[-1:]))

    return patch.object(Word, "hold", hold)


def cents_lost_in_floats() -> Broken:
    """Sums of money are floats."""

    def moved(moves: Any, budget: Budget, period: int) -> int:
        those = [one.amount_nusd / 1e9 for one in moves.values() if one.covers(budget, period)]
        return int(sum(those) * 1e9)

    return patch.object(word_module, "_moved", moved)


def gifts_of_anybody() -> Broken:
    """A gift is taken whatever its giver had."""
    return patch("mesh.policy.budgets.shares.overdrew", lambda *_: frozenset())


def believes_forged_takes() -> Broken:
    """Who says that it took something has it."""
    return patch(
        "mesh.policy.budgets.shares.proved", lambda book, one: list(book.word(one).takes.values())
    )


MUTANTS: dict[str, Callable[[], Broken]] = {
    one.__name__: one
    for one in (
        called_before_disk,
        checked_now_deducted_when_written,
        settled_again,
        adjusted_again,
        taken_again,
        only_the_inner_budgets,
        released_by_the_clock,
        forgotten_at_restart,
        cap_by_own_view,
        new_cap_voids_gifts,
        lost_answers_cost_nothing,
        gifts_stay_until_taken,
        books_what_was_held,
        days_of_utc,
        slices_leave_once,
        held_in_one_budget,
        cents_lost_in_floats,
        gifts_of_anybody,
        believes_forged_takes,
    )
}


@contextlib.contextmanager
def broken(name: str) -> Iterator[None]:
    """Within it, the code is broken in one way; "" in none."""
    with MUTANTS[name]() if name else contextlib.nullcontext():
        yield
