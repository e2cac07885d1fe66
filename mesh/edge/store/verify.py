"""Re-checking a ledger on disk, trusting nothing it says about itself.

Every stored byte is either inside a signature, derived from what is, or compared with a
second copy in the segment documents; so a change of any of them is found and named.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from typing import Final

from mesh.edge.store.reports import Finding, VerifyReport
from mesh.ledger import document, gate, hlc, ids
from mesh.ledger.event import NO_PREV, Event

PAGE_ROWS: Final = 512
# A wrecked disk yields a finding per event; the first ones tell the story.
MAX_FINDINGS: Final = 1000

# Chains count with integers that JSON keeps; a number beyond is damage.
MAX_SEGMENT: Final = 2**53 // document.SEGMENT_EVENTS

_Row = tuple[object, ...]
_COLUMNS: Final = "cursor, id, author, seq, hlc_ms, hlc_counter, hash, body, sig"


def verify(db: sqlite3.Connection) -> VerifyReport:
    """Check rows, chains, segments, evidence of forks, and the database's own structure."""
    check = _Check(db)
    # One snapshot: a row written between two of our questions is no damage.
    db.execute("BEGIN")
    for step in (check.rows, check.segments, check.forks, check.structure):
        try:
            step()
        except (sqlite3.Error, UnicodeDecodeError) as error:
            check.note("", 0, f"the database is damaged after event {check.cursor}: {error}")
    if db.in_transaction:
        db.execute("ROLLBACK")
    findings = tuple(check.findings)
    return VerifyReport(ok=not findings, count=check.count, findings=findings)


class _Check:
    """One pass over a ledger; `tails` holds (seq, hash, stamp) of each chain so far."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self.db: Final = db
        self.findings: Final[list[Finding]] = []
        self.count = 0
        self.cursor = 0
        self.tails: Final[dict[str, tuple[int, str, hlc.Stamp]]] = {}
        self.branches: Final[dict[tuple[object, object, object], bool]] = {}  # seen as an event?
        self.kept: Final[dict[str, dict[str, tuple[int, hlc.Stamp]]]] = {}  # of forked authors
        self.parted: Final[dict[str, int]] = {}  # where; `kept` begins with the event before

    def note(self, author: object, seq: object, text: str) -> None:
        """Keep a finding, unless there are enough."""
        if len(self.findings) < MAX_FINDINGS:
            number = seq if isinstance(seq, int) else 0
            self.findings.append(Finding(author=str(author), seq=number, text=text))

    def rows(self) -> None:
        """Each row by itself, then against the row before it in its chain."""
        for key in self._all("SELECT author, seq, hash FROM forks"):
            self.branches[key[0], key[1], key[2]] = False
            self.kept[str(key[0])] = {}
            if isinstance(key[1], int):
                lowest = self.parted.get(str(key[0]), key[1])
                self.parted[str(key[0])] = min(key[1], lowest)
        for row in self._pages():
            self.count += 1
            cursor, author, seq = row[0], row[2], row[3]
            if cursor != self.cursor + 1:
                text = f"stored as number {cursor}, after number {self.cursor}"
                self.note(author, seq, text)
            self.cursor = cursor if isinstance(cursor, int) else self.cursor
            event = self._row(row)
            if event is not None:
                self._link(event, row)

    def segments(self) -> None:
        """The documents hold the same bytes as the rows, no more and no less."""
        stray = self._all(
            "SELECT author, segment FROM segments UNION SELECT author, (seq - 1) / ?"
            " FROM increments",
            document.SEGMENT_EVENTS,
        )
        wanted = self._all(
            "SELECT DISTINCT author, (seq - 1) / ? FROM events", document.SEGMENT_EVENTS
        )
        for author, number in sorted({*stray, *wanted}, key=repr):
            self._segment(author, number)

    def forks(self) -> None:
        """A fork is no damage, but nobody should overlook it."""
        named: set[object] = set()
        for author, seq, digest, body, sig in self._all("SELECT * FROM forks ORDER BY seq"):
            if not (isinstance(body, bytes) and isinstance(sig, bytes)):
                self.note(author, seq, "the evidence of a fork is not bytes")
                continue
            event = gate.inspect(sig, body)
            if not isinstance(event, Event):
                self.note(author, seq, f"the evidence of a fork is damaged: {event.reason}")
            elif (event.author, event.seq, ids.event_hash(body)) != (author, seq, digest):
                self.note(author, seq, "the evidence of a fork is filed under another event")
            elif not self.branches.get((author, seq, digest)):
                self.note(author, seq, "an event of a fork is not among the events")
            elif author not in named:
                named.add(author)
                self.note(
                    author,
                    seq,
                    f"fork: the author also signed {event.id} at seq {seq}; a copied disk",
                )

    def structure(self) -> None:
        """SQLite's own check of pages and indexes."""
        for (text,) in self._all("PRAGMA integrity_check(20)"):
            if text != "ok":
                self.note("", 0, f"database structure: {text}")

    def _row(self, row: _Row) -> Event | None:
        """The event of a row when its signature holds; says which columns disagree with it."""
        _, name, author, seq, ms, counter, digest, body, sig = row
        if not (isinstance(body, bytes) and isinstance(sig, bytes)):
            self.note(author, seq, "body or signature is not bytes")
            return None
        event = gate.inspect(sig, body)
        if not isinstance(event, Event):
            self.note(author, seq, f"body or signature changed: {event.reason}")
            return None
        stamp = hlc.parse(event.hlc)
        true = {
            "id": (name, event.id),
            "author": (author, event.author),
            "seq": (seq, event.seq),
            "hlc_ms": (ms, stamp.ms),
            "hlc_counter": (counter, stamp.counter),
            "hash": (digest, ids.event_hash(body)),
        }
        for column, (stored, signed) in true.items():
            if type(stored) is not type(signed) or stored != signed:
                self.note(author, seq, f"column {column} is {stored!r:.80}, signed was {signed!r}")
        return event

    def _link(self, event: Event, row: _Row) -> None:
        body = row[7]
        assert isinstance(body, bytes)
        digest, stamp = ids.event_hash(body), hlc.parse(event.hlc)
        last, prev, before = self.tails.get(event.author, (0, NO_PREV, hlc.ZERO))
        branch = (event.author, event.seq, digest)
        if branch in self.branches:
            self.branches[branch] = True
            last, before = self.kept[event.author].get(event.prev, (0, hlc.ZERO))
            prev = event.prev if last else NO_PREV
        if event.seq != last + 1:
            self.note(event.author, event.seq, f"follows seq {last}: a gap in the chain")
        elif event.prev != prev:
            self.note(event.author, event.seq, f"does not link to seq {last}")
        if stamp <= before:
            self.note(event.author, event.seq, "its clock does not rise")
        if event.seq >= self.parted.get(event.author, event.seq + 2) - 1:
            self.kept[event.author][digest] = (event.seq, stamp)
        if branch not in self.branches:
            self.tails[event.author] = (event.seq, digest, stamp)

    def _segment(self, author: object, number: object) -> None:
        if not (isinstance(author, str) and isinstance(number, int) and 0 <= number <= MAX_SEGMENT):
            self.note(author, 0, "a segment is filed under no author or number")
            return
        first = number * document.SEGMENT_EVENTS + 1
        last = first + document.SEGMENT_EVENTS - 1
        rows = {
            seq: (sig, body)
            for seq, sig, body in self._all(
                "SELECT seq, sig, body FROM events WHERE author = ? AND seq BETWEEN ? AND ?"
                " AND NOT EXISTS (SELECT 1 FROM forks WHERE author = events.author"
                " AND seq = events.seq AND hash = events.hash)",
                author,
                first,
                last,
            )
        }
        try:
            carried = document.Segment(author, self._document(author, number, first, last)).events()
        except (document.DocumentError, ValueError, TypeError) as error:
            near = min((seq for seq in rows if isinstance(seq, int)), default=first)
            self.note(author, near, f"its segment {number}: {error}")
            return
        for seq in sorted({*rows, *carried}, key=repr):
            if seq not in carried:
                self.note(author, seq, "is missing from its segment document")
            elif seq not in rows:
                self.note(author, seq, "is in its segment document but not among the events")
            elif rows[seq] != carried[seq]:
                self.note(author, seq, "differs from its copy in the segment document")

    def _document(self, author: str, number: int, first: int, last: int) -> bytes:
        sealed = self._all(
            "SELECT document FROM segments WHERE author = ? AND segment = ?", author, number
        )
        parts = self._all(
            "SELECT change FROM increments WHERE author = ? AND seq BETWEEN ? AND ? ORDER BY seq",
            author,
            first,
            last,
        )
        found = [part for (part,) in (*sealed, *parts) if isinstance(part, bytes)]
        if len(found) != len(sealed) + len(parts):
            raise document.DocumentError("a part is not bytes")
        return b"".join(found)

    def _pages(self) -> Iterator[_Row]:
        after: object = -(2**63)
        while rows := self._all(
            f"SELECT {_COLUMNS} FROM events WHERE cursor > ? ORDER BY cursor LIMIT {PAGE_ROWS}",
            after,
        ):
            yield from rows
            after = rows[-1][0]

    def _all(self, query: str, *values: object) -> list[_Row]:
        return self.db.execute(query, values).fetchall()
