"""The segment documents on disk: open ones grow by changes, full ones are sealed once."""

from __future__ import annotations

import sqlite3
from collections.abc import Container
from itertools import groupby
from typing import Final

from mesh.edge.disk import StoreError
from mesh.ledger import document

# Open segments kept live, about a megabyte each; others are loaded again when they grow.
MAX_LIVE_SEGMENTS: Final = 32

_Entry = tuple[int, bytes, bytes]  # seq, signature, body


class Documents:
    """Carries the events of each author's main line; events wait in memory for `flush`."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db: Final = db
        self._live: Final[dict[str, tuple[int, document.Segment]]] = {}
        self._pending: Final[dict[str, list[_Entry]]] = {}

    def forget(self) -> None:
        """The transaction failed: drop what is not on disk."""
        self._live.clear()
        self._pending.clear()

    def carry(self, author: str, seq: int, sig: bytes, body: bytes) -> None:
        """Remember the next event of an author's main line."""
        self._pending.setdefault(author, []).append((seq, sig, body))

    def flush(self, forked: Container[str]) -> None:
        """Write the remembered events into their segments."""
        for author, entries in self._pending.items():
            for number, group in groupby(entries, lambda entry: document.segment_of(entry[0])):
                part = list(group)
                if part[-1][0] % document.SEGMENT_EVENTS:
                    self._grow(author, number, part)
                else:
                    self._seal(author, number, part, forked=author in forked)
        self._pending.clear()

    def segment(self, author: str, number: int) -> document.Segment:
        """The live segment of an author, from memory or from its increments."""
        found = self._live.pop(author, None)
        if found is None or found[0] != number:
            rows = self._db.execute(
                "SELECT change FROM increments WHERE author = ? ORDER BY seq", (author,)
            ).fetchall()
            try:
                found = (number, document.Segment(author, b"".join(row[0] for row in rows)))
            except (document.DocumentError, TypeError) as error:
                raise _damaged(author, number, error) from error
        self._live[author] = found
        if len(self._live) > MAX_LIVE_SEGMENTS:
            del self._live[next(iter(self._live))]
        return found[1]

    def _grow(self, author: str, number: int, part: list[_Entry]) -> None:
        try:
            changes = self.segment(author, number).extend(part)
        except document.DocumentError as error:  # our own document, whoever sent the events
            raise _damaged(author, number, error) from error
        self._db.executemany(
            "INSERT INTO increments VALUES (?, ?, ?)",
            [(author, entry[0], change) for entry, change in zip(part, changes, strict=True)],
        )

    def _seal(self, author: str, number: int, part: list[_Entry], *, forked: bool) -> None:
        if len(part) < document.SEGMENT_EVENTS:
            part = self._main_line(author, number * document.SEGMENT_EVENTS + 1, forked=forked)
        blob = document.sealed(author, part)
        self._db.execute("INSERT INTO segments VALUES (?, ?, ?)", (author, number, blob))
        self._db.execute("DELETE FROM increments WHERE author = ?", (author,))
        self._live.pop(author, None)

    def _main_line(self, author: str, first: int, *, forked: bool) -> list[_Entry]:
        """A whole segment's events from their table, branches left out."""
        query = "SELECT seq, sig, body FROM events WHERE author = ? AND seq BETWEEN ? AND ?"
        if forked:
            query += (
                " AND NOT EXISTS (SELECT 1 FROM forks WHERE author = events.author"
                " AND seq = events.seq AND hash = events.hash)"
            )
        last = first + document.SEGMENT_EVENTS - 1
        return self._db.execute(f"{query} ORDER BY seq", (author, first, last)).fetchall()


def _damaged(author: str, number: int, error: Exception) -> StoreError:
    text = f"segment {number} of author {author[:16]} is damaged: {error}"
    return StoreError(text, "run: fleet verify")
