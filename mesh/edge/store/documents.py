"""Where bodies go: open ones into their rows and the document that carries them, full segments
into one blob.

The Automerge document is what neighbours exchange the last few events by; a full segment needs
none, they get it as batches.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Container
from itertools import groupby
from typing import Final

from mesh.edge.disk import StoreError
from mesh.edge.store.rows import Row, Rows
from mesh.edge.store.sealed.pack import Envelope, pack
from mesh.edge.store.sealed.shelf import digest_of
from mesh.ledger import codec, document

# Open segments kept live, about a megabyte each; others are loaded again when they grow.
MAX_LIVE_SEGMENTS: Final = 32

_Entry = tuple[int, int, bytes, bytes]  # seq, cursor, signature, body


class Documents:
    """Carries the events of each author's main line; events wait in memory for `flush`."""

    def __init__(self, db: sqlite3.Connection, rows: Rows) -> None:
        self._db: Final = db
        self._rows: Final = rows
        self._live: Final[dict[str, tuple[int, document.Segment]]] = {}
        self._pending: Final[dict[str, list[_Entry]]] = {}
        self._beside: Final[list[tuple[int, bytes, bytes]]] = []  # of other branches

    def forget(self) -> None:
        """The transaction failed: drop what is not on disk."""
        self._live.clear()
        self._pending.clear()
        self._beside.clear()

    def carry(self, author: str, seq: int, cursor: int, sig: bytes, body: bytes) -> None:
        """Remember the next event of an author's main line."""
        self._pending.setdefault(author, []).append((seq, cursor, sig, body))

    def keep(self, cursor: int, sig: bytes, body: bytes) -> None:
        """Remember an event that no segment holds."""
        self._beside.append((cursor, sig, body))

    def flush(self, forked: Container[str]) -> None:
        """Write the remembered events into their segments. Their rows are in the table."""
        self._open(self._beside)
        for author, entries in self._pending.items():
            for number, group in groupby(entries, lambda entry: document.segment_of(entry[0])):
                part = list(group)
                if part[-1][0] % document.SEGMENT_EVENTS:
                    self._grow(author, number, part)
                else:
                    self._seal(author, number, part, forked=author in forked)
        self._pending.clear()
        self._beside.clear()

    def segment(self, author: str, number: int) -> document.Segment:
        """The live segment of an author, from memory or from its increments."""
        found = self._live.pop(author, None)
        if found is None or found[0] != number:
            rows = self._db.execute(
                "SELECT change FROM increments WHERE author = ? ORDER BY seq",
                (self._rows.number(author),),
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
            told = [(seq, sig, body) for seq, _, sig, body in part]
            changes = self.segment(author, number).extend(told)
        except document.DocumentError as error:  # our own document, whoever sent the events
            raise _damaged(author, number, error) from error
        self._db.executemany(
            "INSERT INTO increments VALUES (?, ?, ?)",
            [
                (self._rows.number(author), entry[0], change)
                for entry, change in zip(part, changes, strict=True)
            ],
        )
        self._open([entry[1:] for entry in part])

    def _open(self, entries: list[tuple[int, bytes, bytes]]) -> None:
        self._db.executemany("INSERT INTO open_bodies VALUES (?, ?, ?)", entries)

    def _seal(self, author: str, number: int, part: list[_Entry], *, forked: bool) -> None:
        """Pack a segment that is full now, and drop what its events had until then."""
        first, key = number * document.SEGMENT_EVENTS + 1, self._rows.number(author)
        before: list[Envelope] = []
        if len(part) < document.SEGMENT_EVENTS:
            rows = self.main_line(author, first, part[0][0] - 1, forked=forked)
            before = self._rows.whole(rows)
            gone = [(row.cursor,) for row in rows]
            self._db.executemany("DELETE FROM open_bodies WHERE cursor = ?", gone)
            self._db.execute("DELETE FROM increments WHERE author = ?", (key,))
        self._live.pop(author, None)
        self._put(author, number, [*before, *(entry[2:] for entry in part)])

    def _put(self, author: str, number: int, events: list[Envelope]) -> None:
        if len(events) != document.SEGMENT_EVENTS:
            raise _damaged(author, number, ValueError(f"it has {len(events)} events"))
        blob = pack(author, number, str(codec.decode(events[0][1])["prev"]), events)
        self._db.execute(
            "INSERT INTO segments VALUES (?, ?, ?, ?)",
            (self._rows.number(author), number, digest_of(blob), blob),
        )

    def main_line(self, author: str, first: int, last: int, *, forked: bool) -> list[Row]:
        """Rows of an author's main line, branches left out."""
        query = (
            "SELECT e.cursor, e.author, e.seq, e.hlc_ms, e.hlc_counter, e.hash, o.sig, o.body"
            " FROM events e LEFT JOIN open_bodies o ON o.cursor = e.cursor"
            " WHERE e.author = ? AND e.seq BETWEEN ? AND ?"
        )
        if forked:
            query += (
                " AND NOT EXISTS (SELECT 1 FROM forks WHERE author = e.author"
                " AND seq = e.seq AND hash = e.hash)"
            )
        values = (self._rows.number(author), first, last)
        return list(map(Row._make, self._db.execute(f"{query} ORDER BY e.seq", values).fetchall()))


def _damaged(author: str, number: int, error: Exception) -> StoreError:
    text = f"segment {number} of author {author[:16]} is damaged: {error}"
    return StoreError(text, "run: fleet verify")
