"""Server-sent events, as engines write them: bytes in, the data of each whole event out."""

from __future__ import annotations

from collections import deque
from typing import Final, final

# One event of an engine: a token with its alternatives is a few kB, a whole Responses answer is
# sent again in its last event. Beyond that it is no stream of an engine.
MAX_EVENT_BYTES: Final = 16 << 20
MAX_NOTES: Final = 4  # comments that nobody read yet
DONE: Final = b"[DONE]"
_DATA: Final = b"data:"


class NoEvents(ValueError):
    """An engine's stream is none."""


@final
class EventReader:
    """Collects what arrives until an event is whole."""

    def __init__(self) -> None:
        self._rest: list[bytes] = []  # of a line that is not whole yet
        self._rest_bytes = 0
        self.notes: deque[bytes] = deque(maxlen=MAX_NOTES)

    @property
    def is_between(self) -> bool:
        """Whether all that came were whole lines."""
        return self._rest_bytes == 0

    def feed(self, chunk: bytes) -> list[bytes]:
        """The data of the events that are whole now; comments are in `notes`, the newest first."""
        *lines, rest = chunk.split(b"\n")
        if lines:
            lines[0] = b"".join((*self._rest, lines[0]))
            self._rest, self._rest_bytes = [], 0
        self._rest.append(rest)
        self._rest_bytes += len(rest)
        if self._rest_bytes > MAX_EVENT_BYTES:
            self._rest, self._rest_bytes = [], 0
            raise NoEvents(f"an event of more than {MAX_EVENT_BYTES} bytes")
        if b":" in {line[:1] for line in lines}:
            self.notes.extendleft(line[1:].strip() for line in lines if line.startswith(b":"))
        return [line[len(_DATA) :].strip() for line in lines if line.startswith(_DATA)]


def sse(data: bytes, event: str = "") -> bytes:
    """One event of ours."""
    name = b"event: " + event.encode() + b"\n" if event else b""
    return name + b"data: " + data + b"\n\n"


def comment(note: str) -> bytes:
    """A line that every client's library skips."""
    return b": " + note.replace("\n", " ").encode() + b"\n\n"
