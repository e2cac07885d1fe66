"""What an answer came to, read from the engine's stream as it passes: tokens, and when.

Only events that may say it are decoded. Where the stream breaks off, the pieces that came are
counted: a piece is a token, or a few.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, final

from mesh.serving.events import DONE, PROGRESS, EventReader, object_of, said_in, says_finish

# Words that stand in an event which says how many tokens there were.
SAYS: Final = (b'"usage"', b'"timings"')
# The last word of a Responses stream; one that was cut by its own limit is whole too.
LAST: Final = (b'"response.completed"', b'"response.incomplete"')
_PROGRESS: Final = f'"{PROGRESS}"'.encode()
MAX_TOKENS: Final = 1 << 40  # of one answer: what an engine says beyond that is no count


@final
class Tally:
    """One answer's. `now_s` is a steady clock; it begins when the request has its slot."""

    def __init__(self, now_s: Callable[[], float]) -> None:
        self._now_s: Final = now_s
        self._reader: Final = EventReader()
        self._begun_s: Final = now_s()
        self.first_s: float | None = None  # from the beginning to the first piece of the answer
        self.pieces = 0
        self.prompt_tokens = 0
        self.cached_tokens = 0
        self.generated_tokens: int | None = None  # None: the engine has not said
        self.whole = False  # the engine's last word was there

    @property
    def tokens(self) -> int:
        """Generated, as far as anybody knows."""
        return self.pieces if self.generated_tokens is None else self.generated_tokens

    @property
    def is_between(self) -> bool:
        """Whether something may be said after what came, without becoming part of it."""
        return self._reader.is_between

    @property
    def took_s(self) -> float:
        """Since the beginning."""
        return self._now_s() - self._begun_s

    def feed(self, chunk: bytes) -> None:
        """Some bytes of the stream; NoEvents where it is none."""
        for data in self._reader.feed(chunk):
            self._see(data)

    def read(self, document: bytes) -> None:
        """An answer that is no stream."""
        self._count(document)
        self.whole = True

    def _see(self, data: bytes) -> None:
        if data == DONE or any(word in data for word in LAST):
            self.whole = True
        if data == DONE or _PROGRESS in data:
            return
        if says_finish(data):
            self.whole = True
        if b'"choices":[]' not in data:
            self.pieces += 1
            if self.first_s is None:
                self.first_s = self.took_s
        if any(word in data for word in SAYS):
            self._count(data)

    def _count(self, data: bytes) -> None:
        found = object_of(said_in(data))
        inner = found.get("response")
        self._usage(object_of((inner if isinstance(inner, dict) else found).get("usage")))
        timings = object_of(found.get("timings"))
        self.cached_tokens = _number(timings, "cache_n") or self.cached_tokens

    def _usage(self, usage: dict[str, Any]) -> None:
        """OpenAI's two vocabularies."""
        if not usage:
            return
        self.prompt_tokens = _number(usage, "prompt_tokens", "input_tokens") or 0
        generated = _number(usage, "completion_tokens", "output_tokens")
        self.generated_tokens = generated if generated is not None else self.generated_tokens
        for name in ("prompt_tokens_details", "input_tokens_details"):
            cached = _number(object_of(usage.get(name)), "cached_tokens")
            self.cached_tokens = self.cached_tokens if cached is None else cached


def _number(found: dict[str, Any], *names: str) -> int | None:
    for name in names:
        value = found.get(name)
        if type(value) is int and 0 <= value <= MAX_TOKENS:
            return value
    return None
