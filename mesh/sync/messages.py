"""The few messages peers exchange, and the bounds on each before anything is believed.

MessagePack arrays, the kind first. A message is small, except a batch of events and a tail,
which are a megabyte or two at most, so a link never holds more than MAX_MESSAGE_BYTES for us.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Annotated, Final

import msgspec

from mesh.ledger.codec import MAX_EVENT_BYTES, MAX_INT
from mesh.ledger.signing import SIGNATURE_BYTES
from mesh.sync.archive import Envelope
from mesh.sync.versions import PROTOCOL

# A tail of 32 of the largest events is 2.1 MiB, a batch is smaller.
MAX_MESSAGE_BYTES: Final = 4 * 1024 * 1024
# Rows of a manifest in one message: 80 KB.
MAX_ROWS: Final = 1024
# A batch ends past either: what a receiver verifies in 0.1 s and commits at once.
BATCH_EVENTS: Final = 1000
BATCH_BYTES: Final = 1024 * 1024
# What a batch may unpack to: events past the bound are those of one seq, at most 16 branches.
MAX_BATCH_BYTES: Final = BATCH_BYTES + 17 * (MAX_EVENT_BYTES + 128)
MAX_BATCH_EVENTS: Final = BATCH_EVENTS + 17
# Bodies are text with hashes in it; higher levels take three times as long for 3 % less.
COMPRESSION: Final = 1

_Key = Annotated[bytes, msgspec.Meta(min_length=32, max_length=32)]
_Seq = Annotated[int, msgspec.Meta(ge=0, le=MAX_INT)]


class MessageError(ValueError):
    """Not a message of this protocol; one line says why."""


class Hello(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=0):
    """Said first and then now and then: the digest of everything the sender counts.

    `you_seq` and `you_hash` are the tip of the receiver's own chain as the sender has it; 0 and
    zeros where it has none of it. So a peer whose disk was restored learns how far it had come.
    """

    protocol: int
    digest: _Key
    you_seq: _Seq
    you_hash: _Key


class Hello1(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=0):
    """The hello of version 1."""

    protocol: int
    digest: _Key


class Row(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """One author's tip."""

    author: _Key
    seq: _Seq
    hash: _Key
    fork: _Seq


class Heads(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=1):
    """Tips the sender holds: all of them after a hello that differs, later those that moved."""

    rows: Annotated[tuple[Row, ...], msgspec.Meta(max_length=MAX_ROWS)]


class Pull(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=2):
    """Asks for the events of one author past a seq; answered by one Batch."""

    author: _Key
    after: _Seq


class Batch(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=3):
    """Events of one author past `after`, complete up to `last`; `more` when there are others."""

    author: _Key
    after: _Seq
    last: _Seq
    more: bool
    events: bytes


class Tail(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag=4):
    """An Automerge sync message about one author's open segment."""

    author: _Key
    segment: _Seq
    data: bytes


Message = Hello | Hello1 | Heads | Pull | Batch | Tail

_ENCODER: Final = msgspec.msgpack.Encoder()
_DECODER: Final = msgspec.msgpack.Decoder(Hello | Heads | Pull | Batch | Tail)
_DECODER_1: Final = msgspec.msgpack.Decoder(Hello1 | Heads | Pull | Batch | Tail)


def encode(message: Message) -> bytes:
    """The bytes of a message."""
    return _ENCODER.encode(message)


def decode(data: bytes, version: int = PROTOCOL) -> Message:
    """The message of that version in these bytes; MessageError for any other."""
    if len(data) > MAX_MESSAGE_BYTES:
        raise MessageError(f"{len(data)} bytes, a message may have {MAX_MESSAGE_BYTES}")
    try:
        message: Message = (_DECODER if version > 1 else _DECODER_1).decode(data)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise MessageError(f"not a message: {error}") from error
    return message


class Place(msgspec.Struct, frozen=True):
    """Where an event says it belongs. Nothing else of it has been looked at."""

    author: str
    seq: int


_PLACES: Final = msgspec.json.Decoder(Place)


def place_of(body: bytes) -> Place:
    """The author and seq a body names; MessageError where it names none."""
    try:
        return _PLACES.decode(body)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise MessageError(f"not an event: {error}") from error


def bounded(envelopes: Sequence[Envelope]) -> Sequence[Envelope]:
    """As many of the first as a batch may hold: an author may have signed any number at one seq."""
    size = 0
    for count, (sig, body) in enumerate(envelopes):
        size += 4 + len(sig) + len(body)
        if count == MAX_BATCH_EVENTS or size > MAX_BATCH_BYTES:
            return envelopes[:count]
    return envelopes


def pack(envelopes: Sequence[Envelope]) -> bytes:
    """Events for a batch: each its length, signature and body, all compressed."""
    parts: list[bytes] = []
    for sig, body in envelopes:
        parts += (len(body).to_bytes(4, "big"), sig, body)
    return zlib.compress(b"".join(parts), COMPRESSION)


def unpack(events: bytes) -> list[Envelope]:
    """The events of a batch; MessageError when they are not, or more than a batch may hold."""
    try:
        inflater = zlib.decompressobj()
        data = inflater.decompress(events, MAX_BATCH_BYTES)
    except zlib.error as error:
        raise MessageError(f"a batch that cannot be unpacked: {error}") from error
    if inflater.unconsumed_tail or not inflater.eof or inflater.unused_data:
        raise MessageError(f"a batch of more than {MAX_BATCH_BYTES} bytes, or cut short")
    found: list[Envelope] = []
    at = 0
    while at < len(data):
        end = at + 4 + SIGNATURE_BYTES + int.from_bytes(data[at : at + 4], "big")
        if end > len(data) or len(found) == MAX_BATCH_EVENTS:
            raise MessageError(f"a batch of more than {MAX_BATCH_EVENTS} events, or cut short")
        body_at = at + 4 + SIGNATURE_BYTES
        found.append((data[at + 4 : body_at], data[body_at:end]))
        at = end
    return found
