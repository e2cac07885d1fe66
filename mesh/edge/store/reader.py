"""Reading a ledger without a daemon: also a read-only one, also a damaged one."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mesh.edge.disk import StoreError, explained
from mesh.edge.store import schema
from mesh.ledger.codec import MAX_INT
from mesh.ledger.event import Event

if TYPE_CHECKING:
    from mesh.edge.store.reports import VerifyReport

# Rows fetched at a time: bounded memory, and no read transaction left open between pages.
PAGE_ROWS: Final = 512

_IN_ORDER: Final = (
    "SELECT cursor, body, sig, hlc_ms, hlc_counter, author, seq, id FROM events"
    " WHERE (hlc_ms, hlc_counter, author, seq, id) > (?, ?, ?, ?, ?) AND cursor <= ?"
    " ORDER BY hlc_ms, hlc_counter, author, seq, id LIMIT ?"
)
_OF_AUTHOR: Final = (
    "SELECT cursor, body, sig, seq, hash FROM events"
    " WHERE author = ? AND (seq, hash) > (?, ?) AND cursor <= ? ORDER BY seq, hash LIMIT ?"
)


class Shelf:
    """What can be read from an open ledger."""

    def __init__(self, home: Path, db: sqlite3.Connection) -> None:
        self.home: Final = home
        self._db: Final = db
        # Another thread's transaction is not yet true; readers of this connection wait for it.
        self._mutex: Final = threading.RLock()

    def events(self, after: int = 0, limit: int | None = None) -> Iterator[tuple[int, Event]]:
        """(cursor, event) in arrival order past `after`; StoreError at a damaged one."""
        left = limit
        while left is None or left > 0:
            size = PAGE_ROWS if left is None else min(PAGE_ROWS, left)
            rows = self._rows(after, size)
            for cursor, body, sig in rows:
                yield cursor, _event(cursor, body, sig)
            if len(rows) < size:
                return
            after = rows[-1][0]
            left = None if left is None else left - len(rows)

    def ordered(self, until: int | None = None) -> Iterator[Event]:
        """Every event in total order, one page in memory; StoreError at a damaged one.

        With `until`, those up to that cursor alone: what came by then never changes, so this is
        one moment's view that holds up no writer and pins no log of the database.
        """
        at: tuple[object, ...] = (-1, 0, "", 0, "")
        until = MAX_INT if until is None else until
        while True:
            with self._mutex, explained("cannot read the ledger"):
                rows = self._db.execute(_IN_ORDER, (*at, until, PAGE_ROWS)).fetchall()
            for cursor, body, sig, *_ in rows:
                yield _event(cursor, body, sig)
            if len(rows) < PAGE_ROWS:
                return
            at = rows[-1][3:]

    def of_author(self, author: str, until: int) -> Iterator[Event]:
        """One author's events up to a cursor, in the order of its chain, a page in memory."""
        at: tuple[object, ...] = (-1, "")
        while True:
            with self._mutex, explained("cannot read the ledger"):
                rows = self._db.execute(_OF_AUTHOR, (author, *at, until, PAGE_ROWS)).fetchall()
            for cursor, body, sig, *_ in rows:
                yield _event(cursor, body, sig)
            if len(rows) < PAGE_ROWS:
                return
            at = rows[-1][3:]

    def has(self, author: str, seq: int, digest: str) -> bool:
        """Whether exactly this event is here."""
        query = "SELECT 1 FROM events WHERE author = ? AND seq = ? AND hash = ?"
        with self._mutex, explained("cannot read the ledger"):
            return self._db.execute(query, (author, seq, digest)).fetchone() is not None

    def last_cursor(self) -> int:
        """The newest event's cursor, 0 for none."""
        return self._number("SELECT COALESCE(MAX(cursor), 0) FROM events")

    def count(self) -> int:
        """How many events the ledger holds."""
        return self._number("SELECT COUNT(*) FROM events")

    def last_ms(self) -> int:
        """Hybrid time of the latest event, 0 for none."""
        return self._number("SELECT COALESCE(MAX(hlc_ms), 0) FROM events")

    def verify(self) -> VerifyReport:
        """Re-check every byte; never raises over what it finds."""
        from mesh.edge.store.verify import verify

        return verify(self._db)

    def export(self, path: Path) -> int:
        """Write every event in total order as JSON Lines; returns how many."""
        from mesh.edge.store.transfer import export

        return export(self._db, path)

    def get_checkpoint(self) -> tuple[int, bytes] | None:
        """The state snapshot kept last, as (cursor, blob)."""
        with self._mutex, explained("cannot read the ledger"):
            row = self._db.execute("SELECT cursor, state FROM checkpoints").fetchone()
        return None if row is None else (int(row[0]), bytes(row[1]))

    def close(self) -> None:
        """Let go of the database."""
        self._db.close()

    def _rows(self, after: int, size: int) -> list[tuple[int, object, object]]:
        with self._mutex, explained("cannot read the ledger"):
            return self._db.execute(
                "SELECT cursor, body, sig FROM events WHERE cursor > ? ORDER BY cursor LIMIT ?",
                (after, size),
            ).fetchall()

    def _number(self, query: str) -> int:
        with self._mutex, explained("cannot read the ledger"):
            return int(self._db.execute(query).fetchone()[0])


class Reader(Shelf):
    """A ledger opened for reading only."""

    @classmethod
    def open(cls, home: Path) -> Reader:
        """Open what is there; a missing ledger is a StoreError."""
        path = home / schema.DATABASE
        with explained(f"cannot read the ledger in {home}"):
            if not path.is_file():
                raise StoreError(f"no ledger in {home}", "run: fleet up")
            try:
                db = _probe(path, "ro")
            except sqlite3.OperationalError:
                # In a folder we cannot write, SQLite cannot make its shared-memory file.
                db = _probe(path, "immutable")
        return cls(home, db)


def _probe(path: Path, mode: str) -> sqlite3.Connection:
    """Open and read once: SQLite reports an unreadable file at the first read."""
    db = schema.connect(path, mode)
    try:
        schema.check_format(schema.format_of(db))
        db.execute("SELECT 1 FROM events LIMIT 1").fetchone()
    except (sqlite3.Error, StoreError, UnicodeDecodeError):
        db.close()
        raise
    return db


def _event(cursor: int, body: object, sig: object) -> Event:
    """The event of a row; its signature was checked when it came in."""
    from mesh.ledger.record import Fault, parse_record

    if isinstance(body, bytes) and isinstance(sig, bytes):
        event = parse_record(body, sig)
        if not isinstance(event, Fault):
            return event
    raise StoreError(f"event {cursor} is damaged", "run: fleet verify")
