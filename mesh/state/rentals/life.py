"""A rental's events in the order of their turns, folded; late ones have it folded again.

Who may say what is judged here: whoever had the account at any time, and a helper where the rental
is over for everybody.
"""

from __future__ import annotations

from bisect import insort
from collections import Counter
from collections.abc import Callable
from dataclasses import fields
from typing import Final

from mesh.state.facts.fact import decode
from mesh.state.facts.rental import OF_RENTAL, OfRental, OrphanFound
from mesh.state.rentals.applying import APPLY
from mesh.state.rentals.rental import Rental, Step, may_help
from mesh.state.rentals.terms import GRACE_MS

# Of one author about one rental: the first so many are read. A machine that changes at every poll
# of a day makes some six thousand; ours make about thirty.
MAX_STEPS: Final = 8192

ORPHAN_FOUND: Final = "orphan_found"

MayRent = Callable[[str], bool]  # whether a peer ever had the account


def add(one: Rental, step: Step, may_rent: MayRent) -> None:
    """Put an event in its place."""
    if one.steps and step < one.steps[-1]:
        insort(one.steps, step)
        refold(one, may_rent)
    else:
        one.steps.append(step)
        _take(one, step, may_rent)


def has_room(one: Rental, author: str) -> bool:
    """Whether another event of an author is read."""
    if len(one.steps) < MAX_STEPS:
        return True
    return Counter(step.author for step in one.steps)[author] < MAX_STEPS


def refold(one: Rental, may_rent: MayRent) -> None:
    """The rental anew from all its events."""
    blank = Rental(one.rental_id, one.provider, one.account, steps=one.steps)
    for each in fields(Rental):
        setattr(one, each.name, getattr(blank, each.name))
    for step in one.steps:
        _take(one, step, may_rent)


def _take(one: Rental, step: Step, may_rent: MayRent) -> None:
    if may_rent(step.author) or _helps(one, step):
        APPLY[step.kind](one, _read(step), step.author)


def _read(step: Step) -> OfRental:
    return decode(OF_RENTAL[step.kind], step.payload)


def _helps(one: Rental, step: Step) -> bool:
    """What somebody without the account may say: of a rental that is over, or that nobody knows.
    What does not count is not even read: anybody may write thousands of such."""
    if one.state == "":
        fact = _read(step) if step.kind == ORPHAN_FOUND else None
        return isinstance(fact, OrphanFound) and fact.at_ms > fact.expires_ms + GRACE_MS
    return may_help(one, step.at_ms)
