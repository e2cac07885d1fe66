"""OpenAI's chat completions, completions and embeddings: engines speak them, so they pass.

Asked of the engine besides: its usage, and signs of life while it reads a long prompt. A client
that did not ask for them does not see them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal, final

import msgspec

from mesh.serving.events import PROGRESS, comment, object_of, said_in, says_finish, sse
from mesh.serving.family import (
    CHAT,
    EMBEDDINGS,
    SSE,
    STREAMED,
    Asked,
    Body,
    Problem,
    want_model,
)

PREFIX_CHARS: Final = 1 << 20
# Kinds of OpenAI's errors by status; clients choose their exception by the status alone.
KINDS: Final = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "invalid_request_error",
    429: "rate_limit_error",
}


@final
class Generation:
    """Chat completions or completions."""

    def __init__(self, path: Literal["/v1/chat/completions", "/v1/completions"]) -> None:
        self._path: Final = path

    def read(self, body: Mapping[str, Any]) -> Asked:
        """What a client sent."""
        model = want_model(body)
        options = body.get("stream_options")
        wants_usage = isinstance(options, dict) and bool(options.get("include_usage"))
        given = options if isinstance(options, dict) else {}
        asked = {name: value for name, value in body.items() if name != "model"}
        asked |= {
            **STREAMED,
            "stream_options": {**given, **STREAMED["stream_options"]},
        }
        chat, stream = self._path == CHAT, bool(body.get("stream"))
        return Asked(
            model=model,
            path=self._path,
            body=asked,
            stream=stream,
            prefix=prefix_of(body.get("messages") if chat else body.get("prompt")),
            reply=lambda: Passed(chat=chat, wants_usage=wants_usage, keeps=not stream),
        )

    def refusal(self, problem: Problem) -> Body:
        """As OpenAI's libraries read it."""
        return refusal(problem)


def prefix_of(prompt: object) -> str:
    """The prompt as text, in the client's own order of fields."""
    if isinstance(prompt, str):
        return prompt[:PREFIX_CHARS]
    return "" if prompt is None else msgspec.json.encode(prompt).decode()[:PREFIX_CHARS]


def refusal(problem: Problem) -> Body:
    """An error of OpenAI's API."""
    kind = KINDS.get(problem.status, "server_error")
    return {"error": {"message": problem.words, "type": kind, "code": problem.code, "param": None}}


@final
class Passed:
    """The engine's own events, unread but for a word here and there. `keeps` them for `whole`,
    which nobody asks of a stream: an answer of hours is some tens of MB."""

    media: Final = SSE

    def __init__(self, *, chat: bool, wants_usage: bool, keeps: bool = True) -> None:
        self.done = False
        self._chat = chat
        self._wants_usage = wants_usage
        self._keeps = keeps
        self._kept: list[bytes] = []

    def begin(self) -> bytes:
        """Nothing."""
        return b""

    def event(self, data: bytes) -> bytes:
        """The event as it is; not the engine's progress, nor a usage that nobody asked for."""
        if b'"prompt_progress"' in data and _is_progress(data):
            return b""
        if self._keeps:
            self._kept.append(data)
        if says_finish(data):
            self.done = True
        if not self._wants_usage and b'"choices":[]' in data.replace(b" ", b"")[:4096]:
            return b""
        return sse(data)

    def waits(self, note: str) -> bytes:
        """A comment."""
        return comment(note)

    def end(self) -> bytes:
        """OpenAI's last word."""
        return sse(b"[DONE]")

    def breaks(self, problem: Problem) -> bytes:
        """Every client raises on it."""
        return sse(msgspec.json.encode(refusal(problem)))

    def whole(self) -> Body:
        """The chunks, folded."""
        from mesh.serving.folding import folded

        return folded(self._kept, chat=self._chat)


def _is_progress(data: bytes) -> bool:
    return PROGRESS in object_of(said_in(data))


@final
class Embeddings:
    """Vectors: one answer, no stream."""

    def read(self, body: Mapping[str, Any]) -> Asked:
        """What a client sent."""
        asked = {name: value for name, value in body.items() if name != "model"}
        return Asked(
            model=want_model(body), path=EMBEDDINGS, body=asked, stream=False, reply=_no_stream
        )

    def refusal(self, problem: Problem) -> Body:
        """As OpenAI's libraries read it."""
        return refusal(problem)


def _no_stream() -> Passed:
    return Passed(chat=False, wants_usage=True)
