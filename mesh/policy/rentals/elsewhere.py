"""Several keys of one account: each is an account of the ledger's, and each lists the same
machines. A rental stays in the account that it was made in."""

from __future__ import annotations

from collections.abc import Iterable, Set
from typing import Final

from mesh.state.rentals.rentals import AccountKey, Rentals
from providers.rental.contract import Row
from providers.rental.labels import read_any

# Why what was found without its intent is closed: it is another account's rental.
ELSEWHERE: Final = "another_account"


def known_elsewhere(rentals: Rentals, account: AccountKey, held: Set[AccountKey]) -> frozenset[str]:
    """Rentals that other accounts of the provider account for: those that are open, and of accounts
    that are worked on here (`held`) those that ended, too, for a listing may lag behind the one
    that proved it."""
    return frozenset(
        one.rental_id
        for one in rentals.at(account[0])
        if one.account != account[1] and one.author
        if one.is_open or (one.provider, one.account) in held
    )


def former_accounts(
    rentals: Rentals, account: AccountKey, rows: Iterable[Row], names: tuple[str, ...], me: str
) -> frozenset[AccountKey]:
    """Other accounts of the provider whose open rentals, by `me`, are listed with this one's key
    under their labels: it opens what theirs opened."""
    labels = [read_any(names, row.label) for row in rows]
    listed = {label[0] for label in labels if label is not None}
    return frozenset(
        (one.provider, one.account)
        for one in rentals.at(account[0])
        if one.account != account[1] and one.is_open and one.author == me
        if one.rental_id in listed
    )
