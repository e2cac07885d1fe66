"""Rented machines as bills know them: every event of a rental, kept for ever, and what follows.

The state lets the oldest rentals of an author go; what they cost stays in the bill. Which rentals
something new was said of is written down with it, so that each is folded once, however much that
was, and after a crash too.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from typing import Final, final

import msgspec

from mesh.api.rentals.rows import host_name
from mesh.ledger.event import Event, order_key
from mesh.state.facts.fact import decode
from mesh.state.facts.rental import OF_RENTAL, AccountTaken
from mesh.state.peer_id import peer_id
from mesh.state.rentals.account import fits, is_account, is_taken, step_of
from mesh.state.rentals.life import MAX_STEPS, refold
from mesh.state.rentals.rental import Rental, Step
from mesh.state.runs.making import machine_row
from mesh.state.runs.rows import MachineRow

TAKEN: Final = "account_taken"
BATCH: Final = 200  # rentals folded in a transaction: some 0.1 s
NONE: Final = b""  # of a rental that costs nothing
_ENCODE: Final = msgspec.msgpack.Encoder().encode

Host = tuple[str, str]  # who rents it, and what its machine is called among that peer's hosts


@final
class Machines:
    """Of all authors, within a transaction of the caller's. `mark` is told which device's lines may
    have changed; `by_ms`: as known then."""

    def __init__(
        self,
        db: sqlite3.Connection,
        number: Callable[[str], int],
        mark: Callable[[str], None],
        by_ms: int,
    ) -> None:
        self._db: Final = db
        self._number: Final = number
        self._mark: Final = mark
        self._by_ms: Final = by_ms

    # What was said

    def take(self, event: Event) -> None:
        """Keep what an event says of an account or a rental."""
        if event.event_type == TAKEN:
            self._taken(event)
        elif event.event_type in OF_RENTAL:
            self._step(event)

    def _taken(self, event: Event) -> None:
        fact = decode(AccountTaken, event.payload)
        if not (is_account(fact) and is_taken(fact)):
            return
        told = fact.provider, fact.account, fact.peer, self._number(event.author)
        query = "SELECT 1 FROM takers WHERE provider = ? AND account = ? AND peer = ?"
        knew = self._db.execute(query, told[:3]).fetchone()
        query = "INSERT OR IGNORE INTO takers VALUES (?, ?, ?, ?, ?)"
        self._db.execute(query, (*told, order_key(event)[0]))
        if knew is None:  # what a newcomer said before counts now
            self._turn(*told[:2])

    def _step(self, event: Event) -> None:
        fact = decode(OF_RENTAL[event.event_type], event.payload)
        if not (is_account(fact) and fits(fact)):
            return
        rental, told_ms = (fact.provider, fact.account, fact.rental_id), order_key(event)[0]
        author = self._number(event.author)
        query = """SELECT COUNT(*) FROM steps
            WHERE provider = ? AND account = ? AND rental = ? AND author = ?"""
        if self._db.execute(query, (*rental, author)).fetchone()[0] >= MAX_STEPS:
            return
        step = _ENCODE(step_of(event, fact))
        query = "INSERT OR REPLACE INTO steps VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
        self._db.execute(query, (*rental, author, event.seq, event.id, told_ms, step))
        query = """INSERT INTO machines VALUES (?1, ?2, ?3, ?4, 1, '', ?5)
            ON CONFLICT (provider, account, rental)
            DO UPDATE SET told = max(told, ?4), turned = 1"""
        self._db.execute(query, (*rental, told_ms, NONE))

    def drop(self, author: str) -> None:
        """An author's word is about to be forgotten."""
        number = self._number(author)
        query = "SELECT DISTINCT provider, account FROM takers WHERE author = ?"
        for provider, account in self._db.execute(query, (number,)).fetchall():
            self._turn(str(provider), str(account))
        query = """UPDATE machines SET turned = 1 WHERE (provider, account, rental) IN
            (SELECT provider, account, rental FROM steps WHERE author = ?)"""
        self._db.execute(query, (number,))

    def _turn(self, provider: str, account: str) -> None:
        query = "UPDATE machines SET turned = 1 WHERE provider = ? AND account = ?"
        self._db.execute(query, (provider, account))

    # What follows

    def settle(self) -> bool:
        """Fold some of the rentals of which something new was said; False where there are none."""
        query = "SELECT provider, account, rental, host, row FROM machines WHERE turned = 1 LIMIT ?"
        turned = self._db.execute(query, (BATCH,)).fetchall()
        for provider, account, rental, old_host, old in turned:
            host, row = self._folded(str(provider), str(account), str(rental))
            blob = NONE if row is None else _ENCODE(row)
            if (host, blob) != (old_host, old):
                before = None if old == NONE else _decode(old)
                for name, one in ((str(old_host), before), (host, row)):
                    for device in () if one is None else called(one.author, name):
                        self._mark(device)
            query = """UPDATE machines SET turned = 0, host = ?, row = ?
                WHERE provider = ? AND account = ? AND rental = ?"""
            self._db.execute(query, (host, blob, provider, account, rental))
        return bool(turned)

    def known(self) -> dict[Host, list[MachineRow]]:
        """All that cost something."""
        found: dict[Host, list[MachineRow]] = {}
        query = "SELECT provider, account FROM takers GROUP BY 1, 2 HAVING MAX(told) > ?"
        late = set(self._db.execute(query, (self._by_ms,)).fetchall())
        query = """SELECT provider, account, rental, told, host, row FROM machines
            ORDER BY provider, account, rental"""
        for provider, account, rental, told, host, blob in self._db.execute(query).fetchall():
            row = None if blob == NONE else _decode(blob)
            if told > self._by_ms or (provider, account) in late:
                host, row = self._folded(provider, account, rental)
            if row is not None:
                found.setdefault((row.author, str(host)), []).append(row)
        return found

    def _folded(self, provider: str, account: str, rental: str) -> tuple[str, MachineRow | None]:
        """What its machine is called, and what it cost."""
        query = """SELECT row FROM steps
            WHERE provider = ? AND account = ? AND rental = ? AND told <= ?"""
        blobs = self._db.execute(query, (provider, account, rental, self._by_ms)).fetchall()
        steps = sorted(msgspec.msgpack.decode(blob, type=Step) for (blob,) in blobs)
        one = Rental(rental, provider, account, steps=steps)
        refold(one, self._takers(provider, account).__contains__)
        return host_name(one), machine_row(one)

    def _takers(self, provider: str, account: str) -> set[str]:
        """Who ever had an account."""
        query = "SELECT peer FROM takers WHERE provider = ? AND account = ? AND told <= ?"
        found = self._db.execute(query, (provider, account, self._by_ms))
        return {str(peer) for (peer,) in found}

    def names(self) -> frozenset[str]:
        """What bills call machines, of those that were let go of long ago as well."""
        query = "SELECT host, row FROM machines WHERE row != ?"
        rows = self._db.execute(query, (NONE,)).fetchall()
        return frozenset(
            name for host, blob in rows for name in called(_decode(blob).author, str(host))
        )


def called(author: str, host: str) -> Sequence[str]:
    """How a bill may name somebody's machine: the longer where another has one of that name."""
    return host, f"{host}@{peer_id(author)[:7]}"


def _decode(blob: bytes) -> MachineRow:
    return msgspec.msgpack.decode(blob, type=MachineRow)
