"""Checking a part of a ledger: a full segment, some open events, the branches of an author.

Each part is checked by itself, in whichever process, against what the rows say of the event before
it; the part before checks that row. Whatever is wrong becomes a finding, never an error.
"""

from __future__ import annotations

import hashlib
import sqlite3
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple, final

from mesh.edge.disk import StoreError
from mesh.edge.store.reports import Finding
from mesh.edge.store.rows import Row, Rows
from mesh.edge.store.sealed import pack
from mesh.edge.store.sealed.pack import Envelope, PackError, unpack
from mesh.edge.store.sealed.shelf import DIGEST_BYTES
from mesh.ledger import codec, document, gate, hlc, ids, signing
from mesh.ledger.event import BODY_FIELDS, NO_PREV, SCHEMA_VERSION
from mesh.ledger.record import MAX_NAME_CHARACTERS

# A wrecked disk yields a finding per event; the first ones tell the story.
MAX_FINDINGS: Final = 1000

_MAIN: Final = (
    "SELECT e.cursor, e.author, e.seq, e.hlc_ms, e.hlc_counter, e.hash, {bodies}"
    " WHERE e.author = ? AND e.seq BETWEEN ? AND ? AND NOT EXISTS (SELECT 1 FROM forks f"
    " WHERE f.author = e.author AND f.seq = e.seq AND f.hash = e.hash) ORDER BY e.seq"
)
_SEALED: Final = _MAIN.format(bodies="NULL, NULL FROM events e")
_OPEN: Final = _MAIN.format(
    bodies="o.sig, o.body FROM events e LEFT JOIN open_bodies o ON o.cursor = e.cursor"
)
_BRANCHES: Final = (
    "SELECT e.cursor, e.author, e.seq, e.hlc_ms, e.hlc_counter, e.hash, o.sig, o.body"
    " FROM forks f JOIN events e ON e.author = f.author AND e.seq = f.seq AND e.hash = f.hash"
    " LEFT JOIN open_bodies o ON o.cursor = e.cursor WHERE f.author = ? ORDER BY e.seq, e.cursor"
)


@final
@dataclass(frozen=True, slots=True)
class Part:
    """What one call checks: a full segment, or where `sealed` is False the events of an open one.

    `mark` is what `Checked.mark` was when it was last found sound; b"" for not yet.
    """

    author: int
    key: str
    number: int
    sealed: bool
    mark: bytes = b""


@final
@dataclass(frozen=True, slots=True)
class Checked:
    """What came of a part. `mark` is a digest of all that was read; b"" unless all was sound."""

    part: Part
    count: int
    findings: tuple[Finding, ...]
    mark: bytes = b""


class _Place(NamedTuple):
    """What a sound event says of its place."""

    seq: int
    prev: str
    hash: str
    stamp: hlc.Stamp


class Checker:
    """Checks parts of an open ledger."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db: Final = db
        self._rows: Final = Rows(db)
        self._findings: list[Finding] = []
        self._old: Final = db.execute("PRAGMA user_version").fetchone()[0] < 3

    def folder(self) -> Path | None:
        """The archive folder of the ledger; None for none."""
        return self._rows.sealed.folder()

    def check(self, part: Part) -> Checked:
        """Look at every byte of a part."""
        self._findings = []
        count, mark = 0, b""
        try:
            with _snapshot(self._db):
                count, mark = self._sealed(part) if part.sealed else (self._open(part), b"")
        except (sqlite3.Error, UnicodeDecodeError) as error:
            where = part.number * pack.SEGMENT_EVENTS + 1
            self._note(part.key, where, f"the database is damaged from here on: {error}")
        findings = tuple(self._findings)
        return Checked(part, count, findings, b"" if findings else mark)

    def branches(self, author: int, key: str) -> Checked:
        """Look at the events of an author that are not on its main line, each against its own."""
        self._findings = []
        rows = list(map(Row._make, self._db.execute(_BRANCHES, (author,)).fetchall()))
        for row in rows:
            place = self._event(key, row, row.sig, row.body)
            if place is not None and place.seq > 1:
                before = self._db.execute(
                    "SELECT hlc_ms, hlc_counter, cursor FROM events"
                    " WHERE author = ? AND seq = ? AND hash = ?",
                    (author, place.seq - 1, bytes.fromhex(place.prev)),
                ).fetchone()
                self._follows(key, place, row, before)
            elif place is not None and place.prev != NO_PREV:
                self._note(key, place.seq, "does not link to the beginning of a chain")
        return Checked(Part(author, key, 0, sealed=False), len(rows), tuple(self._findings))

    def _note(self, author: object, seq: object, text: str) -> None:
        if len(self._findings) < MAX_FINDINGS:
            number = seq if isinstance(seq, int) else 0
            self._findings.append(Finding(author=str(author), seq=number, text=text))

    def _sealed(self, part: Part) -> tuple[int, bytes]:
        first = part.number * pack.SEGMENT_EVENTS + 1
        rows = self._main(_SEALED, part.author, first)
        blob = self._blob(part)
        mark = self._mark(part, blob, rows, self._before(part.author, first))
        if mark and mark == part.mark:
            return len(rows), mark
        try:
            found = unpack(blob)
        except PackError as error:
            self._note(part.key, first, f"its segment {part.number} {error}")
            return len(rows), b""
        if (found.author, found.number) != (part.key, part.number):
            self._note(part.key, first, "its segment is filed under another author or number")
            return len(rows), b""
        self._line(part.key, first, rows, dict(enumerate(found.envelopes, first)))
        return len(rows), mark

    def _blob(self, part: Part) -> bytes:
        try:
            return self._rows.sealed.blob(part.author, part.number) or b""
        except StoreError as error:
            self._note(part.key, part.number * pack.SEGMENT_EVENTS + 1, error.text)
        return b""

    def _mark(
        self, part: Part, blob: bytes, rows: list[Row], before: tuple[object, ...] | None
    ) -> bytes:
        """A digest of everything that is stored of a full segment, and of how it begins."""
        total = hashlib.blake2b(digest_size=DIGEST_BYTES)
        total.update(f"{part.key} {part.number} {before!r} {len(rows)}\n".encode())
        try:
            total.update(b"".join([_PACKED(*row[:6]) for row in rows]))
        except (struct.error, TypeError):
            return b""
        total.update(blob)
        return total.digest()

    def _open(self, part: Part) -> int:
        first = part.number * pack.SEGMENT_EVENTS + 1
        rows = self._main(_OPEN, part.author, first)
        bodies: dict[int, Envelope] = {}
        for row in rows:
            if row.sig is None and row.body is None:  # sealed while we look
                try:
                    bodies[row.seq] = self._rows.whole([row])[0]
                except StoreError:
                    continue
            elif isinstance(row.sig, bytes) and isinstance(row.body, bytes):
                bodies[row.seq] = (row.sig, row.body)
        self._line(part.key, first, rows, bodies)
        sealed = "SELECT 1 FROM segments WHERE author = ? AND segment = ?"
        if not self._old and not self._db.execute(sealed, (part.author, part.number)).fetchone():
            self._document(part, bodies)
        return len(rows)

    def _document(self, part: Part, bodies: dict[int, Envelope]) -> None:
        """The document of an open segment holds the same bytes as the rows, no more and no less."""
        query = "SELECT change FROM increments WHERE author = ? AND (seq - 1) / ? = ? ORDER BY seq"
        changes = self._db.execute(
            query, (part.author, pack.SEGMENT_EVENTS, part.number)
        ).fetchall()
        try:
            data = b"".join([change for (change,) in changes])
            carried = document.Segment(part.key, data).events()
        except (document.DocumentError, ValueError, TypeError) as error:
            near = min(bodies, default=part.number * pack.SEGMENT_EVENTS + 1)
            self._note(part.key, near, f"its segment {part.number}: {error}")
            return
        for seq in sorted({*bodies, *carried}):
            if seq not in carried:
                self._note(part.key, seq, "is missing from its segment document")
            elif seq not in bodies:
                self._note(part.key, seq, "is in its segment document but not among the events")
            elif bodies[seq] != carried[seq]:
                self._note(part.key, seq, "differs from its copy in the segment document")

    def _line(self, key: str, first: int, rows: list[Row], bodies: dict[int, Envelope]) -> None:
        """Each event by itself, then against the one before it in its chain."""
        for seq in sorted(bodies.keys() - {row.seq for row in rows}):
            self._note(key, seq, "is in its segment but not among the events")
        if not rows:
            return  # of an open segment that only other branches have come to
        before = self._before(rows[0].author, first)
        last, prev = first - 1, NO_PREV if before is None else before[3].hex()
        for row in rows:
            sig, body = bodies.get(row.seq, (None, None))
            place = self._event(key, row, sig, body)
            if place is None:
                last, prev, before = row.seq, "", None
                continue
            if place.seq != last + 1:
                self._note(key, place.seq, f"follows seq {last}: a gap in the chain")
            elif prev and place.prev != prev:
                self._note(key, place.seq, f"does not link to seq {last}")
            if before is not None:
                self._rises(key, place, row, before)
            last, prev = place.seq, place.hash
            before = (place.stamp.ms, place.stamp.counter, row.cursor, b"")

    def _event(self, key: str, row: Row, sig: object, body: object) -> _Place | None:
        """The place of a row's event when its signature holds; says which columns disagree."""
        if not (isinstance(body, bytes) and isinstance(sig, bytes)):
            self._note(key, row.seq, "has no body and signature, or they are not bytes")
            return None
        place = _place(key, sig, body)
        if isinstance(place, str):
            self._note(key, row.seq, f"body or signature changed: {place}")
            return None
        true = (place.seq, *place.stamp, bytes.fromhex(place.hash))
        if row[2:6] != true:
            for name, stored, signed in zip(_COLUMNS, row[2:6], true, strict=True):
                if stored != signed:
                    text = f"column {name} is {stored!r:.80}, signed was {signed!r}"
                    self._note(key, row.seq, text)
        return place

    def _follows(self, key: str, place: _Place, row: Row, before: tuple[int, ...] | None) -> None:
        if before is None:
            self._note(key, place.seq, f"follows no event at seq {place.seq - 1}")
        else:
            self._rises(key, place, row, before)

    def _rises(self, key: str, place: _Place, row: Row, before: tuple[object, ...]) -> None:
        ms, counter, cursor = before[:3]
        if not (isinstance(ms, int) and isinstance(counter, int) and isinstance(cursor, int)):
            return  # that row has its own finding
        if place.stamp <= (ms, counter):
            self._note(key, place.seq, "its clock does not rise")
        if row.cursor <= cursor:
            self._note(key, place.seq, f"stored as number {row.cursor}, before its predecessor")

    def _before(self, author: int, first: int) -> tuple[int, int, int, bytes] | None:
        """(ms, counter, cursor, hash) of the main line's event before a seq."""
        row = next(iter(self._main(_SEALED, author, first - 1, 1)), None)
        if row is None or not isinstance(row.hash, bytes):
            return None
        return row.ms, row.counter, row.cursor, row.hash

    def _main(self, query: str, author: int, first: int, count: int = 0) -> list[Row]:
        values = (author, first, first + (count or pack.SEGMENT_EVENTS) - 1)
        return list(map(Row._make, self._db.execute(query, values).fetchall()))


_COLUMNS: Final = ("seq", "hlc_ms", "hlc_counter", "hash")
_PACKED: Final[Callable[..., bytes]] = struct.Struct(">QQQQQ32s").pack


def _place(author: str, sig: bytes, body: bytes) -> _Place | str:
    """Where a sound event of an author belongs, or why it is none.

    As `gate.inspect` judges, without making the event: that is a third of the time. What this
    does not take for ordinary is left to the gate.
    """
    try:
        fields = codec.decode(body)
        found = _ordinary(author, fields)
    except (codec.DecodeError, ValueError):
        found = None
    if found is not None and signing.verify(author, sig, body):
        return _Place(found[0], found[1], ids.event_hash(body), found[2])
    event = gate.inspect(sig, body)
    if isinstance(event, gate.Reject):
        return event.reason
    if event.author != author:
        return f"it is by author {event.author[:16]}"
    return _Place(event.seq, event.prev, event.hash, hlc.parse(event.hlc))


def _ordinary(author: str, fields: dict[str, object]) -> tuple[int, str, hlc.Stamp] | None:
    """The place that the fields of an event name; None where the gate is to look at them."""
    match fields:
        case {
            "author": str() as who,
            "device_id": str() as device,
            "event_type": str() as kind,
            "hlc": str() as clock,
            "payload": dict(),
            "prev": str() as prev,
            "seq": int() as seq,
            "timestamp": str() as timestamp,
            "v": int() as v,
        } if who == author and v == SCHEMA_VERSION and len(fields) == len(BODY_FIELDS):
            names = len(device) <= MAX_NAME_CHARACTERS and 0 < len(kind) <= MAX_NAME_CHARACTERS
            numbers = type(seq) is int and type(v) is int and seq >= 1
            stamp = hlc.parse(clock)
            in_time = timestamp == hlc.timestamp(stamp.ms)
            if names and numbers and in_time and len(prev) == len(NO_PREV) and _hex(prev):
                return seq, prev, stamp
    return None


def _hex(text: str) -> bool:
    return text.islower() and text.isalnum() and len(bytes.fromhex(text)) * 2 == len(text)


@contextmanager
def _snapshot(db: sqlite3.Connection) -> Iterator[None]:
    """All of a part as of one moment, while the ledger grows."""
    ours = not db.in_transaction
    if ours:
        db.execute("BEGIN")
    try:
        yield
    finally:
        if ours:
            db.execute("ROLLBACK")
