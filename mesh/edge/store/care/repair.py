"""A damaged ledger made anew from what is sound in it; the damaged file stays beside it.

Everything readable goes through the gate, each author's events in the order of its chain. What is
missing after that is in the ledgers of other peers, and comes with the next sync.
"""

from __future__ import annotations

import heapq
import os
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Final

from mesh.edge.disk import StoreError, explained, sync_folder
from mesh.edge.store import lock, schema
from mesh.edge.store.care import salvage
from mesh.edge.store.care.lift import remove, swap
from mesh.edge.store.care.progress import Progress, Say
from mesh.edge.store.ledger import LOCK, Reader
from mesh.edge.store.reports import Lost, RepairReport
from mesh.edge.store.rows import Rows
from mesh.edge.store.sealed import pack
from mesh.edge.store.sealed.pack import KEY_BYTES, SIGNATURE_BYTES, PackError
from mesh.edge.store.sealed.shelf import read_file
from mesh.edge.store.writer import Writer
from mesh.ledger import gate
from mesh.sync import messages

DRAFT: Final = "ledger.db.repaired"
FOUND: Final = "ledger.db.found"
BATCH: Final = 1000

# What was read, before the gate: `rank` 0 are full segments, 1 single events.
_FOUND: Final = """
CREATE TABLE singles (author TEXT, seq INTEGER, cursor INTEGER, sig BLOB, body BLOB);
CREATE TABLE segments (author TEXT, number INTEGER, data BLOB);
CREATE TABLE names (id INTEGER, author TEXT);
CREATE TABLE ends (id INTEGER PRIMARY KEY, seq INTEGER);
"""


def repair(home: Path, archive: Path | None = None, say: Say | None = None) -> RepairReport:
    """Rebuild the ledger in `home`; nothing of it changes until the new one is whole.

    `archive` is the folder that full segments are in, if there is one.
    """
    path = home / schema.DATABASE
    if not path.is_file():
        raise StoreError(f"no ledger in {home}", "run: fleet up")
    fd = lock.lock(home / LOCK)
    say = say or Progress("repairing the ledger")
    draft, found = path.with_name(DRAFT), path.with_name(FOUND)
    try:
        with explained(f"cannot repair the ledger in {home}"):
            if _sound(home):
                return RepairReport(sound=True, kept=0, lost=(), aside="")
            for file in (draft, found):
                remove(file)
            with closing(_database(found, _FOUND)) as scratch:
                _read(path, scratch, archive)
                with closing(_database(draft, schema.TABLES)) as new:
                    kept, lost = _Rebuild(scratch, new, say).run()
            aside = _set_aside(path, datetime.now(UTC))
            swap(draft, path)
            return RepairReport(sound=False, kept=kept, lost=lost, aside=aside.name)
    finally:
        remove(draft)
        remove(found)
        os.close(fd)


def _sound(home: Path) -> bool:
    try:
        with closing(Reader.open(home)) as reader:
            findings = reader.verify(every=True).findings
    except StoreError:
        return False
    return all(finding.text.startswith("fork:") for finding in findings)


def _database(path: Path, tables: str) -> sqlite3.Connection:
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    db = schema.connect(path, "rw")
    db.executescript(f"PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; {tables}")
    return db


def _read(path: Path, scratch: sqlite3.Connection, archive: Path | None) -> None:
    """Everything in the file that looks like a signed event, or like many."""
    pages = salvage.Pages(path)
    scratch.execute("BEGIN")
    with closing(pages):
        for rowid, values in salvage.rows(pages):
            match values:
                case [int(), int(), bytes() as digest, None] if archive is not None:
                    values = [read_file(archive, digest)]  # its row only names its file
            _keep(scratch, rowid, values)
    scratch.execute("CREATE INDEX singles_chain ON singles (author, seq, cursor)")
    scratch.execute("COMMIT")


def _keep(scratch: sqlite3.Connection, rowid: int, values: list[salvage.Value]) -> None:
    """A row of any table of any format: a segment's blob, or a signature and a body."""
    match values:
        case [None, bytes() as key] if len(key) == KEY_BYTES:  # of authors
            scratch.execute("INSERT INTO names VALUES (?, ?)", (rowid, key.hex()))
            return
        case [None, int() as author, int() as seq, int(), int(), bytes()]:  # of events
            query = "INSERT INTO ends VALUES (?, ?) ON CONFLICT DO UPDATE SET seq = MAX(seq, ?)"
            scratch.execute(query, (author, seq, seq))
            return
    blobs = [value for value in values if isinstance(value, bytes)]
    for blob in blobs:
        if blob.startswith(pack.VERSION) and len(blob) > pack.bodies_at():
            try:
                part = pack.salvage(blob)
            except PackError:
                continue
            values_ = (part.author, part.number, blob)
            scratch.execute("INSERT INTO segments VALUES (?, ?, ?)", values_)
            return
    sig = next((blob for blob in blobs if len(blob) == SIGNATURE_BYTES), None)
    body = next((blob for blob in blobs if blob[:1] == b"{" and blob is not sig), None)
    if sig is None or body is None:
        return
    try:
        place = messages.place_of(body)
    except messages.MessageError:
        return
    row = (place.author, place.seq, rowid, sig, body)
    scratch.execute("INSERT INTO singles VALUES (?, ?, ?, ?, ?)", row)


class _Rebuild:
    """Puts what was found through the gate."""

    def __init__(self, scratch: sqlite3.Connection, new: sqlite3.Connection, say: Say) -> None:
        self._scratch: Final = scratch
        self._new: Final = new
        self._writer: Final = Writer(new, Rows(new))
        self._say: Final = say
        self._done = 0

    def run(self) -> tuple[int, tuple[Lost, ...]]:
        authors = self._scratch.execute(
            "SELECT author FROM singles UNION SELECT author FROM segments"
            " UNION SELECT author FROM names ORDER BY 1"
        ).fetchall()
        lost = [self._author(author) for (author,) in authors]
        self._new.execute("DELETE FROM held")
        self._new.execute(f"PRAGMA user_version={schema.FORMAT}")
        (kept,) = self._new.execute("SELECT COUNT(*) FROM events").fetchone()
        return int(kept), tuple(one for one in lost if one is not None)

    def _author(self, author: str) -> Lost | None:
        """Everything of one author; what is missing, where some of what was read does not fit."""
        last = self._end(author)
        found = heapq.merge(self._segments(author), self._singles(author), key=lambda one: one[:2])
        for batch in _batches(found):
            self._new.execute("BEGIN")
            outcomes = self._writer.admit_all([(sig, body) for *_, sig, body in batch])
            self._writer.flush()
            self._new.execute("COMMIT")
            sound = [one for one in outcomes if not isinstance(one, gate.Reject)]
            last = max([last, *(one.event.seq for one in sound)])
            self._done += len(batch)
            self._say(self._done, self._done)
        head = self._writer.head(author).seq
        return Lost(author=author, after=head, beyond=last) if head < last else None

    def _end(self, author: str) -> int:
        """The last event of an author that the damaged file had a place for."""
        query = "SELECT MAX(seq) FROM ends JOIN names USING (id) WHERE author = ?"
        return self._scratch.execute(query, (author,)).fetchone()[0] or 0

    def _segments(self, author: str) -> Iterator[tuple[int, int, bytes, bytes]]:
        query = "SELECT number, data FROM segments WHERE author = ? ORDER BY number"
        for number, data in self._scratch.execute(query, (author,)):
            first = number * pack.SEGMENT_EVENTS + 1
            for seq, (sig, body) in enumerate(pack.salvage(data).envelopes, first):
                yield seq, 0, sig, body

    def _singles(self, author: str) -> Iterator[tuple[int, int, bytes, bytes]]:
        query = "SELECT seq, sig, body FROM singles WHERE author = ? ORDER BY seq, cursor"
        for seq, sig, body in self._scratch.execute(query, (author,)):
            yield seq, 1, sig, body


def _batches(
    found: Iterable[tuple[int, int, bytes, bytes]],
) -> Iterator[list[tuple[int, int, bytes, bytes]]]:
    found = iter(found)
    while batch := list(islice(found, BATCH)):
        yield batch


def _set_aside(path: Path, now: datetime) -> Path:
    """The damaged file under another name, with its log."""
    aside = path.with_name(f"{path.name}.damaged-{now:%Y-%m-%d}")
    number = 1
    while aside.exists():
        number += 1
        aside = path.with_name(f"{path.name}.damaged-{now:%Y-%m-%d}-{number}")
    for end in ("-wal", ""):
        old = path.with_name(path.name + end)
        if old.exists():
            os.link(old, aside.with_name(aside.name + end))
    sync_folder(path.parent)
    return aside
