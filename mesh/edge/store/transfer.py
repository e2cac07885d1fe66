"""Carrying a ledger by hand: JSON Lines, one whole envelope per line."""

from __future__ import annotations

import os
import secrets
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Final, final

import msgspec

from mesh.edge.disk import StoreError, explained, place_of, sync_folder
from mesh.edge.store.reports import ImportReport, Rejected
from mesh.edge.store.rows import PAGE_ROWS, Rows
from mesh.ledger import codec, gate, ids
from mesh.ledger.record import Fault, parse_record
from mesh.state.peer_id import peer_id
from mesh.sync.manifest import Admits

# The largest envelope is the largest event and some 200 bytes of id and signature; twice that
# leaves room for files written with spaces.
MAX_LINE_BYTES: Final = 2 * codec.MAX_EVENT_BYTES
# A report names this many lines; the rest is counted.
MAX_REJECTED_NAMED: Final = 100
# Events per commit while importing: one fsync for many, few enough to lose nothing much.
BATCH: Final = 500

_ENCODER: Final = msgspec.json.Encoder(order="sorted")
_Envelope = tuple[bytes, bytes]
_Place = tuple[str, int, int, int]  # author, seq, offset, line
Admit = Callable[[Iterable[_Envelope]], list[gate.Admission]]


def export(db: sqlite3.Connection, path: Path) -> int:
    """Write every event in total order; the file appears whole or not at all."""
    with explained(f"cannot export to {path}"):
        path = place_of(path)
        draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
        try:
            with draft.open("xb") as file:
                db.execute("BEGIN")  # one snapshot
                count = _write(Rows(db), file)
                file.flush()
                os.fsync(file.fileno())
            draft.replace(path)
        finally:
            if db.in_transaction:
                db.execute("ROLLBACK")
            draft.unlink(missing_ok=True)
        sync_folder(path.parent)
    return count


def _write(rows: Rows, file: IO[bytes]) -> int:
    count = 0
    for page in rows.ordered():
        for start in range(0, len(page), PAGE_ROWS):
            part = page[start : start + PAGE_ROWS]
            for row, (sig, body) in zip(part, rows.whole(part), strict=True):
                file.write(_line(rows.name(row.author), row.seq, sig, body))
        count += len(page)
    return count


def _line(author: str, seq: int, sig: bytes, body: bytes) -> bytes:
    event = parse_record(body, sig)
    if isinstance(event, Fault):
        text = f"event {seq} of author {author[:16]} is damaged"
        raise StoreError(text, "run: fleet verify")
    return _ENCODER.encode(codec.decode(body) | {"id": event.id, "sig": event.sig}) + b"\n"


@final
@dataclass(slots=True)
class _Tally:
    """What an import has seen so far."""

    admitted: int = 0
    known: int = 0
    held: int = 0
    rejected_count: int = 0
    unreadable: int = 0  # of the rejected, those that hold no event
    rejected: list[Rejected] = field(default_factory=list)

    def reject(self, line: int, text: str) -> None:
        self.rejected_count += 1
        if len(self.rejected) < MAX_REJECTED_NAMED:
            self.rejected.append(Rejected(line=line, text=text))

    def add(self, line: int, outcome: gate.Admission) -> None:
        match outcome:
            case gate.Accept():
                self.admitted += 1
            case gate.Known():
                self.known += 1
            case gate.Hold():
                self.held += 1
            case gate.Reject(reason=reason) | gate.Fork(reason=reason):
                self.reject(line, reason)


def import_(admit: Admit, path: Path, name: str = "", admits: Admits | None = None) -> ImportReport:
    """Pass a file's lines through the gate, each author's in the order of its chain.

    `name` is what errors call it, where that is not its path. Events of authors that `admits` says
    no to are set aside, and offered again for as long as the file brings news: a grant in it may
    let them in.
    """
    tally, name = _Tally(), name or str(path)
    with explained(f"cannot import {name}"):
        if not path.is_file():
            what = "it is a folder" if path.is_dir() else "there is no such file"
            raise StoreError(f"cannot import {name}: {what}", "name a file that fleet exported")
        with path.open("rb") as file:
            index = _index(file, tally)
            if not index and tally.rejected_count:
                first = tally.rejected[0]
                text = f"cannot import {name}: no line of it is an event"
                raise StoreError(
                    f"{text} (line {first.line}: {first.text})", "name a file that fleet exported"
                )
            for place in _in_passes(admit, admits, file, index, tally):
                tally.reject(place[3], f"{peer_id(place[0])[:7]} is no member")
    return ImportReport(
        lines=len(index) + tally.unreadable,
        admitted=tally.admitted,
        known=tally.known,
        held=tally.held,
        rejected=tuple(tally.rejected),
        rejected_count=tally.rejected_count,
    )


def _index(file: IO[bytes], tally: _Tally) -> list[_Place]:
    """Where each sound line is, as (author, seq, offset, line), in chain order.

    About 150 bytes of memory a line, whatever the lines hold.
    """
    found: list[_Place] = []
    authors: dict[str, str] = {}
    for number, offset, raw in _lines(file):
        envelope = parse_line(raw)
        event = envelope if isinstance(envelope, Fault) else parse_record(envelope[1], envelope[0])
        if isinstance(event, Fault):
            tally.unreadable += 1
            tally.reject(number, event.text)
        else:
            author = authors.setdefault(event.author, event.author)
            found.append((author, event.seq, offset, number))
    found.sort()
    return found


def _in_passes(
    admit: Admit, admits: Admits | None, file: IO[bytes], index: list[_Place], tally: _Tally
) -> list[_Place]:
    """Offer all lines, and again those set aside, until a pass brings nothing; returns the rest."""
    left = index
    while left:
        before = tally.admitted
        aside: list[_Place] = []
        out: set[str] = set()  # whoever was set aside stays so for the pass: chains have no gaps
        for start in range(0, len(left), BATCH):
            let_in: list[_Place] = []
            for place in left[start : start + BATCH]:
                if place[0] in out or not (admits is None or admits(place[0], place[1])):
                    out.add(place[0])
                    aside.append(place)
                else:
                    let_in.append(place)
            _admit_batch(admit, file, let_in, tally)
        if tally.admitted == before:
            return aside
        left = aside
    return []


def _admit_batch(admit: Admit, file: IO[bytes], places: list[_Place], tally: _Tally) -> None:
    batch: list[_Envelope] = []
    for *_, offset, _line_number in places:
        file.seek(offset)
        envelope = parse_line(file.readline(MAX_LINE_BYTES + 1))
        if isinstance(envelope, Fault):
            raise StoreError("the file changed while it was read", "import it again")
        batch.append(envelope)
    for place, outcome in zip(places, admit(batch), strict=True):
        tally.add(place[3], outcome)


def _lines(file: IO[bytes]) -> Iterator[tuple[int, int, bytes]]:
    """(line number, offset, line); an overlong line arrives cut, its rest skipped unkept."""
    number = 0
    offset = 0
    while raw := file.readline(MAX_LINE_BYTES + 1):
        number += 1
        if raw.strip():
            yield number, offset, raw
        while not raw.endswith(b"\n") and (raw := file.readline(MAX_LINE_BYTES)):
            pass
        offset = file.tell()


def parse_line(raw: bytes) -> _Envelope | Fault:
    """The (sig, body) of an exported line, its id checked; the gate checks the signature."""
    if len(raw) > MAX_LINE_BYTES:
        return Fault(f"longer than {MAX_LINE_BYTES} bytes")
    try:
        value = msgspec.json.decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        return Fault(f"not JSON: {error}")
    if not isinstance(value, dict):
        return Fault("not a JSON object")
    name, sig = value.pop("id", None), value.pop("sig", None)
    if not (isinstance(name, str) and isinstance(sig, str)):
        return Fault("id or sig is missing")
    try:
        body, signature = codec.encode(value), bytes.fromhex(sig)
    except (codec.EncodeError, ValueError) as error:
        return Fault(str(error))
    if ids.event_id(ids.event_hash(body)) != name:
        return Fault("its id does not match its content")
    return signature, body
