"""One author's events, a thousand at a time, as an Automerge document.

The document carries, the gate decides: a key is the event's seq, a value its signature and
body. The actor is the author's public key and every event is one change without a clock, so
each peer builds the same bytes. The only file that knows Automerge (1.0.0rc1).
"""

from __future__ import annotations

from typing import Final

from automerge.core import ROOT, Document, ScalarType

from mesh.ledger.signing import SIGNATURE_BYTES

# A live document of 1,000 events takes about a megabyte and loads in milliseconds; one of
# 100,000 takes 110 MB and pays for its length at every reconnect.
SEGMENT_EVENTS: Final = 1000


class DocumentError(ValueError):
    """The bytes are no document of ours; one line says why."""


def segment_of(seq: int) -> int:
    """The segment an event belongs to; segment 0 holds seq 1 to 1,000."""
    return (seq - 1) // SEGMENT_EVENTS


class Segment:
    """A live segment of one author. Only grows; raises DocumentError on foreign bytes."""

    def __init__(self, author: str, data: bytes = b"") -> None:
        self.author: Final = author
        self._document = _load(bytes.fromhex(author), data)

    def append(self, seq: int, sig: bytes, body: bytes) -> bytes:
        """Add one event; returns the change to save. A seq already here is a DocumentError."""
        before = self._document.get_heads()
        try:
            with self._document.transaction() as transaction:
                if transaction.get(ROOT, str(seq)) is not None:
                    raise DocumentError(f"seq {seq} is already in its segment")
                transaction.put(ROOT, str(seq), ScalarType.Bytes, sig + body)
            return b"".join(bytes(c.bytes) for c in self._document.get_changes(before))
        except DocumentError:
            raise
        except Exception as error:  # Automerge raises nothing finer
            raise DocumentError(f"segment refused seq {seq}: {error}") from error

    def save(self) -> bytes:
        """The whole document, compressed."""
        return bytes(self._document.save())

    def events(self) -> dict[int, tuple[bytes, bytes]]:
        """Every (sig, body) by seq. Anything else in the document is a DocumentError."""
        try:
            keys = self._document.keys(ROOT)
            return dict(self._entry(key) for key in keys)
        except DocumentError:
            raise
        except Exception as error:
            raise DocumentError(f"segment cannot be read: {error}") from error

    def _entry(self, key: str) -> tuple[int, tuple[bytes, bytes]]:
        if not (key.isascii() and key.isdigit() and len(key) < 17):
            raise DocumentError(f"segment holds a stray key {key[:40]!r}")
        found: object = self._document.get(ROOT, key)
        match found:  # a Bytes scalar reads back as a list of integers
            case ((ScalarType.Bytes, list() as numbers), _):
                data = bytes(numbers)
                return int(key), (data[:SIGNATURE_BYTES], data[SIGNATURE_BYTES:])
        raise DocumentError(f"segment holds no bytes at seq {key}")


def _load(actor: bytes, data: bytes) -> Document:
    """A document from a saved one or from changes laid end to end."""
    try:
        if not data:
            return Document(actor)
        document = Document.load(data)
        for change in document.get_changes([]):
            if bytes(change.actor_id) != actor:
                raise DocumentError("segment holds a change by somebody else")
        document.set_actor(actor)
        return document
    except DocumentError:
        raise
    except Exception as error:  # Automerge raises nothing finer
        raise DocumentError(f"not a segment: {error}") from error
