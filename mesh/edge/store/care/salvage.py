"""What can be read of a damaged database, page by page, without SQLite.

SQLite finds a row through a tree of pages and stops where one is damaged. Here every page is looked
at by itself: one that is a leaf of a table gives its rows, whoever pointed to it. What it gives is
only offered to the gate, so a stale or garbled row does no harm.
Format: sqlite.org/fileformat2.html
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final

# A row of ours: a segment of the largest events that can't be compressed, or a snapshot.
MAX_ROW_BYTES: Final = 128 * 1024 * 1024
MAX_COLUMNS: Final = 16  # ours have nine at most
DEFAULT_PAGE: Final = 4096
_LEAF: Final = 0x0D
_FILE_HEAD: Final = 100
_WAL_HEAD: Final = 32
_FRAME_HEAD: Final = 24
_INTEGERS: Final = {1: 1, 2: 2, 3: 3, 4: 4, 5: 6, 6: 8}

Value = int | bytes | str | None


class Pages:
    """The pages of a database, those in its write-ahead log before those in the file."""

    def __init__(self, path: Path) -> None:
        self._file: Final[BinaryIO] = path.open("rb")
        head = self._file.read(_FILE_HEAD)
        said = int.from_bytes(head[16:18], "big")
        said = 65_536 if said == 1 else said
        self.size: Final = (
            said if 512 <= said <= 65_536 and said & (said - 1) == 0 else DEFAULT_PAGE
        )
        self.usable: Final = self.size - (head[20] if len(head) > 20 and head[20] < 64 else 0)
        self.count = -(-path.stat().st_size // self.size)
        self._log: Final = _log(path.with_name(path.name + "-wal"), self.size)
        self.count = max([self.count, *self._log])

    def get(self, number: int) -> bytes:
        """A page by its number, from 1; b"" where there is none."""
        if number in self._log:
            return self._log[number]
        if not 1 <= number <= self.count:
            return b""
        self._file.seek((number - 1) * self.size)
        return self._file.read(self.size)

    def close(self) -> None:
        self._file.close()


def _log(path: Path, size: int) -> dict[int, bytes]:
    """The newest copy of each page in a write-ahead log, as far as its frames belong together."""
    found: dict[int, bytes] = {}
    if not path.is_file():
        return found
    data = path.read_bytes()
    salt = data[16:24]
    for at in range(_WAL_HEAD, len(data) - _FRAME_HEAD - size + 1, _FRAME_HEAD + size):
        if data[at + 8 : at + 16] != salt:
            break
        page = data[at + _FRAME_HEAD : at + _FRAME_HEAD + size]
        found[int.from_bytes(data[at : at + 4], "big")] = page
    return found


def rows(pages: Pages) -> Iterator[tuple[int, list[Value]]]:
    """(rowid, values) of every row that any leaf of any table still holds."""
    for number in range(1, pages.count + 1):
        page = pages.get(number)
        at = _FILE_HEAD if number == 1 else 0
        if len(page) < pages.size or page[at] != _LEAF:
            continue
        cells = int.from_bytes(page[at + 3 : at + 5], "big")
        for place in range(at + 8, min(at + 8 + 2 * cells, pages.size - 1), 2):
            try:
                yield _cell(pages, page, int.from_bytes(page[place : place + 2], "big"))
            except (IndexError, ValueError):
                continue  # garbled: the others of the page may be sound


def _cell(pages: Pages, page: bytes, at: int) -> tuple[int, list[Value]]:
    size, at = _varint(page, at)
    rowid, at = _varint(page, at)
    return rowid, _record(_payload(pages, page, at, size))


def _payload(pages: Pages, page: bytes, at: int, size: int) -> bytes:
    """A row's bytes, those on overflow pages too."""
    if size > MAX_ROW_BYTES:
        raise ValueError("too long for a row of ours")
    usable = pages.usable
    if size <= usable - 35:
        return _exactly(page[at : at + size], size)
    least = (usable - 12) * 32 // 255 - 23
    local = least + (size - least) % (usable - 4)
    local = local if local <= usable - 35 else least
    parts, left = [page[at : at + local]], size - local
    following = int.from_bytes(page[at + local : at + local + 4], "big")
    while left > 0:
        more = pages.get(following)
        if len(more) < pages.size:
            raise ValueError("a row whose rest is gone")
        parts.append(more[4 : 4 + min(left, usable - 4)])
        left -= usable - 4
        following = int.from_bytes(more[:4], "big")
    return _exactly(b"".join(parts), size)


def _record(data: bytes) -> list[Value]:
    end, at = _varint(data, 0)
    kinds: list[int] = []
    while at < end:
        kind, at = _varint(data, at)
        kinds.append(kind)
        if len(kinds) > MAX_COLUMNS:
            raise ValueError("more columns than ours")
    values: list[Value] = []
    at = end
    for kind in kinds:
        value, at = _value(data, at, kind)
        values.append(value)
    return values


def _value(data: bytes, at: int, kind: int) -> tuple[Value, int]:
    if kind in (0, 8, 9):
        return (None if kind == 0 else kind - 8), at
    if kind in _INTEGERS:
        end = at + _INTEGERS[kind]
        return int.from_bytes(_exactly(data[at:end], end - at), "big", signed=True), end
    if kind < 12:
        raise ValueError("a kind of value we never write")
    end = at + (kind - 12) // 2
    found = _exactly(data[at:end], end - at)
    return (found if kind % 2 == 0 else found.decode("utf-8", "replace")), end


def _exactly(data: bytes, size: int) -> bytes:
    if len(data) != size:
        raise ValueError("cut short")
    return data


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for place in range(8):
        byte = data[at + place]
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            return value, at + place + 1
    return value << 8 | data[at + 8], at + 9
