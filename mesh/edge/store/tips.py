"""Where each author's events end, kept in memory so that a reconnect need not ask the disk."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Mapping, Set
from typing import Final

from mesh.edge.store import siblings
from mesh.edge.store.branches import Branches
from mesh.edge.store.rows import Rows
from mesh.ledger.codec import MAX_INT
from mesh.ledger.event import NO_PREV
from mesh.sync.manifest import DIGEST_BYTES, Tip

# What the tip of a shattered author says, whichever siblings are here.
SHATTERED: Final = b"fleet-ledger/shattered/1\0"


class Tips:
    """Every author's tip; loaded at first use, then told of each event."""

    def __init__(self, db: sqlite3.Connection, rows: Rows) -> None:
        self._db: Final = db
        self._rows: Final = rows
        self._branches: Final = Branches(db)
        self._tips: dict[str, Tip] | None = None
        self._forked: dict[str, int] | None = None
        self._shattered: dict[str, int] | None = None
        self._named: Final[dict[str, set[str]]] = {}  # wanted events here, of shattered authors
        self._stale: Final[set[str]] = set()  # forked authors whose tip must be read again
        self.wanted: frozenset[str] = frozenset()

    def forget(self) -> None:
        """The transaction failed: read everything again."""
        self._tips = self._forked = self._shattered = None
        self._branches.forget()
        self._named.clear()
        self._stale.clear()

    def want(self, hashes: Set[str]) -> None:
        """The events that statements name are others now; tips of shattered authors may move."""
        if hashes == self.wanted:
            return
        self.wanted = frozenset(hashes)
        self._named.clear()
        if self._tips is not None:
            self._stale.update(self.shattered)

    @property
    def forked(self) -> Mapping[str, int]:
        """Authors who signed two histories, and the lowest seq where they did."""
        return self._forks()

    @property
    def shattered(self) -> Mapping[str, int]:
        """Authors with all the siblings we keep at a seq, and the lowest such seq."""
        return self._broken()

    def moved(self, author: str, seq: int, digest: str) -> None:
        """An event was stored."""
        if author in self._forks():
            self._branches.moved(self._rows.number(author), seq)
            if author in self._named and digest in self.wanted:
                self._named[author].add(digest)
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

    def shatter(self, author: str, seq: int) -> None:
        """The last sibling there is room for was stored."""
        known = self._broken()
        known[author] = min(seq, known.get(author, seq))
        self._named.pop(author, None)
        if self._tips is not None:
            self._stale.add(author)

    @property
    def ready(self) -> bool:
        """Whether `all` need not ask the disk."""
        return self._tips is not None and not self._stale

    def all(self) -> Mapping[str, Tip]:
        """Every author's tip. The events must be in their table."""
        if self._tips is None:
            keys = self._db.execute("SELECT key FROM authors").fetchall()
            self._tips = {}
            self._stale.update(key.hex() for (key,) in keys if isinstance(key, bytes))
        for author in self._stale:
            tip = self.until(author, MAX_INT)
            if tip is not None:
                self._tips[author] = tip
        self._stale.clear()
        return self._tips

    def until(self, author: str, last: int) -> Tip | None:
        """An author's tip as if nothing past `last` were here; None for no events."""
        number = self._rows.number(author)
        fork, broken = self._forks().get(author, 0), self._broken().get(author, 0)
        if broken and broken <= last:
            return self._of_shattered(author, number, fork, broken)
        row = self._db.execute(
            "SELECT seq, hash FROM events WHERE author = ? AND seq <= ? ORDER BY seq DESC LIMIT 1",
            (number, last),
        ).fetchone()
        if row is None:
            return None
        seq, digest = row
        if not fork or seq < fork:
            return Tip(int(seq), digest.hex())
        return Tip(int(seq), self._branches.hash(number, fork, int(seq)), fork)

    def _of_shattered(self, author: str, number: int, fork: int, seq: int) -> Tip:
        """What came before, and what statements name of the rest: the same on every peer."""
        total = hashlib.blake2b(SHATTERED, digest_size=DIGEST_BYTES)
        before = self._branches.hash(number, fork, seq - 1) if fork < seq else NO_PREV
        total.update(bytes.fromhex(before))
        for digest in sorted(self._wanted_of(author, number, seq)):
            total.update(bytes.fromhex(digest))
        return Tip(seq, total.hexdigest(), fork)

    def _wanted_of(self, author: str, number: int, seq: int) -> set[str]:
        """The wanted events that are here from a seq on; looked for once."""
        if author not in self._named:
            query = "SELECT hash FROM events WHERE author = ? AND seq >= ?"
            hashes = {digest.hex() for (digest,) in self._db.execute(query, (number, seq))}
            self._named[author] = hashes.intersection(self.wanted)
        return self._named[author]

    def _forks(self) -> dict[str, int]:
        if self._forked is None:
            query = "SELECT author, MIN(seq) FROM forks GROUP BY author"
            self._forked = {self._rows.name(a): seq for a, seq in self._db.execute(query)}
        return self._forked

    def _broken(self) -> dict[str, int]:
        if self._shattered is None:
            found = siblings.shattered(self._db)
            self._shattered = {self._rows.name(author): seq for author, seq in found.items()}
        return self._shattered
