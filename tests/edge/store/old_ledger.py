"""Ledgers of formats 1 and 2, written as the programs of then wrote them."""

import sqlite3
from collections.abc import Sequence
from pathlib import Path

from mesh.ledger import document, hlc, ids
from mesh.ledger.record import Fault, parse_record

Envelope = tuple[bytes, bytes]

TABLES = """
CREATE TABLE events (
  cursor INTEGER PRIMARY KEY, id TEXT NOT NULL, author TEXT NOT NULL, seq INTEGER NOT NULL,
  hlc_ms INTEGER NOT NULL, hlc_counter INTEGER NOT NULL, hash TEXT NOT NULL,
  body BLOB NOT NULL, sig BLOB NOT NULL);
CREATE UNIQUE INDEX events_chain ON events (author, seq, hash);
CREATE INDEX events_order ON events (hlc_ms, hlc_counter, author, seq);
CREATE TABLE segments (
  author TEXT NOT NULL, segment INTEGER NOT NULL, document BLOB NOT NULL,
  PRIMARY KEY (author, segment)) WITHOUT ROWID;
CREATE TABLE increments (
  author TEXT NOT NULL, seq INTEGER NOT NULL, change BLOB NOT NULL,
  PRIMARY KEY (author, seq)) WITHOUT ROWID;
CREATE TABLE held (
  author TEXT NOT NULL, seq INTEGER NOT NULL, hash TEXT NOT NULL, body BLOB NOT NULL,
  sig BLOB NOT NULL, PRIMARY KEY (author, seq, hash)) WITHOUT ROWID;
CREATE TABLE forks (
  author TEXT NOT NULL, seq INTEGER NOT NULL, hash TEXT NOT NULL, body BLOB NOT NULL,
  sig BLOB NOT NULL, PRIMARY KEY (author, seq, hash)) WITHOUT ROWID;
CREATE TABLE checkpoints (slot INTEGER PRIMARY KEY CHECK (slot = 1), cursor INTEGER NOT NULL,
  state BLOB NOT NULL);
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
"""


def write_old(
    home: Path,
    version: int,
    main: Sequence[Envelope],
    beside: Sequence[Envelope] = (),
    held: Sequence[Envelope] = (),
) -> None:
    """A ledger of one author: its main line, then the events of another branch."""
    home.mkdir(parents=True, exist_ok=True)
    db = sqlite3.connect(home / "ledger.db")
    db.execute("PRAGMA journal_mode=WAL")
    db.executescript(TABLES)
    if version == 1:
        db.executescript(
            "DROP INDEX events_chain; CREATE UNIQUE INDEX events_chain ON events (author, seq)"
        )
    for sig, body in [*main, *(beside if version > 1 else ())]:
        event = parse_record(body, sig)
        assert not isinstance(event, Fault)
        ms, counter = hlc.parse(event.hlc)
        row = (event.id, event.author, event.seq, ms, counter, event.hash, body, sig)
        db.execute(
            "INSERT INTO events (id, author, seq, hlc_ms, hlc_counter, hash, body, sig)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            row,
        )
    _documents(db, main)
    for name, events in (("forks", beside), ("held", held)):
        for sig, body in events:
            event = parse_record(body, sig)
            assert not isinstance(event, Fault)
            values = (event.author, event.seq, ids.event_hash(body), body, sig)
            db.execute(f"INSERT INTO {name} VALUES (?, ?, ?, ?, ?)", values)
    db.execute("INSERT INTO checkpoints VALUES (1, 3, x'0102')")
    db.execute(f"PRAGMA user_version={version}")
    db.commit()
    db.close()


def _documents(db: sqlite3.Connection, main: Sequence[Envelope]) -> None:
    first = parse_record(main[0][1], main[0][0])
    assert not isinstance(first, Fault)
    entries = [(seq, sig, body) for seq, (sig, body) in enumerate(main, 1)]
    full = len(main) // document.SEGMENT_EVENTS
    for number in range(full):
        part = entries[number * document.SEGMENT_EVENTS : (number + 1) * document.SEGMENT_EVENTS]
        blob = document.sealed(first.author, part)
        db.execute("INSERT INTO segments VALUES (?, ?, ?)", (first.author, number, blob))
    left = entries[full * document.SEGMENT_EVENTS :]
    if left:
        changes = document.Segment(first.author).extend(left)
        for entry, change in zip(left, changes, strict=True):
            db.execute("INSERT INTO increments VALUES (?, ?, ?)", (first.author, entry[0], change))
