"""Re-checking a ledger on disk, trusting nothing it says about itself.

Every stored byte is either inside a signature, derived from what is, or compared with a second
copy, so a change of any of them is found and named. Full segments that were found sound before are
only read and compared with their mark (`care/marks.py`), unless everything is asked for.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Final

from mesh.edge.store.care import marks
from mesh.edge.store.care.checks import MAX_FINDINGS, Checked, Checker, Part
from mesh.edge.store.care.pool import check_all
from mesh.edge.store.reports import Finding, VerifyReport
from mesh.edge.store.sealed import pack
from mesh.edge.store.sealed.shelf import digest_of
from mesh.ledger.ids import event_id

_AUTHOR_OF: Final = "COALESCE((SELECT lower(hex(key)) FROM authors WHERE id = x.author), '')"
# Rows that nothing would look at, and what they are.
_STRAYS: Final = (
    (f"SELECT {_AUTHOR_OF}, seq FROM events x WHERE author NOT IN (SELECT id FROM authors)"
     " OR typeof(seq) != 'integer' OR seq < 1", "is filed under no author or seq"),
    ("SELECT lower(hex(key)), 0 FROM authors a WHERE length(key) != 32 OR typeof(key) != 'blob'"
     " OR NOT EXISTS (SELECT 1 FROM events WHERE author = a.id)", "an author without events"),
    ("SELECT '', 0 FROM open_bodies o WHERE NOT EXISTS"
     " (SELECT 1 FROM events WHERE cursor = o.cursor)", "a body that belongs to no event"),
    (f"SELECT {_AUTHOR_OF}, seq FROM forks x WHERE NOT EXISTS (SELECT 1 FROM events e WHERE"
     " e.author = x.author AND e.seq = x.seq AND e.hash = x.hash)",
     "an event of a fork is not among the events"),
    (f"SELECT {_AUTHOR_OF}, seq FROM increments x WHERE author NOT IN (SELECT id FROM authors)"
     " OR typeof(seq) != 'integer' OR EXISTS (SELECT 1 FROM segments s WHERE"
     " s.author = x.author AND s.segment = (x.seq - 1) / :full)",
     "a part of a document that belongs to no open segment"),
    # Sealed and open at once: one of the two copies would be checked by nobody.
    (f"SELECT {_AUTHOR_OF}, x.seq FROM open_bodies o JOIN events x ON x.cursor = o.cursor"
     " JOIN segments s ON s.author = x.author AND s.segment = (x.seq - 1) / :full"
     " WHERE NOT EXISTS (SELECT 1 FROM forks f WHERE f.author = x.author AND f.seq = x.seq"
     " AND f.hash = x.hash)", "has a second body beside that in its segment"),
)  # fmt: skip


def verify(
    db: sqlite3.Connection, home: Path | None = None, *, every: bool = False
) -> VerifyReport:
    """Check events, chains, segments, what was set aside, and the database's own structure.

    With a `home` other processes help, and marks of earlier checks are used, but for `every`.
    """
    check = _Verify(db, home, every=every)
    # One snapshot: a row written between two of our questions is no damage.
    db.execute("BEGIN")
    for step in (check.parts, check.cursors, check.strays, check.forks, check.structure):
        try:
            step()
        except (sqlite3.Error, UnicodeDecodeError) as error:
            check.note("", 0, f"the database is damaged: {error}")
    if db.in_transaction:
        db.execute("ROLLBACK")
    check.keep_marks()
    findings = tuple(check.findings)
    return VerifyReport(ok=not findings, count=check.count, findings=findings)


class _Verify:
    """One pass over a ledger."""

    def __init__(self, db: sqlite3.Connection, home: Path | None, *, every: bool) -> None:
        self._db: Final = db
        self._home: Final = home
        self._who: Final = None if home is None else marks.owner(home)
        known = home is not None and self._who is not None and not every
        self._known: Final = marks.load(home, self._who) if known else {}  # type: ignore[arg-type]
        self._sound: Final[marks.Marks] = {}
        self._checker: Final = Checker(db)
        self.findings: Final[list[Finding]] = []
        self.count = 0

    def note(self, author: object, seq: object, text: str) -> None:
        """Keep a finding, unless there are enough."""
        if len(self.findings) < MAX_FINDINGS:
            number = seq if isinstance(seq, int) else 0
            self.findings.append(Finding(author=str(author), seq=number, text=text))

    def parts(self) -> None:
        """Every author's main line, a segment at a time."""
        snapshot = self._snapshot()
        fresh = self._home is not None and snapshot != {}
        fresh = fresh and not snapshot.items() <= self._known.items()
        for done in check_all(self._home, self._checker, self._plan(), snapshot=fresh):
            if isinstance(done, Finding):
                self.note(done.author, done.seq, done.text)
                snapshot = {}
            else:
                self._take(done)
        self._sound.update(snapshot)

    def _snapshot(self) -> marks.Marks:
        """The mark of the snapshot; none where there is none."""
        row = self._db.execute("SELECT cursor, state FROM checkpoints").fetchone()
        return {("", int(row[0])): digest_of(bytes(row[1]))} if row else {}

    def cursors(self) -> None:
        """Events are counted from 1 on, without a gap."""
        first, last, count = self._db.execute(
            "SELECT COALESCE(MIN(cursor), 1), COALESCE(MAX(cursor), 0), COUNT(*) FROM events"
        ).fetchone()
        if (first, last) == (1, count):
            return
        for author, seq, cursor in self._db.execute(
            f"SELECT {_AUTHOR_OF}, seq, cursor FROM events x WHERE cursor != 1"
            " AND NOT EXISTS (SELECT 1 FROM events WHERE cursor = x.cursor - 1)"
        ):
            self.note(author, seq, f"stored as number {cursor}, and none is number {cursor - 1}")

    def strays(self) -> None:
        """Nothing is stored that belongs to no event."""
        for query, text in _STRAYS:
            for author, seq in self._db.execute(query, {"full": pack.SEGMENT_EVENTS}):
                self.note(author, seq, text)

    def forks(self) -> None:
        """A fork is no damage, but nobody should overlook it."""
        for author, key in self._authors():
            if not self._db.execute("SELECT 1 FROM forks WHERE author = ?", (author,)).fetchone():
                continue
            self._take(self._checker.branches(author, key))
            seq, digest = self._db.execute(
                "SELECT seq, hash FROM forks WHERE author = ? ORDER BY seq LIMIT 1", (author,)
            ).fetchone()
            name = event_id(bytes(digest).hex())
            self.note(key, seq, f"fork: the author also signed {name} at seq {seq}; a copied disk")

    def structure(self) -> None:
        """SQLite's own check of pages and indexes."""
        for (text,) in self._db.execute("PRAGMA integrity_check(20)"):
            if text != "ok":
                self.note("", 0, f"database structure: {text}")

    def keep_marks(self) -> None:
        """Remember what was found sound."""
        if self._home is not None and self._who is not None and self._sound != self._known:
            marks.save(self._home, self._who, self._sound)

    def _take(self, done: Checked) -> None:
        self.count += done.count
        for one in done.findings:
            self.note(one.author, one.seq, one.text)
        if done.mark:
            self._sound[done.part.key, done.part.number] = done.mark

    def _plan(self) -> list[Part]:
        found: list[Part] = []
        away = self._away()
        for author, key in self._authors():
            sealed = self._sealed(author, key)
            found += (
                Part(author, key, number, sealed=True, mark=self._known.get((key, number), b""))
                for number in range(sealed)
                if (author, number) not in away
            )
            numbers = self._db.execute(
                "SELECT DISTINCT (seq - 1) / :full FROM events WHERE author = :author"
                " AND seq > :sealed AND typeof(seq) = 'integer' UNION"
                " SELECT DISTINCT (seq - 1) / :full FROM increments WHERE author = :author"
                " AND seq > :sealed AND typeof(seq) = 'integer'",
                {
                    "full": pack.SEGMENT_EVENTS,
                    "author": author,
                    "sealed": sealed * pack.SEGMENT_EVENTS,
                },
            ).fetchall()
            found += (Part(author, key, number, sealed=False) for (number,) in sorted(numbers))
        return found

    def _away(self) -> set[tuple[int, int]]:
        """Segments in an archive folder that is not there: one finding for all of them."""
        folder = self._checker.folder()
        if folder is None or folder.is_dir():
            return set()
        rows = self._db.execute("SELECT author, segment FROM segments WHERE data IS NULL")
        away = set(rows.fetchall())
        if away:
            text = f"the archive folder {folder} is not there: {len(away)} segments are not checked"
            self.note("", 0, text)
        return away

    def _sealed(self, author: int, key: str) -> int:
        """How many segments of an author are full, one after the other; says which are not."""
        query = "SELECT segment FROM segments WHERE author = ? ORDER BY segment"
        count = 0
        for (number,) in self._db.execute(query, (author,)).fetchall():
            if number == count:
                count += 1
            else:
                self.note(key, 0, f"segment {number!r:.40} follows segment {count - 1}")
        return count

    def _authors(self) -> list[tuple[int, str]]:
        rows = self._db.execute("SELECT id, key FROM authors ORDER BY id").fetchall()
        return [(number, key.hex()) for number, key in rows if isinstance(key, bytes)]
