"""One account at one provider: who rents with it, and all its rentals."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, final

from mesh.ledger.event import Event
from mesh.state.facts.rental import AccountTaken, OfAccount, OfRental
from mesh.state.rentals.life import add, has_room, refold
from mesh.state.rentals.rental import MAX_MS, Rental, Step
from mesh.state.rentals.terms import ABSENT, DAY_MS

# Of one author: rentals that it was the first to speak of. Older ones that ended are sums by then.
MAX_RENTALS: Final = 2048
MAX_PEERS: Final = 64  # that one author gave the account to
MAX_EPOCH: Final = 99_999  # five digits of a label; of a higher one nobody could take it back
MAX_ID: Final = 200  # characters of a rental's id, ours have 40 and a twin's its machine's too
NOBODY: Final = (0, "")


@final
@dataclass(slots=True)
class Account:
    """What the ledger knows of one; `add` and `drop` are the only writers."""

    provider: str
    account: str
    given: dict[str, dict[str, int]] = field(default_factory=dict)  # author -> peer -> epoch
    rentals: dict[str, Rental] = field(default_factory=dict)
    firsts: dict[str, str] = field(default_factory=dict)  # rental -> who spoke of it first
    open_ids: set[str] = field(default_factory=set)
    spent: dict[int, int] = field(default_factory=dict)  # UTC day -> of rentals that are no more
    owner: tuple[int, str] = NOBODY  # (epoch, peer)

    def open(self) -> Iterator[Rental]:
        """Those about which something is yet to be done, by id."""
        return (self.rentals[one] for one in sorted(self.open_ids))

    def may_rent(self, peer: str) -> bool:
        """Whether a peer ever had it."""
        return any(peer in peers for peers in self.given.values())

    def gave(self, me: str, peer: str) -> bool:
        """Whether a peer is `me`, or `me` gave it the account: another's word that somebody had it
        is no reason to spend money."""
        return peer == me or peer in self.given.get(me, {})

    def take(self, event: Event, fact: AccountTaken) -> None:
        """Somebody gives it to a peer, or takes it."""
        given = self.given.setdefault(event.author, {})
        known = given.get(fact.peer)
        if not is_taken(fact):
            return
        if known is None and len(given) >= MAX_PEERS:
            return
        knew = self.may_rent(fact.peer)
        given[fact.peer] = max(fact.epoch, known or 0)
        self._settle(fact.peer if not knew else "")

    def add(self, event: Event, fact: OfRental) -> None:
        """One step of a rental's life."""
        one = self.rentals.get(fact.rental_id)
        if not fits(fact):
            return
        if one is None:
            if not self._make_room(event.author):
                return
            one = Rental(fact.rental_id, self.provider, self.account)
            self.rentals[one.rental_id] = one
            self.firsts[one.rental_id] = event.author
        if has_room(one, event.author):
            add(one, step_of(event, fact), self.may_rent)
            self._sort(one)

    def drop(self, author: str) -> None:
        """Forget what an author said."""
        gave = self.given.pop(author, {})
        for rental_id, one in list(self.rentals.items()):
            left = [step for step in one.steps if step.author != author]
            if len(left) < len(one.steps) or gave:
                one.steps = left
                self._again(one)
            if left:
                self.firsts[rental_id] = left[0].author
            else:
                del self.rentals[rental_id]
                del self.firsts[rental_id]
                self.open_ids.discard(rental_id)
        self._settle("")

    def _settle(self, newcomer: str) -> None:
        """Who has it follows from all that was said; what a newcomer said before now counts."""
        said = [(epoch, peer) for peers in self.given.values() for peer, epoch in peers.items()]
        self.owner = max(said, default=NOBODY)
        for one in self.rentals.values() if newcomer else ():
            if any(step.author == newcomer for step in one.steps):
                self._again(one)

    def _again(self, one: Rental) -> None:
        refold(one, self.may_rent)
        self._sort(one)

    def _sort(self, one: Rental) -> None:
        if one.is_open:
            self.open_ids.add(one.rental_id)
        else:
            self.open_ids.discard(one.rental_id)

    def _make_room(self, author: str) -> bool:
        """Let the oldest rental go that ended, of an author that made as many as may stay."""
        mine = [one for one, first in self.firsts.items() if first == author]
        if len(mine) < MAX_RENTALS:
            return True
        ended = [self.rentals[one] for one in mine if not self.rentals[one].is_open]
        if not ended:
            return False
        last = min(ended, key=lambda one: (one.made_ms, one.rental_id))
        if last.state == ABSENT:
            day = last.since_ms // DAY_MS
            self.spent[day] = self.spent.get(day, 0) + last.cost_nusd(last.since_ms)
        del self.rentals[last.rental_id]
        del self.firsts[last.rental_id]
        return True


def is_account(fact: OfAccount) -> bool:
    """Whether there can be such an account."""
    return all(0 < len(one) <= MAX_ID for one in (fact.provider, fact.account))


def is_taken(fact: AccountTaken) -> bool:
    """Whether a peer can be given an account by it."""
    return 0 < fact.epoch <= MAX_EPOCH and len(fact.peer) <= MAX_ID


def fits(fact: OfRental) -> bool:
    """Whether there can be such a step of a rental."""
    return 0 < len(fact.rental_id) <= MAX_ID and max(fact.turn, fact.at_ms) <= MAX_MS


def step_of(event: Event, fact: OfRental) -> Step:
    """An event as its rental sees it."""
    return Step(
        turn=fact.turn,
        at_ms=fact.at_ms,
        author=event.author,
        seq=event.seq,
        id=event.id,
        kind=event.event_type,
        payload=event.payload,
    )
