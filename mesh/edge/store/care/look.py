"""A look at a ledger before it is written on: is it damaged in a way that a write would make worse?

Bounded, however long the ledger: a small database is gone through by SQLite (`quick_check`), of a
large one some events spread over all of it are looked up in the table and in both indexes. The
newest bodies are compared with their hashes, and the file with the length it says it has.
`fleet verify` looks at the rest.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Final

from mesh.edge.disk import LedgerDamaged, explained
from mesh.edge.store import schema
from mesh.ledger import ids

# SQLite goes through this much in a fifth of a second.
SMALL_BYTES: Final = 64 * 1024 * 1024
PROBES: Final = 256
NEWEST: Final = 2048
_SIZE_AT: Final = 28  # of the header: pages in the file, 4 bytes
_PAGE_AT: Final = 16  # bytes in a page, 2 bytes; 1 stands for 65,536


def look(db: sqlite3.Connection, path: Path) -> None:
    """LedgerDamaged where the database is not as it was written."""
    with explained(f"the ledger in {path.parent} is damaged"):
        _length(path)
        _tables(db)
        if path.stat().st_size <= SMALL_BYTES:
            _structure(db)
        else:
            _probes(db)
        _newest(db)


def _length(path: Path) -> None:
    """The file holds as many pages as its header says, unless the log still has some of them."""
    log = path.with_name(path.name + "-wal")
    if log.exists() and log.stat().st_size:
        return
    with path.open("rb") as file:
        head = file.read(100)
    if len(head) < 100:
        return  # new: still in the log
    size = int.from_bytes(head[_PAGE_AT : _PAGE_AT + 2], "big")
    pages = int.from_bytes(head[_SIZE_AT : _SIZE_AT + 4], "big")
    if path.stat().st_size < pages * (65_536 if size == 1 else size):
        raise LedgerDamaged(f"{path} is cut short")


def _tables(db: sqlite3.Connection) -> None:
    there = {name for (name,) in db.execute("SELECT name FROM sqlite_master")}
    missing = [name for name in schema.NAMES if name not in there]
    if missing:
        raise LedgerDamaged(f"the ledger has no table {missing[0]}")


def _structure(db: sqlite3.Connection) -> None:
    (text,) = db.execute("PRAGMA quick_check(1)").fetchone()
    if text != "ok":
        raise LedgerDamaged(f"the ledger is damaged: {text}")


def _probes(db: sqlite3.Connection) -> None:
    """Events from all over the table are found through both indexes."""
    last = db.execute("SELECT COALESCE(MAX(cursor), 0) FROM events").fetchone()[0]
    for cursor in range(1, last + 1, max(1, last // PROBES)):
        found = db.execute(
            "SELECT EXISTS (SELECT 1 FROM events x INDEXED BY events_chain"
            " WHERE x.author = e.author AND x.seq = e.seq AND x.cursor = e.cursor)"
            " AND EXISTS (SELECT 1 FROM events x INDEXED BY events_order"
            " WHERE x.hlc_ms = e.hlc_ms AND x.hlc_counter = e.hlc_counter AND x.cursor = e.cursor)"
            " FROM events e WHERE cursor = ?",
            (cursor,),
        ).fetchone()
        if found != (1,):
            raise LedgerDamaged(f"event {cursor} cannot be found in the ledger")


def _newest(db: sqlite3.Connection) -> None:
    """The newest events are in a row, and the open ones have the bodies they had."""
    rows = db.execute(
        "SELECT e.cursor, e.hash, o.body FROM events e LEFT JOIN open_bodies o"
        f" ON o.cursor = e.cursor ORDER BY e.cursor DESC LIMIT {NEWEST}"
    ).fetchall()
    for place, (cursor, digest, body) in enumerate(rows):
        if cursor != rows[0][0] - place:
            raise LedgerDamaged(f"event {rows[0][0] - place} is missing in the ledger")
        if body is not None and not _hashes(body, digest):
            raise LedgerDamaged(f"event {cursor} of the ledger is damaged")


def _hashes(body: object, digest: object) -> bool:
    return isinstance(body, bytes) and bytes.fromhex(ids.event_hash(body)) == digest
