"""How many events of one author are kept at one seq, and which are kept beyond that.

Whoever has a key can sign as many events at one seq as it likes. With MAX_SIBLINGS of them kept the
author is shattered: nothing more of it is taken from that seq on, and its tip says no more than
that, so peers that were sent different siblings agree. What a statement of a member names, and what
leads to that, is taken all the same: it is how a fleet says which branch is the good one.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Set
from typing import Final

from mesh.ledger import codec, ids

# A disk copied twice makes three; more are an attack on everyone's disk.
MAX_SIBLINGS: Final = 16
# Events that were offered and not taken, remembered by hash and predecessor: 15 MB. As many may lie
# between where an author shattered and the event that a statement names.
MAX_TRAIL: Final = 65_536


class Trails:
    """Which events of shattered authors lead to wanted ones, also over several batches.

    A wanted event comes last, after all that leads to it: that is known once it was offered, and
    taken when it is offered again.
    """

    def __init__(self) -> None:
        self._before: Final[dict[str, str]] = {}  # by hash: the hash of the event before it

    def offer(self, envelopes: Iterable[tuple[bytes, bytes]]) -> None:
        """Remember what follows what; the oldest makes room."""
        self._before.update((ids.event_hash(body), _prev(body)) for _, body in envelopes)
        while len(self._before) > MAX_TRAIL:
            del self._before[next(iter(self._before))]

    def leading(self, wanted: Set[str]) -> frozenset[str]:
        """The hashes that lead to a wanted one. As many steps as are remembered, at most."""
        found: set[str] = set()
        for digest in self._before.keys() & wanted:
            while digest in self._before and digest not in found:
                found.add(digest)
                digest = self._before[digest]
        return frozenset(found)


def shattered(db: sqlite3.Connection) -> dict[int, int]:
    """The lowest seq with all the siblings we keep, by the author's number, where there is one."""
    found: dict[int, int] = {}
    crowded = db.execute(
        "SELECT author, seq FROM forks GROUP BY author, seq HAVING COUNT(*) >= ? ORDER BY seq DESC",
        (MAX_SIBLINGS - 1,),  # that of the main line is no branch
    )
    for author, seq in crowded.fetchall():
        query = "SELECT COUNT(*) FROM events WHERE author = ? AND seq = ?"
        if db.execute(query, (author, seq)).fetchone()[0] >= MAX_SIBLINGS:
            found[author] = seq
    return found


def _prev(body: bytes) -> str:
    try:
        return str(codec.decode(body).get("prev", ""))
    except codec.DecodeError:
        return ""
