"""Reading an Automerge sync message without Automerge: only what our peers write gets through.

A few bytes of a change can claim a billion operations and a Bloom filter a billion probes, and
Automerge believes them. An honest change here puts one event under its seq and does nothing
else, so anything else is refused before Automerge sees it. Formats: automerge.org/automerge-
binary-format-spec, and the sync message of automerge 0.5 and later.
"""

from __future__ import annotations

import hashlib
import zlib
from dataclasses import dataclass
from typing import Final, final

from mesh.ledger.codec import MAX_EVENT_BYTES
from mesh.ledger.signing import SIGNATURE_BYTES

# Fits a message of 4 MiB; an open segment of ours is 0.4 MB.
MAX_SYNC_BYTES: Final = 4 * 1024 * 1024 - 4096
# An event, its signature, and some 200 bytes of columns around it.
MAX_CHANGE_BYTES: Final = MAX_EVENT_BYTES + 1024
# A chain has one head. Hashes wanted are at most those of one segment.
MAX_HASHES: Final = 1024
# Automerge's own Bloom filter: 10 bits an entry, 7 probes.
BLOOM_BITS: Final = 10
BLOOM_PROBES: Final = 7
# After the changes: a count of capabilities and flags, a byte each.
MAX_TRAILER_BYTES: Final = 16

_VERSIONS: Final = frozenset((0x42, 0x43))
_MAGIC: Final = b"\x85\x6f\x4a\x83"
_PLAIN: Final = 1
_DEFLATED: Final = 2
# The columns of one put of one Bytes value under a text key: key, insert, action, value's type
# and length, value, number of predecessors.
_COLUMNS: Final = (0x15, 0x34, 0x42, 0x56, 0x57, 0x70)
_BYTES_TYPE: Final = 7


class ChangeError(ValueError):
    """Not what a peer of ours sends; one line says why."""


@final
@dataclass(frozen=True, slots=True)
class Put:
    """One change: the event it puts, and the hash Automerge knows the change by."""

    seq: int
    sig: bytes
    body: bytes
    hash: bytes


def read_message(data: bytes, author: bytes) -> list[Put]:
    """The events in a sync message about a segment of `author`; ChangeError for any other."""
    if len(data) > MAX_SYNC_BYTES:
        raise ChangeError(f"{len(data)} bytes, a sync message may have {MAX_SYNC_BYTES}")
    reader = _Reader(data)
    if reader.take(1)[0] not in _VERSIONS:
        raise ChangeError("an unknown kind of sync message")
    reader.hashes()
    reader.hashes()
    for _ in range(reader.number(MAX_HASHES)):
        reader.hashes()
        _bloom(reader.take(reader.number(len(data))))
    puts: list[Put] = []
    for _ in range(reader.number(MAX_HASHES)):
        chunks = _Reader(reader.take(reader.number(len(data))))
        while chunks.left():
            puts.append(_put(chunks, author))
    if reader.left() > MAX_TRAILER_BYTES:
        raise ChangeError("too much after the changes")
    return puts


class _Reader:
    """Bounded reading of bytes and of LEB128 numbers."""

    def __init__(self, data: bytes) -> None:
        self._data: Final = data
        self.at = 0

    def left(self) -> int:
        return len(self._data) - self.at

    def take(self, count: int) -> bytes:
        if count > self.left():
            raise ChangeError("cut short")
        self.at += count
        return self._data[self.at - count : self.at]

    def number(self, most: int) -> int:
        value = 0
        for shift in range(0, 63, 7):
            byte = self.take(1)[0]
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                if value > most:
                    raise ChangeError(f"claims {value}, at most {most}")
                return value
        raise ChangeError("a number without end")

    def hashes(self) -> list[bytes]:
        return [self.take(32) for _ in range(self.number(MAX_HASHES))]


def _bloom(data: bytes) -> None:
    """Refuse a filter that would take long to ask."""
    if not data:
        return
    reader = _Reader(data)
    entries = reader.number(MAX_HASHES)
    if reader.number(BLOOM_BITS) != BLOOM_BITS or reader.number(BLOOM_PROBES) != BLOOM_PROBES:
        raise ChangeError("a filter of another size")
    if reader.left() != (entries * BLOOM_BITS + 7) // 8:
        raise ChangeError("a filter of another size")


def _put(chunks: _Reader, author: bytes) -> Put:
    """The next change of a list; refuses all but one put of one event by `author`."""
    if chunks.take(4) != _MAGIC:
        raise ChangeError("no change where one should be")
    checksum = chunks.take(4)
    kind = chunks.take(1)[0]
    content = chunks.take(chunks.number(MAX_CHANGE_BYTES))
    if kind == _DEFLATED:
        content = _inflate(content)
    elif kind != _PLAIN:
        raise ChangeError("a document where a change should be")
    digest = hashlib.sha256(bytes([_PLAIN]) + _leb128(len(content)) + content).digest()
    if digest[:4] != checksum:
        raise ChangeError("a change with a wrong checksum")
    return _content(_Reader(content), author, digest)


def _content(reader: _Reader, author: bytes, digest: bytes) -> Put:
    reader.hashes()  # predecessors; the chain inside the event is what counts
    if reader.take(reader.number(32)) != author:
        raise ChangeError("a change by somebody else")
    reader.number(2**53)  # the change's own count and
    reader.number(2**53)  # the first operation's: compared with ours by their hash
    if reader.take(3) != b"\0\0\0":
        raise ChangeError("a change with a time, a message, or another author's operations")
    if reader.number(64) != len(_COLUMNS):
        raise ChangeError("a change that does something else than put one event")
    sizes = []
    for column in _COLUMNS:
        if reader.number(255) != column:
            raise ChangeError("a change that does something else than put one event")
        sizes.append(reader.number(MAX_CHANGE_BYTES))
    key, insert, action, kind, value, before = (reader.take(size) for size in sizes)
    if (insert, action, before) != (b"\x01", b"\x7f\x01", b"\x7f\x00") or reader.left():
        raise ChangeError("a change that deletes or overwrites")
    if kind != b"\x7f" + _leb128(len(value) << 4 | _BYTES_TYPE):
        raise ChangeError("a value that is not bytes")
    return Put(_seq(key), value[:SIGNATURE_BYTES], value[SIGNATURE_BYTES:], digest)


def _seq(key: bytes) -> int:
    """The one key of a change: a literal run of one text."""
    text = key[2:]
    if key[:2] != b"\x7f" + bytes([len(text) & 0x7F]) or not 0 < len(text) < 17:
        raise ChangeError("a change of several keys")
    if not text.isdigit() or text[:1] == b"0":
        raise ChangeError("a key that is no seq")
    return int(text)


def _inflate(data: bytes) -> bytes:
    """A compressed change, never more than the largest one."""
    try:
        inflater = zlib.decompressobj(-zlib.MAX_WBITS)
        plain = inflater.decompress(data, MAX_CHANGE_BYTES)
    except zlib.error as error:
        raise ChangeError(f"a change that cannot be unpacked: {error}") from error
    if inflater.unconsumed_tail or not inflater.eof:
        raise ChangeError(f"a change of more than {MAX_CHANGE_BYTES} bytes")
    return plain


def _leb128(value: int) -> bytes:
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])
