"""The bounded log of one attempt: its head and its tail, whatever happens in between."""

import os
from collections import deque
from pathlib import Path

from providers.durable import private_file

# A chatty engine writes 20 KiB a load; 8 MiB keeps every sane run whole and a mad one harmless.
MAX_LOG_BYTES = 8 * 1024 * 1024
# The last words say why it died, so they survive even when the middle doesn't.
MAX_TAIL_BYTES = 64 * 1024
# One line for people: what fits in a table cell and an event.
MAX_TEXT_CHARS = 400
# Engines say a failed allocation in these words and then exit or abort.
OUT_OF_MEMORY = (
    "failed to allocate",
    "unable to allocate",
    "out of memory",
    "MemoryError",
    "bad_alloc",
)
SPEAKER = "engine: "  # our own engine programs begin their one clear line with this


class Log:
    """Writes through until the limit, then keeps only the newest tail for `close`."""

    def __init__(self, path: Path, limit: int = MAX_LOG_BYTES) -> None:
        self.out = os.fdopen(private_file(path, os.O_APPEND), "ab", buffering=0)
        self.room = limit
        self.tail: deque[bytes] = deque()
        self.tail_bytes = 0
        self.missing = 0  # bytes past the limit: written at the end only if in the tail

    def write(self, data: bytes) -> None:
        """Take whatever the child said."""
        self.out.write(data[: self.room])
        beyond = len(data) - min(len(data), self.room)
        self.room -= len(data) - beyond
        self.missing += beyond
        self._remember(data)

    def _remember(self, data: bytes) -> None:
        self.tail.append(data)
        self.tail_bytes += len(data)
        while self.tail_bytes - len(self.tail[0]) >= MAX_TAIL_BYTES:
            self.tail_bytes -= len(self.tail.popleft())

    def last(self) -> str:
        """The newest text, at most MAX_TAIL_BYTES of it."""
        return b"".join(self.tail)[-MAX_TAIL_BYTES:].decode(errors="replace")

    def close(self) -> None:
        """Add what the limit kept out, as far as the tail remembers it."""
        if self.missing:
            kept = b"".join(self.tail)[-min(self.missing, MAX_TAIL_BYTES) :]
            cut = self.missing - len(kept)
            self.out.write(f"\n[log over its limit: {cut} bytes left out here]\n".encode() + kept)
        self.out.close()


def last_words(tail: str) -> str:
    """The one line that best says why: the engine's own, else the last that says anything."""
    lines = [line.strip() for line in tail.splitlines() if line.strip()]
    return spoken(tail) or (lines[-1][:MAX_TEXT_CHARS] if lines else "")


def spoken(tail: str) -> str:
    """The last line that one of our own engine programs said; "" where none did."""
    lines = [line.strip() for line in tail.splitlines()]
    found = [line for line in lines if line.startswith(SPEAKER)]
    return found[-1].removeprefix(SPEAKER)[:MAX_TEXT_CHARS] if found else ""


def says_out_of_memory(tail: str) -> bool:
    """Whether the log ends in an engine's words for a failed allocation."""
    return any(phrase in tail for phrase in OUT_OF_MEMORY)
