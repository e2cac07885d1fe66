"""Events that wait for their predecessor: few, for a while, and never in anybody's way.

Nothing depends on what waits here: a neighbour that has it sends it again, with its predecessors.
So when there is no room the oldest goes, whoever sent it, and the newest is always taken.
"""

from __future__ import annotations

import sqlite3
from typing import Final

from mesh.ledger import gate

# An honest peer is behind by one sync round; 256 of ours are 128 KiB, and 256 of the largest
# 16 MiB, so a flood costs little.
MAX_HELD_PER_AUTHOR: Final = 256
# Over all authors: at most 256 MiB on disk.
MAX_HELD: Final = 4096

Envelope = tuple[bytes, bytes]  # signature, body


class Held:
    """The events that wait, inside the transactions of the ledger's writer."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db: Final = db
        self._counts: dict[str, int] | None = None  # by author

    def forget(self) -> None:
        """The transaction failed: ask the disk again."""
        self._counts = None

    def waits(self, author: str) -> bool:
        """Whether events of an author wait."""
        return author in self._all()

    def put(self, waiting: gate.Hold, sig: bytes, body: bytes) -> None:
        """Let an event wait; the oldest makes room for it."""
        event = waiting.event
        counts = self._all()
        added = self._db.execute(
            "INSERT OR IGNORE INTO held (author, seq, hash, body, sig) VALUES (?, ?, ?, ?, ?)",
            (event.author, event.seq, bytes.fromhex(waiting.hash), body, sig),
        ).rowcount
        counts[event.author] = counts.get(event.author, 0) + added
        if counts[event.author] > MAX_HELD_PER_AUTHOR:
            self._drop_oldest("WHERE author = ?", event.author)
        if sum(counts.values()) > MAX_HELD:
            self._drop_oldest("")

    def take(self, author: str, seq: int) -> list[Envelope]:
        """The events of an author that wait at a seq; they wait no more."""
        found = self._db.execute(
            "DELETE FROM held WHERE author = ? AND seq = ? RETURNING sig, body", (author, seq)
        ).fetchall()
        self._less(author, len(found))
        return found

    def passed(self, author: str, seq: int) -> None:
        """An author's main line has come to `seq`: what it left far behind waits for nothing."""
        if self.waits(author):
            gone = self._db.execute(
                "DELETE FROM held WHERE author = ? AND seq <= ?",
                (author, seq - MAX_HELD_PER_AUTHOR),
            ).rowcount
            self._less(author, gone)

    def tidy(self) -> None:
        """Drop what is stored by now, and what is beyond the limits; for the start."""
        self._db.execute(
            "DELETE FROM held WHERE EXISTS (SELECT 1 FROM authors a JOIN events e"
            " ON e.author = a.id AND e.seq = held.seq AND e.hash = held.hash"
            " WHERE lower(hex(a.key)) = held.author)"
        )
        self._counts = None
        for author, count in list(self._all().items()):
            for _ in range(count - MAX_HELD_PER_AUTHOR):
                self._drop_oldest("WHERE author = ?", author)
        while sum(self._all().values()) > MAX_HELD:
            self._drop_oldest("")

    def _drop_oldest(self, where: str, *values: str) -> None:
        row = self._db.execute(
            f"DELETE FROM held WHERE arrival = (SELECT MIN(arrival) FROM held {where})"
            " RETURNING author",
            values,
        ).fetchall()
        for (author,) in row:
            self._less(author, 1)

    def _less(self, author: str, count: int) -> None:
        counts = self._all()
        left = counts.get(author, 0) - count
        if left > 0:
            counts[author] = left
        else:
            counts.pop(author, None)

    def _all(self) -> dict[str, int]:
        if self._counts is None:
            rows = self._db.execute("SELECT author, COUNT(*) FROM held GROUP BY author")
            self._counts = dict(rows.fetchall())
        return self._counts
