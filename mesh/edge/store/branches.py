"""One hash over every event of a forked author from the fork on, however long its branches are.

A tree of two levels: events by the stretch their seq lies in, sorted within it; then the stretches
in order. One event more means one stretch read again, so a long chain costs as little as a short
one.
"""

from __future__ import annotations

import hashlib
import sqlite3
from typing import Final

from mesh.sync.manifest import DIGEST_BYTES, branches_hash

# Seqs to a stretch: reading one again takes 0.2 ms, and a chain of a million has 4,000 hashes of
# stretches, which take as long.
STRETCH: Final = 256


class Branches:
    """Hashes of stretches, kept in memory; authors are numbers here."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db: Final = db
        # By author and stretch: its first and last seq that count, and their hash.
        self._known: Final[dict[int, dict[int, tuple[int, int, bytes]]]] = {}

    def forget(self) -> None:
        """The transaction failed."""
        self._known.clear()

    def moved(self, author: int, seq: int) -> None:
        """An event was stored at a seq."""
        self._known.get(author, {}).pop(seq // STRETCH, None)

    def hash(self, author: int, fork: int, last: int) -> str:
        """Over all events from `fork` to `last`. They must be in their table."""
        known = self._known.setdefault(author, {})
        total = hashlib.blake2b(digest_size=DIGEST_BYTES)
        for stretch in range(fork // STRETCH, last // STRETCH + 1):
            first = max(stretch * STRETCH, fork)
            end = min(stretch * STRETCH + STRETCH - 1, last)
            found = known.get(stretch)
            if found is None or found[:2] != (first, end):
                known[stretch] = found = (first, end, self._read(author, first, end))
            total.update(found[2])
        return total.hexdigest()

    def _read(self, author: int, first: int, last: int) -> bytes:
        rows = self._db.execute(
            "SELECT hash FROM events WHERE author = ? AND seq BETWEEN ? AND ?",
            (author, first, last),
        ).fetchall()
        return bytes.fromhex(branches_hash([digest.hex() for (digest,) in rows]))
