"""Full segments in files of a folder, which may be on another disk: written once, never changed.

A file is called by the digest of its content and compared with it at each reading. We delete none:
whoever has the folder has those events, whatever becomes of the database.
"""

from __future__ import annotations

import os
import secrets
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Final

from mesh.edge.disk import StoreError, explained, sync_folder
from mesh.edge.store.sealed.shelf import digest_of, missing, read_file

# Segments to a commit: some ten megabytes are on both disks at once.
BATCH: Final = 64
NAME: Final = "archive"  # of the folder's path, among the ledger's notes about itself

Commit = Callable[[Callable[[], None]], None]  # runs its argument inside a transaction


def move(db: sqlite3.Connection, folder: Path, commit: Commit) -> int:
    """Bring full segments into the folder and out of the database; how many there were.

    A StoreError leaves each segment in at least one of the two.
    """
    if not folder.is_dir():
        raise missing(folder)
    commit(lambda: _note(db, folder))
    count = 0
    with explained(f"cannot write to the archive {folder}"):
        while rows := db.execute(
            f"SELECT rowid, digest, data FROM segments WHERE data IS NOT NULL LIMIT {BATCH}"
        ).fetchall():
            for _, digest, data in rows:
                _write(folder, digest, data)
            done = [(rowid,) for rowid, *_ in rows]
            commit(lambda done=done: _let_go(db, done))  # type: ignore[misc]
            count += len(rows)
    return count


def _note(db: sqlite3.Connection, folder: Path) -> None:
    db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (NAME, str(folder.absolute())))


def _let_go(db: sqlite3.Connection, rows: list[tuple[int]]) -> None:
    db.executemany("UPDATE segments SET data = NULL WHERE rowid = ?", rows)


def _write(folder: Path, digest: bytes, data: bytes) -> None:
    """Whole or not at all, and on the platter; one that is there already stays."""
    if digest_of(data) != digest:
        raise StoreError("a sealed segment is damaged", "run: fleet verify")
    if read_file(folder, digest) is not None:
        return
    path = folder / digest.hex()
    draft = folder / f".{path.name}.{secrets.token_hex(8)}"
    try:
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
    sync_folder(folder)
