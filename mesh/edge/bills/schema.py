"""The tables of bills. All follow from the ledger: whoever deletes the file loses nothing."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Final

DATABASE: Final = "bills.db"
# Raise it with every change to how rows are made: an older file is then made anew.
FORMAT: Final = 4
BUSY_TIMEOUT_S: Final = 10.0
OPEN: Final = 1 << 62  # the end of a run that goes on, and of what is known

TABLES: Final = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE authors (
  id INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, print TEXT NOT NULL);
CREATE TABLE heard (
  author INTEGER NOT NULL, at INTEGER NOT NULL, last INTEGER NOT NULL,
  PRIMARY KEY (author, at)) WITHOUT ROWID;
CREATE TABLE runs (
  device TEXT NOT NULL, author INTEGER NOT NULL, job TEXT NOT NULL, attempt INTEGER NOT NULL,
  ended INTEGER NOT NULL, row BLOB NOT NULL,
  PRIMARY KEY (device, author, job, attempt)) WITHOUT ROWID;
CREATE INDEX runs_ended ON runs (device, ended);
CREATE INDEX runs_job ON runs (job, attempt);
CREATE TABLE jobs (
  job TEXT NOT NULL, author INTEGER NOT NULL, at INTEGER NOT NULL, row BLOB NOT NULL,
  PRIMARY KEY (job, author)) WITHOUT ROWID;
CREATE TABLE sent (
  job TEXT NOT NULL, attempt INTEGER NOT NULL, author INTEGER NOT NULL, at INTEGER NOT NULL,
  row BLOB NOT NULL, PRIMARY KEY (job, attempt, author)) WITHOUT ROWID;
CREATE TABLE gangs (
  device TEXT NOT NULL, job TEXT NOT NULL, attempt INTEGER NOT NULL, author INTEGER NOT NULL,
  at INTEGER NOT NULL, PRIMARY KEY (device, job, attempt, author)) WITHOUT ROWID;
CREATE TABLE paid (
  device TEXT NOT NULL, author INTEGER NOT NULL, at INTEGER NOT NULL, turn INTEGER NOT NULL,
  row BLOB NOT NULL, PRIMARY KEY (device, author, at)) WITHOUT ROWID;
CREATE TABLE away (
  device TEXT NOT NULL, author INTEGER NOT NULL, at INTEGER NOT NULL, turn INTEGER NOT NULL,
  PRIMARY KEY (device, author, at)) WITHOUT ROWID;
CREATE TABLE seen (
  device TEXT NOT NULL, author INTEGER NOT NULL, at INTEGER NOT NULL, told INTEGER NOT NULL,
  until INTEGER NOT NULL, energy INTEGER,
  PRIMARY KEY (device, author, at, told)) WITHOUT ROWID;
CREATE TABLE used (
  device TEXT NOT NULL, author INTEGER NOT NULL, at INTEGER NOT NULL, job TEXT NOT NULL,
  key TEXT NOT NULL, model TEXT NOT NULL, told INTEGER NOT NULL, row BLOB NOT NULL,
  PRIMARY KEY (device, author, at, job, key, model, told)) WITHOUT ROWID;
CREATE TABLE takers (
  provider TEXT NOT NULL, account TEXT NOT NULL, peer TEXT NOT NULL, author INTEGER NOT NULL,
  told INTEGER NOT NULL, PRIMARY KEY (provider, account, peer, author)) WITHOUT ROWID;
CREATE TABLE steps (
  provider TEXT NOT NULL, account TEXT NOT NULL, rental TEXT NOT NULL, author INTEGER NOT NULL,
  seq INTEGER NOT NULL, id TEXT NOT NULL, told INTEGER NOT NULL, row BLOB NOT NULL,
  PRIMARY KEY (provider, account, rental, author, seq, id)) WITHOUT ROWID;
CREATE TABLE machines (
  provider TEXT NOT NULL, account TEXT NOT NULL, rental TEXT NOT NULL, told INTEGER NOT NULL,
  turned INTEGER NOT NULL, host TEXT NOT NULL, row BLOB NOT NULL,
  PRIMARY KEY (provider, account, rental)) WITHOUT ROWID;
CREATE INDEX machines_turned ON machines (turned) WHERE turned = 1;
CREATE TABLE days (
  day TEXT NOT NULL, device TEXT NOT NULL, rows BLOB NOT NULL, brief BLOB NOT NULL,
  PRIMARY KEY (day, device)) WITHOUT ROWID;
CREATE TABLE months (
  month TEXT NOT NULL, device TEXT NOT NULL, of TEXT NOT NULL, rows BLOB NOT NULL,
  PRIMARY KEY (of, month, device)) WITHOUT ROWID;
CREATE TABLE cut (
  device TEXT PRIMARY KEY, owner TEXT NOT NULL, done INTEGER NOT NULL, dirty INTEGER NOT NULL)
  WITHOUT ROWID;
"""
OF_AUTHOR: Final = ("runs", "jobs", "sent", "gangs", "paid", "away", "seen", "used", "takers",
                    "steps")  # fmt: skip
NAMES: Final = ("meta", "authors", "heard", *OF_AUTHOR, "machines", "days", "months", "cut")


def open_bills(home: Path) -> sqlite3.Connection:
    """The database, made where it is missing or of another format."""
    db = _connect(home / DATABASE, "rwc")
    try:
        if _format(db) != FORMAT:
            _make(db)
    except sqlite3.DatabaseError:
        db.close()
        forget(home)  # damaged: it is made from the ledger
        db = _connect(home / DATABASE, "rwc")
        _make(db)
    return db


def in_memory() -> sqlite3.Connection:
    """One that lasts as long as this process asks."""
    db = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
    _make(db)
    return db


def read_bills(home: Path) -> sqlite3.Connection | None:
    """The database as it is, to read; None where there is none of this format."""
    if not (home / DATABASE).is_file():
        return None
    try:
        db = _connect(home / DATABASE, "ro")
        if _format(db) == FORMAT:
            return db
        db.close()
    except sqlite3.Error:
        pass
    return None


def is_outdated(home: Path) -> bool:
    """Whether there is one that has to be made anew."""
    db = read_bills(home)
    if db is not None:
        db.close()
    return db is None and (home / DATABASE).is_file()


def forget(home: Path) -> None:
    """Delete it: the next bill is made from the ledger again."""
    for suffix in ("", "-wal", "-shm"):
        (home / f"{DATABASE}{suffix}").unlink(missing_ok=True)


def _connect(path: Path, mode: str) -> sqlite3.Connection:
    db = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode={mode}",
        uri=True,
        timeout=BUSY_TIMEOUT_S,
        isolation_level=None,
        check_same_thread=False,
    )
    if mode != "ro":
        path.chmod(0o600)
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = NORMAL")  # lost rows are made anew
    return db


def _format(db: sqlite3.Connection) -> int:
    return int(db.execute("PRAGMA user_version").fetchone()[0])


def _make(db: sqlite3.Connection) -> None:
    db.execute("BEGIN IMMEDIATE")
    if _format(db) != FORMAT:  # another process may have made it meanwhile
        for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
            db.execute(f"DROP TABLE {name}")
        for statement in filter(str.strip, TABLES.split(";")):
            db.execute(statement)
        db.execute(f"PRAGMA user_version = {FORMAT}")
    db.execute("COMMIT")
