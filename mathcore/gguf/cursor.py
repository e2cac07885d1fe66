"""A place in a GGUF header: a window of bytes that only moves forward.

A header costs the same memory whatever its length, and what nobody needs is jumped over without
being fetched. Every length is checked against a named limit before it is used.
"""

import struct
from collections.abc import Callable
from typing import final

from mathcore.model.spec import SpecError

MAX_HEADER_BYTES = 64 << 20  # the longest real ones (256k-token vocabularies) are near 20 MiB
MAX_KEPT_BYTES = 4 << 20  # of all kept texts; real files keep under 100 KiB
MAX_TEXTS = 1 << 20  # tokens and merges stepped over; real ones have under 800,000

FIRST_PIECE_BYTES = 512 << 10  # a small vocabulary's whole header; then twice as much each time
MAX_PIECE_BYTES = 4 << 20  # what is held at once, whatever the header's length

# (offset, wanted bytes) -> what is there: fewer only where the file ends.
Fetch = Callable[[int, int], bytes]

_SHORT = bytes(7)  # the upper bytes of a length below 256, as nearly every token's is


@final
class HeaderCut(SpecError):
    """The bytes end inside the header: the file is truncated."""


def nothing_more(offset: int, size: int) -> bytes:
    """The Fetch of bytes that are all there is."""
    return b""


@final
class Cursor:
    """A place in the file that only moves forward, and a window of bytes around it."""

    def __init__(self, data: bytes, fetch: Fetch) -> None:
        self.data = data
        self.base = 0  # where in the file the window begins
        self.at = 0  # in the window; beyond its end after a jump
        self.fetch = fetch
        self.piece = FIRST_PIECE_BYTES
        self.leaps = False  # find a text array's end without reading through it
        self.fetched = 0
        self.kept_bytes = 0
        self.kept_items = 0
        self.texts = 0

    def far(self, place: int, size: int) -> bytes:
        """What is at `place` in the file; the cursor stays where it is."""
        if place + size > MAX_HEADER_BYTES or self.fetched > MAX_HEADER_BYTES:
            raise SpecError("header", f"the header is longer than {MAX_HEADER_BYTES} bytes")
        data = self.fetch(place, size)
        self.fetched += len(data)
        return data

    def land(self, data: bytes, base: int, at: int) -> None:
        """Go on at `at` in a window fetched elsewhere in the file."""
        self.data, self.base, self.at = data, base, at

    def need(self, size: int, field: str) -> None:
        """Make `size` bytes readable here; HeaderCut where the file has fewer."""
        if size <= len(self.data) - self.at:
            return
        place = self.base + self.at
        if place + size > MAX_HEADER_BYTES or self.fetched > MAX_HEADER_BYTES:
            raise SpecError(
                field, f"the header is longer than the {MAX_HEADER_BYTES} bytes allowed"
            )
        tail = self.data[self.at :]
        more = self.fetch(place + len(tail), max(size - len(tail), self.piece))
        self.fetched += len(more)
        self.piece = min(2 * self.piece, MAX_PIECE_BYTES)
        self.data, self.base, self.at = tail + more, place, 0
        if size > len(self.data):
            raise HeaderCut(field, "the file ends in the middle of its header")

    def take(self, size: int, field: str) -> int:
        """Step over `size` readable bytes; where in the window they began."""
        self.need(size, field)
        start = self.at
        self.at = start + size
        return start

    def jump(self, size: int, field: str) -> None:
        """Step over `size` bytes without fetching them; the last must be there."""
        if size > 0:
            if self.base + self.at + size > MAX_HEADER_BYTES:
                raise SpecError(field, f"the header is longer than {MAX_HEADER_BYTES} bytes")
            self.at += size - 1
            self.take(1, field)

    def number(self, letter: str, size: int, field: str) -> object:
        """One little-endian scalar."""
        start = self.take(size, field)
        found: tuple[object, ...] = struct.unpack_from("<" + letter, self.data, start)
        return found[0]

    def count(self, size: int, limit: int, field: str) -> int:
        """An unsigned number that must not exceed `limit`."""
        start = self.take(size, field)
        value = int.from_bytes(self.data[start : start + size], "little")
        if value > limit:
            raise SpecError(field, f"{value} is more than the {limit} allowed")
        return value

    def text(self, limit: int, field: str) -> str:
        """A length and that many bytes of UTF-8, kept."""
        size = self.count(8, limit, field)
        self.kept_bytes += size
        if self.kept_bytes > MAX_KEPT_BYTES:
            raise SpecError(field, f"the texts are longer than the {MAX_KEPT_BYTES} bytes allowed")
        start = self.take(size, field)
        return self.data[start : start + size].decode("utf-8", "replace")

    def count_texts(self, count: int, field: str) -> None:
        """SpecError once the header claims more texts than any real one."""
        self.texts += count
        if self.texts > MAX_TEXTS:
            raise SpecError(field, f"more texts than the {MAX_TEXTS} allowed")

    def pass_texts(self, count: int, field: str) -> None:
        """Step over `count` texts, nearly all of them shorter than 256 bytes."""
        self.count_texts(count, field)
        left, short = count, _SHORT
        while left > 0:
            data, at = self.data, self.at
            while left > 0 and data[at + 1 : at + 8] == short:
                at += 8 + data[at]
                left -= 1
            self.at = at
            if left > 0:  # a longer text, or the window's end
                self.jump(self.count(8, MAX_HEADER_BYTES, field), field)
                left -= 1
        if self.at > len(self.data):
            self.at -= 1
            self.take(1, field)
