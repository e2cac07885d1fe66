"""The families of APIs that tools speak, and what each has to do: ask an engine, read its stream.

Whatever a client wants, the engine is asked for a stream: it notices a departed client only between
chunks. A `Reply` turns that stream, event by event, into what the client reads, and at the end it
also has the whole, for a client that asked for no stream.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol, final

from mesh.api.errors import RequestError

CHAT: Final = "/v1/chat/completions"  # the engine's own routes
COMPLETIONS: Final = "/v1/completions"
EMBEDDINGS: Final = "/v1/embeddings"
RESPONSES: Final = "/v1/responses"
COUNT: Final = "/v1/chat/completions/input_tokens"
PLAIN: Final = frozenset({EMBEDDINGS, COUNT})  # answered at once, as one JSON document
SSE: Final = "text/event-stream"
NDJSON: Final = "application/x-ndjson"
JSON: Final = "application/json"

Body = dict[str, Any]
# How an engine is asked for a stream: with its usage, and signs of life while it reads a prompt.
STREAMED: Final[Body] = {
    "stream": True,
    "stream_options": {"include_usage": True},
    "return_progress": True,
}


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Why a request is not answered, or not to its end. `retry_after_s`: when it may be asked
    again; None where the same request can never work."""

    status: int
    code: str
    text: str
    hint: str = ""
    retry_after_s: int | None = None

    @property
    def words(self) -> str:
        """What a person reads."""
        return f"{self.text}; {self.hint}" if self.hint else self.text


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A client's request as an engine is asked. `body` names no model: who asks the engine knows
    what it is called there."""

    model: str
    path: str
    body: Body
    stream: bool  # whether the client wants one
    prefix: str = ""  # what the prompt begins with, as text: equal texts share an engine's cache
    context: int = 0  # tokens the client says it needs; 0 where it says nothing
    reply: Callable[[], Reply] = field(kw_only=True)


class Reply(Protocol):
    """One answer on its way to a client. Every method returns the bytes to be sent now, b"" for
    none; none of them fails, whatever an engine says."""

    @property
    def media(self) -> str:
        """The stream's content type."""

    @property
    def done(self) -> bool:
        """Whether the engine's last word was there: what follows is no loss."""

    def begin(self) -> bytes:
        """Before the engine's first event."""

    def event(self, data: bytes) -> bytes:
        """The engine's next event: the JSON after `data: `, never its [DONE]."""

    def waits(self, note: str) -> bytes:
        """A sign of life while a model loads or others are before it; clients do not see it."""

    def end(self) -> bytes:
        """The stream came to its end, and `done` is true."""

    def breaks(self, problem: Problem) -> bytes:
        """The stream ends here, and the client must know: its library raises on this."""

    def whole(self) -> Body:
        """Everything as one answer, for a client that asked for no stream."""


class Family(Protocol):
    """One API's way to ask for something."""

    def read(self, body: Mapping[str, Any]) -> Asked:
        """What a client sent; RequestError, status 400, for what no engine could answer."""

    def refusal(self, problem: Problem) -> Body:
        """The body of an answer that is no success."""


def want_model(body: Mapping[str, Any]) -> str:
    """The model a client names; RequestError where it names none."""
    model = body.get("model")
    if not isinstance(model, str) or not model.strip() or len(model) > MAX_NAME_CHARS:
        raise RequestError("BadField", "model must be a model's name", "GET /v1/models lists them")
    return model.strip()


MAX_NAME_CHARS: Final = 400
