"""Forks as a reader sees them: whose key signed two histories, and from which event on."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from mesh.edge.disk import explained
from mesh.edge.store import schema


def forks(home: Path) -> dict[str, int]:
    """The first seq with two events, by author (hex), of every author that forked."""
    path = home / schema.DATABASE
    if not path.is_file():
        return {}
    with explained(f"cannot read the ledger in {home}"):
        try:
            return _read(path, "ro")
        except sqlite3.OperationalError:
            return _read(path, "immutable")  # a folder we cannot write


def _read(path: Path, mode: str) -> dict[str, int]:
    with closing(schema.connect(path, mode)) as db:
        rows = db.execute("SELECT author, MIN(seq) FROM forks GROUP BY author").fetchall()
    return {str(author): int(seq) for author, seq in rows}
