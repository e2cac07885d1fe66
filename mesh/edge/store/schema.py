"""The ledger's tables. Plain SQLite, readable with any tool but for full segments (sealed/pack.py).

`events` holds what is looked for, and finds each event's place; its signature and body are in
`open_bodies`, or in the blob of its segment once that is full. Everything else follows from them.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Final

from mesh.edge.disk import LedgerDamaged, StoreError, explained

DATABASE: Final = "ledger.db"
FORMAT: Final = 3
# Format 1 knew one event per author and seq; 1 and 2 kept every body in its row, and every event a
# second time in a document. Readers still read them (`care/old.py`), a writer lifts them.
OLDEST: Final = 1
INSTEAD: Final = "move it away, then fleet restore FILE; without a backup: fleet up"
# A reader may hold a page lock while a checkpoint runs; that takes milliseconds.
BUSY_TIMEOUT_S: Final = 5.0

TABLES: Final = """
CREATE TABLE authors (id INTEGER PRIMARY KEY, key BLOB NOT NULL UNIQUE);
CREATE TABLE events (
  cursor INTEGER PRIMARY KEY, author INTEGER NOT NULL, seq INTEGER NOT NULL,
  hlc_ms INTEGER NOT NULL, hlc_counter INTEGER NOT NULL, hash BLOB NOT NULL);
CREATE INDEX events_chain ON events (author, seq);
CREATE INDEX events_order ON events (hlc_ms, hlc_counter);
CREATE TABLE open_bodies (cursor INTEGER PRIMARY KEY, sig BLOB NOT NULL, body BLOB NOT NULL);
CREATE TABLE segments (
  author INTEGER NOT NULL, segment INTEGER NOT NULL, digest BLOB NOT NULL, data BLOB,
  UNIQUE (author, segment));
CREATE TABLE increments (
  author INTEGER NOT NULL, seq INTEGER NOT NULL, change BLOB NOT NULL,
  PRIMARY KEY (author, seq)) WITHOUT ROWID;
CREATE TABLE forks (
  author INTEGER NOT NULL, seq INTEGER NOT NULL, hash BLOB NOT NULL,
  PRIMARY KEY (author, seq, hash)) WITHOUT ROWID;
CREATE TABLE held (
  arrival INTEGER PRIMARY KEY, author TEXT NOT NULL, seq INTEGER NOT NULL, hash BLOB NOT NULL,
  body BLOB NOT NULL, sig BLOB NOT NULL, UNIQUE (author, seq, hash));
CREATE TABLE checkpoints (slot INTEGER PRIMARY KEY CHECK (slot = 1), cursor INTEGER NOT NULL,
  state BLOB NOT NULL);
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
"""
NAMES: Final = ("authors", "events", "open_bodies", "segments", "increments", "forks", "held",
                "checkpoints", "meta")  # fmt: skip


def connect(path: Path, mode: str) -> sqlite3.Connection:
    """Open a database: mode "rwc" to write, "ro" to read, "immutable" when nobody can write."""
    query = "mode=ro&immutable=1" if mode == "immutable" else f"mode={mode}"
    db = sqlite3.connect(
        f"{path.absolute().as_uri()}?{query}",
        uri=True,
        timeout=BUSY_TIMEOUT_S,
        isolation_level=None,
        check_same_thread=False,
    )
    db.text_factory = _text
    return db


def read_only(path: Path) -> sqlite3.Connection:
    """A database to read, of any format we know, as if it were of this one."""
    with explained(f"cannot read the ledger in {path.parent}"):
        try:
            return _probe(path, "ro")
        except sqlite3.OperationalError:
            # In a folder we cannot write, SQLite cannot make its shared-memory file.
            return _probe(path, "immutable")


def _probe(path: Path, mode: str) -> sqlite3.Connection:
    """Open and read once: SQLite reports an unreadable file at the first read."""
    db = connect(path, mode)
    try:
        version = format_of(db)
        if version == 0:
            _refuse_numberless(db)
            raise StoreError(f"{path} is empty: no ledger, or one that was lost", INSTEAD)
        check_format(version)
        if version < FORMAT:
            from mesh.edge.store.care.old import show_as_new

            show_as_new(db)
        db.execute("SELECT 1 FROM events LIMIT 1").fetchone()
    except (sqlite3.Error, StoreError, UnicodeDecodeError):
        db.close()
        raise
    return db


def prepare(db: sqlite3.Connection) -> None:
    """Make the tables where there are none; refuses a ledger of another program's format."""
    version = format_of(db)
    check_format(version or FORMAT, FORMAT)
    if version == 0:
        _refuse_numberless(db)
    db.execute("PRAGMA journal_mode=WAL")
    # Acknowledged means on the platter: the log is synced at every commit, once.
    db.execute("PRAGMA synchronous=FULL")
    if version == 0:
        db.executescript(f"BEGIN IMMEDIATE;{TABLES}PRAGMA user_version={FORMAT};COMMIT;")


def format_of(db: sqlite3.Connection) -> int:
    """The format number a database carries; 0 for an empty one."""
    return int(db.execute("PRAGMA user_version").fetchone()[0])


def check_format(version: int, oldest: int = OLDEST) -> None:
    """Refuse a format we do not know."""
    if version < 0:
        raise LedgerDamaged(f"the ledger is damaged: it has format {version}")
    if not oldest <= version <= FORMAT:
        raise StoreError(
            f"the ledger has format {version}, this program knows {FORMAT}",
            "install a newer fleet-ledger",
        )


def _refuse_numberless(db: sqlite3.Connection) -> None:
    """A database without a format is a new one, unless it has tables."""
    if db.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()[0]:
        raise LedgerDamaged("the ledger is damaged: it has tables and no format")


def _text(data: bytes) -> str:
    """A damaged text column must reach `verify`, not raise inside SQLite."""
    return data.decode("utf-8", "replace")
