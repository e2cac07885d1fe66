"""Reading a ledger without a daemon: also a read-only one, also a damaged one."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mesh.edge.disk import StoreError, explained
from mesh.edge.store import schema
from mesh.edge.store.rows import PAGE_ROWS, Row, Rows, damaged
from mesh.ledger.event import Event

if TYPE_CHECKING:
    from mesh.edge.store.reports import VerifyReport


class Shelf:
    """What can be read from an open ledger."""

    def __init__(self, home: Path, db: sqlite3.Connection) -> None:
        self.home: Final = home
        self._db: Final = db
        self._rows: Final = Rows(db)
        # Another thread's transaction is not yet true; readers of this connection wait for it.
        self._mutex: Final = threading.RLock()

    def events(self, after: int = 0, limit: int | None = None) -> Iterator[tuple[int, Event]]:
        """(cursor, event) in arrival order past `after`; StoreError at a damaged one."""
        left = limit
        while left is None or left > 0:
            size = PAGE_ROWS if left is None else min(PAGE_ROWS, left)
            with self._mutex, explained("cannot read the ledger"):
                rows = self._rows.after(after, size)
            yield from self._events(rows)
            if len(rows) < size:
                return
            after = rows[-1].cursor
            left = None if left is None else left - len(rows)

    def ordered(self, until: int | None = None) -> Iterator[Event]:
        """Every event in total order, a page in memory; StoreError at a damaged one.

        With `until`, those up to that cursor alone: what came by then never changes, so this is
        one moment's view that holds up no writer and pins no log of the database.
        """
        pages = self._rows.ordered()
        while True:
            with self._mutex, explained("cannot read the ledger"):
                rows = next(pages, None)
            if rows is None:
                return
            if until is not None:
                rows = [row for row in rows if row.cursor <= until]
            for start in range(0, len(rows), PAGE_ROWS):
                for _, event in self._events(rows[start : start + PAGE_ROWS]):
                    yield event

    def _events(self, rows: list[Row]) -> Iterator[tuple[int, Event]]:
        """The events of some rows; before a damaged one, those that are sound."""
        try:
            with self._mutex, explained("cannot read the ledger"):
                whole = self._rows.whole(rows)
        except StoreError:
            if len(rows) == 1:
                raise
            for row in rows:
                yield from self._events([row])
            return
        for row, (sig, body) in zip(rows, whole, strict=True):
            yield row.cursor, _event(row.cursor, sig, body)

    def of_author(self, author: str, until: int) -> Iterator[Event]:
        """One author's events up to a cursor, in the order of its chain, a page in memory."""
        every = self._rows.of_author(author)
        while True:
            with self._mutex, explained("cannot read the ledger"):
                page = list(islice(every, PAGE_ROWS))
            for row, (sig, body) in page:
                if row.cursor <= until:
                    yield _event(row.cursor, sig, body)
            if len(page) < PAGE_ROWS:
                return

    def last_ms_of(self, author: str) -> int:
        """Hybrid time of an author's last event, 0 for none."""
        with self._mutex, explained("cannot read the ledger"):
            return self._rows.last_ms(author)

    def has(self, author: str, seq: int, digest: str) -> bool:
        """Whether exactly this event is here."""
        with self._mutex, explained("cannot read the ledger"):
            return self._rows.has(author, seq, digest)

    def last_cursor(self) -> int:
        """The newest event's cursor, 0 for none."""
        return self._number("SELECT COALESCE(MAX(cursor), 0) FROM events")

    def count(self) -> int:
        """How many events the ledger holds."""
        return self._number("SELECT COUNT(*) FROM events")

    def last_ms(self) -> int:
        """Hybrid time of the latest event, 0 for none."""
        return self._number("SELECT COALESCE(MAX(hlc_ms), 0) FROM events")

    def authors(self) -> frozenset[str]:
        """Whose events the ledger holds, as keys in hex."""
        query = (
            "SELECT key FROM authors a WHERE EXISTS (SELECT 1 FROM events e WHERE e.author = a.id)"
        )
        with self._mutex, explained("cannot read the ledger"):
            return frozenset(bytes(key).hex() for (key,) in self._db.execute(query))

    def verify(self, *, every: bool = False) -> VerifyReport:
        """Re-check every byte; never raises over what it finds.

        Signatures of full segments that were checked before are not, but for `every`.
        """
        from mesh.edge.store.verify import verify

        return verify(self._db, self.home, every=every)

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

    def _number(self, query: str) -> int:
        with self._mutex, explained("cannot read the ledger"):
            return int(self._db.execute(query).fetchone()[0])


class Reader(Shelf):
    """A ledger opened for reading only."""

    @classmethod
    def open(cls, home: Path) -> Reader:
        """Open what is there, of any format we know; a missing ledger is a StoreError."""
        path = home / schema.DATABASE
        with explained(f"cannot read the ledger in {home}"):
            if path.is_dir():
                raise StoreError(f"{path} is a folder, and no ledger", schema.INSTEAD)
            if not path.is_file():
                raise StoreError(f"no ledger in {home}", "run: fleet up")
            return cls(home, schema.read_only(path))


def _event(cursor: int, sig: bytes, body: bytes) -> Event:
    """The event of a row; its signature was checked when it came in."""
    from mesh.ledger.record import Fault, parse_record

    event = parse_record(body, sig)
    if isinstance(event, Fault):
        raise damaged(cursor)
    return event
