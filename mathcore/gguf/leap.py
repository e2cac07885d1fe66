"""Finds where a long array of texts ends without reading through it: for files far away.

The format says how many texts there are but not how many bytes. A length is eight bytes of which
six are zero, so any small window inside the array shows where its texts begin, and behind the last
of them stands a key or a tensor's name, where the chain of lengths breaks. What is found is a
guess until the whole header works out; `gguf.leap_header` checks that.
"""

from mathcore.gguf.cursor import Cursor
from mathcore.model.spec import SpecError

LEAP_FROM = 4096  # a shorter array is not worth a request of its own
WINDOW_BYTES = 64 << 10  # some thousand texts: enough to know the usual length
MAX_PROBES = 40  # a real vocabulary needs five to ten
MAX_TEXT = 2048  # no token or merge is longer; a longer one only ends the guessing
MIN_CHAIN = 12  # texts in a row that bytes of anything else do not imitate
# Texts tried in a window before it counts as none of ours: twice what it holds. A window of zeros
# is one chain after another, and would be walked two thousand times.
MAX_TRIED = 2 * WINDOW_BYTES // 8
TIMID = 0.9  # of the estimated way: landing short costs less than landing beyond

_LONG = bytes(6)
_KEY = frozenset(b"abcdefghijklmnopqrstuvwxyz0123456789._-")


def _chain(data: bytes, at: int) -> tuple[int, int, int]:
    """Texts in a row from `at`: how many, where the last begins, where they stop."""
    texts, last, end = 0, at, len(data)
    while data[at + 2 : at + 8] == _LONG:
        size = data[at] + 256 * data[at + 1]
        if size > MAX_TEXT or at + 8 + size > end:
            break
        last = at
        at += 8 + size
        texts += 1
    return texts, last, at


def _cut(data: bytes, at: int) -> bool:
    """The chain stopped because the window did."""
    if at + 8 > len(data):
        return True
    size = data[at] + 256 * data[at + 1]
    return data[at + 2 : at + 8] == _LONG and size <= MAX_TEXT


def _name(data: bytes, last: int, stop: int) -> bool:
    """A metadata key or a tensor's name, followed by a type or a number of dimensions."""
    if stop < last + 8:  # compiled, such a slice is an error and not empty
        return False
    text = data[last + 8 : stop]
    kind = data[stop : stop + 4]
    if len(text) < 3 or len(kind) < 4 or kind[0] > 12 or kind[1:] != b"\0\0\0":
        return False
    return b"." in text and _KEY.issuperset(text)


def _sync(data: bytes) -> int:
    """Where in a window the first whole text begins; -1 where there are none.

    Its chain is of the array if it is long enough, not all empty, and ends with the window or a
    name.
    """
    tried = 0
    for at in range(min(MAX_TEXT + 8, len(data))):
        if data[at + 2 : at + 8] != _LONG:
            continue
        texts, last, stop = _chain(data, at)
        long = texts >= MIN_CHAIN and stop - at > 8 * texts
        if long and (_cut(data, stop) or _name(data, last, stop)):
            return at
        tried += texts
        if tried > MAX_TRIED:
            return -1
    return -1


def leap(cursor: Cursor, count: int, field: str) -> None:
    """Move to the probable end of an array of `count` texts; SpecError where there is none."""
    cursor.count_texts(count, field)
    cursor.need(WINDOW_BYTES // 2, field)
    base, data, at = cursor.base, cursor.data, cursor.at
    passed, usual, beyond, near = 0, 0.0, 0, 0
    for _ in range(MAX_PROBES):
        texts, last, stop = _chain(data, at)
        if not _cut(data, stop):
            if not _name(data, last, stop):
                break
            cursor.land(data, base, last)
            return
        now = (stop - at) / texts if texts else usual
        between = int(2 * (base + at - near) / (usual + now)) if usual else 0
        passed, usual, near = passed + between + texts, now, base + stop
        base, data, at, beyond = _probe(cursor, near, int(TIMID * usual * (count - passed)), beyond)
    raise SpecError(field, "its end was not found")


def _probe(cursor: Cursor, near: int, way: int, beyond: int) -> tuple[int, bytes, int, int]:
    """A window of the array, at most `way` after `near`: its place, bytes, first text, and
    the nearest place known to lie beyond the array (0 = none yet).
    """
    for _ in range(MAX_PROBES):
        place = near + max(way, 0)
        if beyond:
            place = min(place, (near + beyond) // 2)
        if place - near < WINDOW_BYTES:
            place = near
        data = cursor.far(place, WINDOW_BYTES)
        at = 0 if place == near else _sync(data)
        if at >= 0:
            return place, data, at, beyond
        beyond, way = place, (place - near) // 2
    return near, b"", 0, beyond
