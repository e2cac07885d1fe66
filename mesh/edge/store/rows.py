"""Reading events: what a row of the ledger says, and where its signature and body are."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Final, NamedTuple

from mesh.edge.disk import StoreError
from mesh.edge.store.sealed import pack
from mesh.edge.store.sealed.pack import Envelope, Segment
from mesh.edge.store.sealed.shelf import Sealed
from mesh.ledger.ids import event_id
from mesh.sync.archive import Page

# Rows fetched at a time: bounded memory, and no read transaction left open between pages.
PAGE_ROWS: Final = 512
# In total order the segments of all who write take turns: a page reads each of them once.
ORDERED_ROWS: Final = 4096

_NOTHING: Final[Envelope] = (b"", b"")

_ROWS: Final = (
    "SELECT e.cursor, e.author, e.seq, e.hlc_ms, e.hlc_counter, e.hash, o.sig, o.body"
    " FROM events e LEFT JOIN open_bodies o ON o.cursor = e.cursor"
)


class Row(NamedTuple):
    """One event's row; `sig` and `body` are None where its segment is sealed."""

    cursor: int
    author: int
    seq: int
    ms: int
    counter: int
    hash: bytes
    sig: bytes | None
    body: bytes | None


class Rows:
    """Reads the events of an open ledger. Its caller holds the connection."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db: Final = db
        self.sealed: Final = Sealed(db)
        self._names: Final[dict[int, str]] = {}
        self._numbers: Final[dict[str, int]] = {}

    def number(self, author: str) -> int:
        """The number an author (hex) has in the tables; 0 for one that has none."""
        if author not in self._numbers:
            row = self._db.execute(
                "SELECT id FROM authors WHERE key = ?", (_key(author),)
            ).fetchone()
            if row is None:
                return 0
            self._numbers[author] = int(row[0])
        return self._numbers[author]

    def name(self, number: int) -> str:
        """The author (hex) that a number stands for; "" for none."""
        if number not in self._names:
            row = self._db.execute("SELECT key FROM authors WHERE id = ?", (number,)).fetchone()
            if row is None or not isinstance(row[0], bytes):
                return ""
            self._names[number] = row[0].hex()
        return self._names[number]

    def forget(self) -> None:
        """A transaction failed: the authors it brought are not on disk."""
        self._names.clear()
        self._numbers.clear()

    def after(self, cursor: int, size: int) -> list[Row]:
        """The next rows in arrival order, with what is open of them."""
        query = f"{_ROWS} WHERE e.cursor > ? ORDER BY e.cursor LIMIT ?"
        return list(map(Row._make, self._db.execute(query, (cursor, size)).fetchall()))

    def whole(self, rows: Sequence[Row]) -> list[Envelope]:
        """(sig, body) of each row; StoreError at one that has none, or a damaged one."""
        found: list[Envelope] = []
        sealed: dict[tuple[int, int], list[int]] = {}
        for at, (cursor, author, seq, _, _, _, sig, body) in enumerate(rows):
            if sig is None and body is None:
                sealed.setdefault((author, (seq - 1) // pack.SEGMENT_EVENTS), []).append(at)
                found.append(_NOTHING)
            elif isinstance(sig, bytes) and isinstance(body, bytes):
                found.append((sig, body))
            else:
                raise damaged(cursor)
        for key, places in sealed.items():  # each segment is unpacked once
            self._fill(found, rows, self.sealed.events(*key), places)
        return found

    @staticmethod
    def _fill(
        found: list[Envelope], rows: Sequence[Row], segment: Segment | None, places: list[int]
    ) -> None:
        for at in places:
            row = rows[at]
            place = (row.seq - 1) % pack.SEGMENT_EVENTS
            if segment is None or segment.hashes[place] != row.hash.hex():
                raise damaged(row.cursor)
            found[at] = segment.envelopes[place]

    def ordered(self) -> Iterator[list[Row]]:
        """All rows in total order, page by page.

        Rows of one instant are sorted here, because numbers of authors are in no order: there are
        few of them, and never more than one author can sign at one instant in all its branches.
        """
        at: tuple[int, int, int] = (-1, 0, 0)
        instant: list[Row] = []
        while True:
            rows = self._in_time(at)
            instant += rows
            if len(rows) < ORDERED_ROWS:
                yield self._sorted(instant)
                return
            last = rows[-1]
            at = (last.ms, last.counter, last.cursor)
            done = [row for row in instant if (row.ms, row.counter) != at[:2]]
            if done:
                yield self._sorted(done)
                instant = instant[len(done) :]

    def _in_time(self, at: tuple[int, int, int]) -> list[Row]:
        query = (
            f"{_ROWS} WHERE (e.hlc_ms, e.hlc_counter, e.cursor) > (?, ?, ?)"
            " ORDER BY e.hlc_ms, e.hlc_counter, e.cursor LIMIT ?"
        )
        return list(map(Row._make, self._db.execute(query, (*at, ORDERED_ROWS)).fetchall()))

    def _sorted(self, rows: list[Row]) -> list[Row]:
        """Rows in order of time, now in that of `event.order_key`."""
        found: list[Row] = []
        for _, instant in groupby(rows, lambda row: (row.ms, row.counter)):
            same = list(instant)
            if len(same) > 1:
                same.sort(key=self._key)
            found += same
        return found

    def _key(self, row: Row) -> tuple[str, int, str]:
        return self.name(row.author), row.seq, event_id(row.hash.hex())

    def page(self, author: str, after: int, max_events: int, max_bytes: int) -> Page:
        """An author's events past `after`, ascending; never part of what is kept at one seq."""
        kept: list[Envelope] = []
        last, size = after, 0
        for row, (sig, body) in self.of_author(author, after):
            if row.seq != last and (len(kept) >= max_events or size >= max_bytes):
                return Page(envelopes=tuple(kept), last=last, more=True)
            kept.append((sig, body))
            size += len(sig) + len(body)
            last = row.seq
        return Page(envelopes=tuple(kept), last=last, more=False)

    def has(self, author: str, seq: int, digest: str) -> bool:
        """Whether exactly this event is here; False for a digest that is none."""
        query = "SELECT 1 FROM events WHERE author = ? AND seq = ? AND hash = ?"
        try:
            place = (self.number(author), seq, bytes.fromhex(digest))
        except ValueError:
            return False
        return self._db.execute(query, place).fetchone() is not None

    def last_ms(self, author: str) -> int:
        """The clock of an author's last event, 0 for none."""
        query = "SELECT hlc_ms FROM events WHERE author = ? ORDER BY seq DESC LIMIT 1"
        row = self._db.execute(query, (self.number(author),)).fetchone()
        return 0 if row is None else int(row[0])

    def of_author(self, author: str, after: int = 0) -> Iterator[tuple[Row, Envelope]]:
        """An author's events past `after` by (seq, hash), a page in memory."""
        number = self.number(author)
        query = f"{_ROWS} WHERE e.author = ? AND e.seq > ? ORDER BY e.seq LIMIT ?"
        held: list[Row] = []
        while True:
            rows = list(
                map(Row._make, self._db.execute(query, (number, after, PAGE_ROWS)).fetchall())
            )
            if not rows:
                return
            last = rows[-1].seq
            if len(rows) == PAGE_ROWS and rows[0].seq < last:
                rows = [row for row in rows if row.seq < last]  # all of one seq, or none of it
            held = sorted(rows, key=lambda row: (row.seq, row.hash))
            yield from zip(held, self.whole(held), strict=True)
            after = held[-1].seq


def _key(author: str) -> bytes:
    """A public key as the tables have it; nobody's for text that is none."""
    try:
        return bytes.fromhex(author)
    except ValueError:
        return b""


def damaged(cursor: int) -> StoreError:
    """What reading says of an event that is not as it was written."""
    return StoreError(f"event {cursor} is damaged", "run: fleet verify")
