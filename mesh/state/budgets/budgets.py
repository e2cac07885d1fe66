"""Every author's word on budgets as one part of the state: which event goes where."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final, final

from mesh.ledger.event import Event, order_key
from mesh.state.budgets.budget import MAX_SPAN, Budget, budget_of, is_range, is_sane
from mesh.state.budgets.entries import (
    ADJUSTED,
    MOST_NUSD,
    RELEASED,
    SETTLED,
    Cap,
    End,
    Hold,
    Money,
    Move,
    Part,
    Tally,
)
from mesh.state.budgets.word import Word
from mesh.state.facts import budget as facts
from mesh.state.facts.budget import CLOUD, EVENTS, JOB, KEY, OWNED
from mesh.state.facts.fact import decode
from mesh.state.jobs import Key

TYPES: Final = frozenset(EVENTS)
MAX_ID: Final = 120  # characters of an id of a hold or gift; ours have 40 at most
MAX_ABOUT: Final = 200
MAX_PARTS: Final = 16  # five scopes, by day, month and in total
# Caps of these may be said by whoever made the key or the job; of all others by admins alone.
ANYBODYS: Final = frozenset((KEY, JOB))


@final
@dataclass(slots=True)
class Budgets:
    """All that was said of budgets, by author. `take` and `drop` are the only writers."""

    words: dict[str, Word] = field(default_factory=dict)

    def take(self, event: Event, *, admin: bool) -> bool:
        """Fold one event in, after its author's earlier ones; False where it is of no type that
        is known here. `admin`: the author was one when it said so."""
        add = _ADD.get(event.event_type)
        if add is None:
            return False
        if event.event_type == "budget_cap_set" and not admin and not _is_anybodys(event):
            return True
        key = order_key(event)
        word = self.words.setdefault(event.author, Word())
        word.last_ms = max(word.last_ms, key[0])
        add(word, event, key)
        return True

    def drop(self, author: str) -> None:
        """Forget what an author said."""
        self.words.pop(author, None)

    def word(self, author: str) -> Word:
        """What one author said; an empty word where it said nothing. Not to be written to."""
        return self.words.get(author) or Word()

    def money(self, author: str, budget: Budget, period: int) -> Money:
        """One peer's purse in one period, as its own events say."""
        return self.word(author).money(budget, period, mine=author == budget.owner)

    def least(self, author: str, budget: Budget, first: int, last: int) -> int:
        """What is free in one peer's purse in the poorest of some periods."""
        return self.word(author).least(budget, first, last, mine=author == budget.owner)

    def cap(self, budget: Budget, period: int) -> Cap | None:
        """What its owner says of a period; None where it said nothing."""
        return self.word(budget.owner).cap_of(budget, period)

    def owned(self, budget: Budget, period: int) -> str:
        """What of owned work a budget is about."""
        cap = self.cap(budget, period)
        return CLOUD if cap is None else cap.owned

    def capped(self) -> Iterator[Budget]:
        """Every budget that has a cap in some period, in one order."""
        return iter(sorted({one for word in self.words.values() for one in word.caps}))

    def used(self, budget: Budget, period: int) -> tuple[int, int]:
        """(held, spent) of a budget in a period, over all purses."""
        tallies = [word.tallies.get((budget, period)) for word in self.words.values()]
        known = [one for one in tallies if one is not None]
        return sum(one.held_nusd for one in known), sum(one.spent_nusd for one in known)

    def believed(self) -> list[object]:
        """All that is true of budgets, for the digest of a state."""
        return [(author, _told(word)) for author, word in sorted(self.words.items())]


NOTHING: Final = Tally()


def _is_anybodys(event: Event) -> bool:
    return decode(facts.BudgetCapSet, event.payload).budget.scope in ANYBODYS


def _told(word: Word) -> list[object]:
    return [
        sorted((budget, sorted(ranges.items())) for budget, ranges in word.caps.items()),
        sorted(word.gives.items()),
        sorted(word.takes.items()),
        sorted((each, word.holds[each].amount_nusd) for each in word.open_ids),
        sorted((part, one) for part, one in word.tallies.items() if one != NOTHING),
    ]


def _cap(word: Word, event: Event, key: Key) -> None:
    fact = decode(facts.BudgetCapSet, event.payload)
    budget = budget_of(fact.budget)
    if budget.owner != event.author or not _is_fit(budget, fact.first, fact.last, fact.cap_nusd):
        return
    owned = fact.owned if fact.owned in OWNED else CLOUD
    said = Cap(
        amount_nusd=fact.cap_nusd,
        owned=owned,
        lifted=fact.lifted,
        key=key,
        top_nusd=fact.cap_nusd,
    )
    word.cap(budget, (fact.first, fact.last), said)


def _given(word: Word, event: Event, key: Key) -> None:
    fact = decode(facts.BudgetGiven, event.payload)
    budget = budget_of(fact.budget)
    if not _is_name(fact.give_id) or not _is_name(fact.to) or fact.to == event.author:
        return
    if _moves(budget, fact.first, fact.last, fact.amount_nusd):
        word.give(fact.give_id, Move(budget, fact.to, fact.amount_nusd, fact.first, fact.last, key))


def _taken(word: Word, event: Event, key: Key) -> None:
    fact = decode(facts.BudgetTaken, event.payload)
    budget = budget_of(fact.budget)
    if not _is_name(fact.give_id) or not _is_name(fact.giver) or fact.giver == event.author:
        return
    if _moves(budget, fact.first, fact.last, fact.amount_nusd):
        move = Move(budget, fact.giver, fact.amount_nusd, fact.first, fact.last, key)
        word.take(fact.giver, fact.give_id, move)


def _held(word: Word, event: Event, key: Key) -> None:
    fact = decode(facts.BudgetHeld, event.payload)
    parts = parts_of(fact)
    if parts and _is_name(fact.hold_id) and fact.amount_nusd <= MOST_NUSD:
        about = fact.about[:MAX_ABOUT]
        word.hold(fact.hold_id, Hold(parts, fact.amount_nusd, fact.until_ms, about, key))


def _settled(word: Word, event: Event, key: Key) -> None:
    fact = decode(facts.BudgetSettled, event.payload)
    _end(word, fact.hold_id, End(SETTLED, key, min(fact.cost_nusd, MOST_NUSD), fact.basis[:20]))


def _released(word: Word, event: Event, key: Key) -> None:
    _end(word, decode(facts.BudgetReleased, event.payload).hold_id, End(RELEASED, key, 0))


def _adjusted(word: Word, event: Event, key: Key) -> None:
    fact = decode(facts.BudgetAdjusted, event.payload)
    _end(word, fact.hold_id, End(ADJUSTED, key, min(fact.cost_nusd, MOST_NUSD), "invoiced"))


def _end(word: Word, hold_id: str, end: End) -> None:
    if _is_name(hold_id):
        word.end(hold_id, end)


_ADD: Final[dict[str, Callable[[Word, Event, Key], Any]]] = {
    "budget_cap_set": _cap,
    "budget_given": _given,
    "budget_taken": _taken,
    "budget_held": _held,
    "budget_settled": _settled,
    "budget_released": _released,
    "budget_adjusted": _adjusted,
}


def parts_of(fact: facts.BudgetHeld) -> tuple[Part, ...]:
    """The budgets and periods of a hold; none where one of them is not sane or there twice."""
    if not 0 < len(fact.parts) <= MAX_PARTS:
        return ()
    parts = tuple((budget_of(one.budget), one.period) for one in fact.parts)
    sane = all(is_sane(budget) and is_range(budget, at, at) for budget, at in parts)
    return parts if sane and len(set(parts)) == len(parts) else ()


def _is_fit(budget: Budget, first: int, last: int, nusd: int) -> bool:
    return is_sane(budget) and is_range(budget, first, last) and nusd <= MOST_NUSD


def _moves(budget: Budget, first: int, last: int, nusd: int) -> bool:
    return _is_fit(budget, first, last, nusd) and last - first < MAX_SPAN


def _is_name(text: str) -> bool:
    return 0 < len(text) <= MAX_ID
