"""Where each author's events end, kept in memory so that a reconnect need not ask the disk."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from typing import Final

from mesh.ledger.codec import MAX_INT
from mesh.sync.manifest import Tip, branches_hash

# Steps from author to author along the index: as many look-ups as authors, however many events.
_AUTHORS: Final = """
WITH RECURSIVE found(author) AS (
  SELECT MIN(author) FROM events
  UNION ALL
  SELECT (SELECT MIN(author) FROM events WHERE author > found.author) FROM found
  WHERE found.author IS NOT NULL)
SELECT author FROM found WHERE author IS NOT NULL
"""


class Tips:
    """Every author's tip; loaded at first use, then told of each event."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db: Final = db
        self._tips: dict[str, Tip] | None = None
        self._forked: dict[str, int] | None = None
        self._stale: Final[set[str]] = set()  # forked authors whose tip must be read again

    def forget(self) -> None:
        """The transaction failed: read everything again."""
        self._tips = self._forked = None
        self._stale.clear()

    @property
    def forked(self) -> Mapping[str, int]:
        """Authors who signed two histories, and the lowest seq where they did."""
        return self._forks()

    def moved(self, author: str, seq: int, digest: str) -> None:
        """An event was stored."""
        if self._tips is None:
            return
        if author in self._forks():
            self._stale.add(author)
        else:
            self._tips[author] = Tip(seq, digest)

    def forks(self, author: str, seq: int) -> None:
        """An event was stored beside the main line."""
        known = self._forks()
        known[author] = min(seq, known.get(author, seq))

    @property
    def ready(self) -> bool:
        """Whether `all` need not ask the disk."""
        return self._tips is not None and not self._stale

    def all(self) -> Mapping[str, Tip]:
        """Every author's tip. The events must be in their table."""
        if self._tips is None:
            authors = [author for (author,) in self._db.execute(_AUTHORS).fetchall()]
            self._tips = {}
            self._stale.update(authors)
        for author in self._stale:
            tip = self.until(author, MAX_INT)
            if tip is not None:
                self._tips[author] = tip
        self._stale.clear()
        return self._tips

    def _forks(self) -> dict[str, int]:
        if self._forked is None:
            rows = self._db.execute("SELECT author, MIN(seq) FROM forks GROUP BY author")
            self._forked = dict(rows.fetchall())
        return self._forked

    def until(self, author: str, last: int) -> Tip | None:
        """An author's tip as if nothing past `last` were here; None for no events."""
        fork = self._forks().get(author, 0)
        row = self._db.execute(
            "SELECT seq, hash FROM events WHERE author = ? AND seq <= ? ORDER BY seq DESC LIMIT 1",
            (author, last),
        ).fetchone()
        if row is None:
            return None
        seq, digest = row
        if not fork or seq < fork:
            return Tip(int(seq), str(digest))
        rows = self._db.execute(
            "SELECT hash FROM events WHERE author = ? AND seq BETWEEN ? AND ?", (author, fork, last)
        )
        return Tip(int(seq), branches_hash([one for (one,) in rows]), fork)
