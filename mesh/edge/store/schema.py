"""The ledger's tables. Plain SQLite, readable with any tool."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Final

from mesh.edge.disk import StoreError

DATABASE: Final = "ledger.db"
FORMAT: Final = 2
# Format 1 knew one event per author and seq; its readers still work, a writer lifts it.
OLDEST: Final = 1
# A reader may hold a page lock while a checkpoint runs; that takes milliseconds.
BUSY_TIMEOUT_S: Final = 5.0

TABLES: Final = """
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


_LIFT: Final = """
DROP INDEX events_chain;
CREATE UNIQUE INDEX events_chain ON events (author, seq, hash);
DELETE FROM forks;
"""


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


def prepare(db: sqlite3.Connection) -> None:
    """Make the tables where there are none; refuses a ledger of a later program."""
    db.execute("PRAGMA journal_mode=WAL")
    db.execute("PRAGMA synchronous=FULL")
    version = format_of(db)
    if version == 0:
        db.executescript(f"BEGIN IMMEDIATE;{TABLES}PRAGMA user_version={FORMAT};COMMIT;")
    elif version == OLDEST:
        # Evidence without its event comes again from the peer that has the other branch.
        db.executescript(f"BEGIN IMMEDIATE;{_LIFT}PRAGMA user_version={FORMAT};COMMIT;")
    check_format(version or FORMAT)


def format_of(db: sqlite3.Connection) -> int:
    """The format number a database carries; 0 for an empty one."""
    return int(db.execute("PRAGMA user_version").fetchone()[0])


def check_format(version: int) -> None:
    """Refuse a format we do not know."""
    if not OLDEST <= version <= FORMAT:
        raise StoreError(
            f"the ledger has format {version}, this program knows {FORMAT}",
            "install a newer fleet-ledger",
        )


def _text(data: bytes) -> str:
    """A damaged text column must reach `verify`, not raise inside SQLite."""
    return data.decode("utf-8", "replace")
