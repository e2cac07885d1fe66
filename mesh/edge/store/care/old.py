"""Formats 1 and 2 as a reader of format 3 sees them: views of the same names, nothing copied."""

from __future__ import annotations

import sqlite3
from typing import Final

# Steps from author to author along the index: as many look-ups as authors, however many events.
# SQLite looks for a name among the temporary ones first, so these stand before the tables.
_VIEWS: Final = """
CREATE TEMP TABLE old_authors (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
INSERT INTO old_authors (name)
WITH RECURSIVE found(name) AS (
  SELECT MIN(author) FROM main.events
  UNION ALL
  SELECT (SELECT MIN(author) FROM main.events WHERE author > found.name) FROM found
  WHERE found.name IS NOT NULL)
SELECT name FROM found WHERE name IS NOT NULL;
CREATE TEMP VIEW authors AS SELECT id, unhexed(name) AS key FROM old_authors;
CREATE TEMP VIEW events AS
  SELECT e.cursor, a.id AS author, e.seq, e.hlc_ms, e.hlc_counter, unhexed(e.hash) AS hash
  FROM main.events e JOIN old_authors a ON a.name = e.author;
CREATE TEMP VIEW open_bodies AS SELECT cursor, sig, body FROM main.events;
CREATE TEMP VIEW forks AS
  SELECT a.id AS author, f.seq, unhexed(f.hash) AS hash
  FROM main.forks f JOIN old_authors a ON a.name = f.author
  JOIN main.events e ON e.author = f.author AND e.seq = f.seq AND e.hash = f.hash;
CREATE TEMP TABLE segments (author INTEGER, segment INTEGER, digest BLOB, data BLOB);
CREATE TEMP TABLE increments (author INTEGER, seq INTEGER, change BLOB);
"""


def show_as_new(db: sqlite3.Connection) -> None:
    """Let the queries of this format read an old ledger. Nothing of the file changes."""
    db.create_function("unhexed", 1, _unhexed, deterministic=True)
    db.execute("PRAGMA temp_store=MEMORY")
    db.executescript(_VIEWS)


def _unhexed(text: object) -> bytes:
    """The bytes a column names; of a damaged one, bytes that name nothing."""
    try:
        return bytes.fromhex(str(text))
    except ValueError:
        return str(text).encode("utf-8", "replace")
