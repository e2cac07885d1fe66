"""One author's events, a thousand at a time, as an Automerge document.

The document carries, the gate decides: a key is the event's seq, a value its signature and
body. The actor is the author's public key and every event is one change without a clock, so
each peer builds the same bytes. The only file that knows Automerge (1.0.0rc1).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from automerge.core import ROOT, Document, Message, ScalarType, SyncState

from mesh.ledger.signing import SIGNATURE_BYTES

# A live document of 1,000 events takes about a megabyte and loads in milliseconds; one of
# 100,000 takes 110 MB and pays for its length at every reconnect.
SEGMENT_EVENTS: Final = 1000


class DocumentError(ValueError):
    """The bytes are no document of ours; one line says why."""


def segment_of(seq: int) -> int:
    """The segment an event belongs to; segment 0 holds seq 1 to 1,000."""
    return (seq - 1) // SEGMENT_EVENTS


def sealed(author: str, events: Iterable[tuple[int, bytes, bytes]]) -> bytes:
    """A full segment as a blob: one change that puts every (seq, sig, body), the same everywhere.

    A thousand changes would take three times as long to load again.
    """
    document = Document(bytes.fromhex(author))
    with document.transaction() as transaction:
        for seq, sig, body in events:
            transaction.put(ROOT, str(seq), ScalarType.Bytes, sig + body)
    return bytes(document.save())


class Talk:
    """What one neighbour is known to have of one open segment; lives as long as a connection."""

    def __init__(self) -> None:
        self.state: Final = SyncState()


class Segment:
    """A live segment of one author. Only grows; raises DocumentError on foreign bytes."""

    def __init__(self, author: str, data: bytes = b"") -> None:
        self.author: Final = author
        self._document = _load(bytes.fromhex(author), data)
        self._hashes: Final[set[bytes]] = set()
        self._hashed: list[bytes] = []  # the heads up to which `_hashes` is complete

    def append(self, seq: int, sig: bytes, body: bytes) -> bytes:
        """Add one event; returns the change to save. A seq already here is a DocumentError."""
        return self.extend([(seq, sig, body)])[0]

    def extend(self, events: Sequence[tuple[int, bytes, bytes]]) -> list[bytes]:
        """Add events, one change each; returns the changes to save, in order."""
        before = self._document.get_heads()
        try:
            for seq, sig, body in events:
                with self._document.transaction() as transaction:
                    if transaction.get(ROOT, str(seq)) is not None:
                        raise DocumentError(f"seq {seq} is already in its segment")
                    transaction.put(ROOT, str(seq), ScalarType.Bytes, sig + body)
            return [bytes(c.raw_bytes) for c in self._document.get_changes(before)]
        except DocumentError:
            raise
        except Exception as error:  # Automerge raises nothing finer
            raise DocumentError(f"segment refused seq {events[0][0]}: {error}") from error

    def say(self, talk: Talk) -> bytes | None:
        """The next sync message for a neighbour; None when there is nothing to say."""
        message: Message | None = self._document.generate_sync_message(talk.state)
        return None if message is None else bytes(message.encode())

    def hear(self, talk: Talk, data: bytes, hashes: Sequence[bytes]) -> bool:
        """Take note of what a neighbour has. False, and nothing done, for a change not ours.

        The gate has had the events first, so every change of an honest message is here by now,
        to the byte; `hashes` are those in the message. What is not here stays outside.
        """
        try:
            if hashes and not self._known().issuperset(hashes):
                return False
            self._document.receive_sync_message(talk.state, Message.decode(data))
        except Exception as error:  # Automerge raises nothing finer
            raise DocumentError(f"not a sync message: {error}") from error
        return True

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

    def _known(self) -> set[bytes]:
        """The hashes of all changes; only the new ones are asked for."""
        self._hashes.update(bytes(c.hash) for c in self._document.get_changes(self._hashed))
        self._hashed = self._document.get_heads()
        return self._hashes

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
