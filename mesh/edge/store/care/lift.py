"""An old ledger in the present format: written anew beside it, then put in its place.

Until the very end the old file is as it was, so a lift that is cut off begins again. What is read
is compared on the way: of a damaged ledger nothing is lifted, for that would hide the damage.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Final

from mesh.edge.disk import StoreError, explained, sync_folder
from mesh.edge.store import schema
from mesh.edge.store.care.old import show_as_new
from mesh.edge.store.care.progress import Progress, Say, Steps
from mesh.edge.store.rows import Row, Rows
from mesh.edge.store.sealed import pack
from mesh.edge.store.sealed.pack import Envelope
from mesh.edge.store.sealed.shelf import digest_of
from mesh.ledger import codec, ids

DRAFT: Final = "ledger.db.lifting"
PAGE_ROWS: Final = 2048
LIFTS: Final = "lifts the ledger"
PACKS: Final = "packs the ledger"


def lift(path: Path, steps: Steps = Progress) -> None:
    """Put a ledger of an earlier format into this one; the caller holds its lock."""
    draft = path.with_name(DRAFT)
    with explained(f"cannot bring {path} into its new format"):
        remove(draft)
        try:
            with closing(schema.connect(path, "rw")) as old:
                whole_log(old)
                show_as_new(old)
                with closing(blank(draft)) as new:
                    _Lift(old, new, steps).run()
                    finish(new)
            swap(draft, path)
        finally:
            remove(draft)


def blank(path: Path) -> sqlite3.Connection:
    """A new database without indexes, to be filled fast and finished with `finish`."""
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    db = schema.connect(path, "rw")
    db.executescript("PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF;")
    tables = [part for part in schema.TABLES.split(";\n") if "CREATE INDEX" not in part]
    db.executescript(f"BEGIN;{';'.join(tables)}")
    return db


def finish(db: sqlite3.Connection) -> None:
    """Add the indexes and the format's number, and end the transaction."""
    for part in schema.TABLES.split(";\n"):
        if "CREATE INDEX" in part:
            db.execute(part)
    db.execute(f"PRAGMA user_version={schema.FORMAT}")
    db.execute("COMMIT")


def whole_log(db: sqlite3.Connection) -> None:
    """Bring everything from the write-ahead log into the file itself."""
    busy, *_ = db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    if busy:
        raise StoreError("another program is reading the ledger", "close it, and try again")


def swap(draft: Path, path: Path) -> None:
    """Put a finished database in the place of one whose log is empty; it survives a power cut."""
    with draft.open("rb+") as file:
        os.fsync(file.fileno())
    for end in ("-wal", "-shm"):
        path.with_name(path.name + end).unlink(missing_ok=True)
    draft.replace(path)
    sync_folder(path.parent)


def remove(draft: Path) -> None:
    """Remove an unfinished database."""
    for end in ("", "-journal", "-wal", "-shm"):
        draft.with_name(draft.name + end).unlink(missing_ok=True)


class _Lift:
    """One pass over the rows, one over the full segments, and the small tables."""

    def __init__(self, old: sqlite3.Connection, new: sqlite3.Connection, steps: Steps) -> None:
        self._old: Final = old
        self._new: Final = new
        self._steps: Final = steps
        self._rows: Final = Rows(old)
        self._branches: Final = set(old.execute("SELECT author, seq, hash FROM forks").fetchall())
        self._sealed: Final[dict[int, int]] = {}  # the last seq of an author's full segments

    def run(self) -> None:
        count = int(self._old.execute("SELECT COUNT(*) FROM main.events").fetchone()[0])
        authors = self._old.execute("SELECT id, key FROM authors").fetchall()
        self._new.executemany("INSERT INTO authors VALUES (?, ?)", authors)
        for author, key in authors:
            end = self._main_end(author)
            if end < self._document_end(bytes(key).hex()):
                raise _damaged(f"event {end + 1} of author {bytes(key).hex()[:16]}")
            self._sealed[author] = end // pack.SEGMENT_EVENTS * pack.SEGMENT_EVENTS
        self._copy_rows(count, self._steps(LIFTS))
        say, packed, full = self._steps(PACKS), 0, sum(self._sealed.values())
        for author, key in authors:
            for _ in self._pack(author, bytes(key).hex()):
                packed += pack.SEGMENT_EVENTS
                say(packed, full)
        self._copy_the_rest()

    def _main_end(self, author: int) -> int:
        rows = self._old.execute(
            "SELECT seq, hash FROM events WHERE author = ? ORDER BY seq DESC", (author,)
        )
        try:
            return next((s for s, digest in rows if (author, s, digest) not in self._branches), 0)
        finally:
            rows.close()

    def _document_end(self, key: str) -> int:
        """The last event that the open document has: the last events may be gone unseen."""
        query = "SELECT COALESCE(MAX(seq), 0) FROM main.increments WHERE author = ?"
        return int(self._old.execute(query, (key,)).fetchone()[0])

    def _copy_rows(self, count: int, say: Say) -> None:
        cursor = 0
        while page := self._rows.after(cursor, PAGE_ROWS):
            for row in page:
                cursor += 1
                if row.cursor != cursor or not _sound(row):
                    raise _damaged(f"event {row.cursor}")
            self._new.executemany(
                "INSERT INTO events VALUES (?, ?, ?, ?, ?, ?)", [row[:6] for row in page]
            )
            self._new.executemany(
                "INSERT INTO open_bodies VALUES (?, ?, ?)",
                [(row.cursor, row.sig, row.body) for row in page if self._stays_open(row)],
            )
            say(cursor, count)
        if cursor != count:
            raise _damaged(f"event {cursor + 1}")

    def _stays_open(self, row: Row) -> bool:
        if row.seq > self._sealed.get(row.author, 0):
            return True
        return (row.author, row.seq, row.hash) in self._branches

    def _pack(self, author: int, key: str) -> Iterator[int]:
        """Pack an author's full segments, one a turn."""
        for number in range(self._sealed[author] // pack.SEGMENT_EVENTS):
            first = number * pack.SEGMENT_EVENTS
            rows = self._old.execute(
                "SELECT e.seq, e.hash, o.sig, o.body FROM events e JOIN open_bodies o"
                " ON o.cursor = e.cursor WHERE e.author = ? AND e.seq BETWEEN ? AND ?"
                " ORDER BY e.seq",
                (author, first + 1, first + pack.SEGMENT_EVENTS),
            ).fetchall()
            main = [row for row in rows if (author, row[0], row[1]) not in self._branches]
            if [row[0] for row in main] != list(range(first + 1, first + pack.SEGMENT_EVENTS + 1)):
                raise _damaged(f"segment {number} of author {key[:16]}")
            self._put(author, key, number, [row[2:] for row in main])
            yield number

    def _put(self, author: int, key: str, number: int, events: list[Envelope]) -> None:
        prev = str(codec.decode(events[0][1]).get("prev"))
        blob = pack.pack(key, number, prev, events)
        self._new.execute(
            "INSERT INTO segments VALUES (?, ?, ?, ?)", (author, number, digest_of(blob), blob)
        )

    def _copy_the_rest(self) -> None:
        """What waits, the snapshot, the open documents; the evidence of forks is in its events."""
        self._new.executemany("INSERT INTO forks VALUES (?, ?, ?)", sorted(self._branches))
        held = self._old.execute("SELECT author, seq, hash, body, sig FROM main.held").fetchall()
        self._new.executemany(
            "INSERT INTO held (author, seq, hash, body, sig) VALUES (?, ?, ?, ?, ?)",
            [(author, seq, bytes.fromhex(digest), *rest) for author, seq, digest, *rest in held],
        )
        for row in self._old.execute("SELECT slot, cursor, state FROM main.checkpoints"):
            self._new.execute("INSERT INTO checkpoints VALUES (?, ?, ?)", row)
        changes = self._old.execute("SELECT author, seq, change FROM main.increments").fetchall()
        for author, seq, change in changes:
            number = self._rows.number(author)
            if seq > self._sealed.get(number, 0):
                self._new.execute("INSERT INTO increments VALUES (?, ?, ?)", (number, seq, change))


def _sound(row: Row) -> bool:
    if not (isinstance(row.sig, bytes) and isinstance(row.body, bytes)):
        return False
    return ids.event_hash(row.body) == row.hash.hex()


def _damaged(what: str) -> StoreError:
    return StoreError(f"the ledger is damaged: {what} is not as it was written", "fleet repair")
