"""Server-sent events, as engines write them: bytes in, the data of each whole event out, and what
its JSON says, whatever an engine wrote."""

from __future__ import annotations

from collections import deque
from typing import Any, Final, final

import msgspec

# One event of an engine: a token with its alternatives is a few kB, a whole Responses answer is
# sent again in its last event. Beyond that it is no stream of an engine.
MAX_EVENT_BYTES: Final = 16 << 20
MAX_NOTES: Final = 4  # comments that nobody read yet
PROGRESS: Final = "prompt_progress"  # in an event that is no part of the answer yet
DONE: Final = b"[DONE]"
_DATA: Final = b"data:"


class NoEvents(ValueError):
    """An engine's stream is none."""


def says_finish(data: bytes) -> bool:
    """Whether a chat's or a completion's event says why the answer stops: its last word."""
    return b'"finish_reason":"' in data or b'"finish_reason": "' in data


def said_in(data: bytes | str) -> object:
    """What this JSON says; None where it is none."""
    try:
        return msgspec.json.decode(data)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None


def object_of(value: object) -> dict[str, Any]:
    """An engine's object; an empty one for anything else."""
    return value if isinstance(value, dict) else {}


def objects_of(value: object) -> list[dict[str, Any]]:
    """The objects in an engine's list."""
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def text_of(value: object) -> str:
    """An engine's text; "" for anything else."""
    return value if isinstance(value, str) else ""


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
