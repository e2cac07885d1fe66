"""Requests, accounts and rentals as one part of the state: which event goes where."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, final

from mesh.ledger.event import Event
from mesh.state.facts.fact import decode
from mesh.state.facts.rental import EVENTS, OF_RENTAL, AccountTaken
from mesh.state.rentals.account import MAX_ID, Account
from mesh.state.rentals.rental import Rental
from mesh.state.rentals.requests import Request, Requests

# A fleet has a few; one author may speak of so many.
MAX_ACCOUNTS: Final = 64
TYPES: Final = frozenset(EVENTS)

AccountKey = tuple[str, str]  # (provider, account)


@final
@dataclass(slots=True)
class Rentals:
    """Everything the ledger knows of rented machines."""

    accounts: dict[AccountKey, Account] = field(default_factory=dict)
    named: dict[str, set[AccountKey]] = field(default_factory=dict)  # by author
    requests: Requests = field(default_factory=Requests)

    def take(self, event: Event) -> bool:
        """Fold one event in; False where it is of no type that is known here."""
        kind = event.event_type
        if kind == "rental_requested":
            self.requests.ask(event)
        elif kind == "request_ended":
            self.requests.end(event)
        elif kind == "account_taken":
            fact = decode(AccountTaken, event.payload)
            account = self._account(event, (fact.provider, fact.account))
            if account is not None:
                account.take(event, fact)
        elif kind in OF_RENTAL:
            self._step(event)
        return kind in TYPES

    def _step(self, event: Event) -> None:
        fact = decode(OF_RENTAL[event.event_type], event.payload)
        account = self._account(event, (fact.provider, fact.account))
        if account is not None:
            account.add(event, fact)

    def _account(self, event: Event, key: AccountKey) -> Account | None:
        named = self.named.setdefault(event.author, set())
        if key not in named:
            if len(named) >= MAX_ACCOUNTS or not all(0 < len(one) <= MAX_ID for one in key):
                return None
            named.add(key)
        return self.accounts.setdefault(key, Account(*key))

    def drop(self, author: str) -> None:
        """Forget what an author said."""
        self.requests.drop(author)
        for key in self.named.pop(author, ()):
            self.accounts[key].drop(author)
            if not any(key in those for those in self.named.values()):
                del self.accounts[key]

    def account(self, provider: str, account: str) -> Account:
        """One account; an empty one where nothing was said of it."""
        return self.accounts.get((provider, account)) or Account(provider, account)

    def every(self) -> Iterator[Rental]:
        """All rentals whose intent or machine is known."""
        for account in self.accounts.values():
            yield from (one for one in account.rentals.values() if one.state)

    def at(self, provider: str) -> Iterator[Rental]:
        """Those of `every` at one provider, whatever account they were rented with."""
        return (one for one in self.every() if one.provider == provider)

    def wanted(self, provider: str, account: str) -> list[Request]:
        """The requests of one account that are not over, by id."""
        found = self.requests.views.values()
        mine = [one for one in found if (one.provider, one.account) == (provider, account)]
        return sorted((one for one in mine if not one.over), key=lambda one: one.request_id)

    def believed(self) -> list[object]:
        """All that is true of rentals, for the digest of a state."""
        accounts = [
            (key, one.owner, sorted(one.spent.items()), _told(one))
            for key, one in sorted(self.accounts.items())
        ]
        return [accounts, sorted(self.requests.views.items())]


def _told(account: Account) -> list[object]:
    known = sorted(account.rentals.items())
    return [
        (key, one.state, one.why, one.over, one.instance_id, one.meter, one.invoiced_nusd)
        for key, one in known
    ]
