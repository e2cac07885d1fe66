"""Reading a ledger for a neighbour: one author's events a page at a time."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

from mesh.sync.archive import Envelope, Page

if TYPE_CHECKING:
    from mesh.edge.store.writer import Writer
    from mesh.ledger.document import Segment


def read_page(
    db: sqlite3.Connection, author: str, after: int, max_events: int, max_bytes: int
) -> Page:
    """Events past `after`, ascending; never part of what is kept at one seq."""
    envelopes: list[Envelope] = []
    last, size = after, 0
    rows = db.execute(
        "SELECT seq, sig, body FROM events WHERE author = ? AND seq > ? ORDER BY seq, hash",
        (author, after),
    )
    try:
        for seq, sig, body in rows:
            if seq != last and (len(envelopes) >= max_events or size >= max_bytes):
                return Page(envelopes=tuple(envelopes), last=last, more=True)
            envelopes.append((sig, body))
            size += len(sig) + len(body)
            last = seq
    finally:
        rows.close()
    return Page(envelopes=tuple(envelopes), last=last, more=False)


def open_segment(writer: Writer, author: str) -> tuple[int, Segment] | None:
    """The document of an author's main line that is not yet full."""
    from mesh.ledger import document

    seq = writer.head(author).seq
    if seq % document.SEGMENT_EVENTS == 0:
        return None
    number = document.segment_of(seq)
    return number, writer.documents.segment(author, number)
