"""Forks as a reader sees them: whose key signed two histories, and from which event on."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from mesh.edge.disk import explained
from mesh.edge.store import schema


def forks(home: Path) -> dict[str, int]:
    """The first seq with two events, by author (hex), of every author that forked."""
    path = home / schema.DATABASE
    if not path.is_file():
        return {}
    with explained(f"cannot read the ledger in {home}"), closing(schema.read_only(path)) as db:
        rows = db.execute(
            "SELECT a.key, MIN(f.seq) FROM forks f JOIN authors a ON a.id = f.author GROUP BY a.key"
        ).fetchall()
    return {bytes(key).hex(): int(seq) for key, seq in rows}
