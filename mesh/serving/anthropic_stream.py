"""A chat's chunks as Anthropic's events, or as the one Message that these events add up to.

An engine's usage comes after its last word, so the closing events are written at the end.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, final

import msgspec

from mesh.serving.anthropic_blocks import Block, Kind
from mesh.serving.events import PROGRESS, object_of, objects_of, said_in, sse, text_of
from mesh.serving.family import SSE, Body, Problem

KINDS: Final = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    529: "overloaded_error",
}
THOUGHTS: Final = ("reasoning_content", "reasoning")  # llama.cpp's name, and vLLM's
MAX_ID_CHARS: Final = 64
MAX_TOKENS: Final = 1 << 53  # beyond it, JavaScript's numbers are no longer exact


def error_body(problem: Problem) -> Body:
    """An error of Anthropic's API."""
    kind = KINDS.get(problem.status, "api_error")
    return {"type": "error", "error": {"type": kind, "message": problem.words}}


@final
class MessagesReply:
    """Anthropic's events, from those of a chat. Blocks are written one after the other: what an
    engine says of a later one is held back until the one before it is over.

    With `one_call`, calls after the first are left out: the client forbade them, and llama.cpp
    was seen to write them all the same. The model can ask again once it has the first's result.
    """

    media: Final = SSE

    def __init__(self, *, model: str, stops: tuple[str, ...] = (), one_call: bool = False) -> None:
        self.done = False
        self._model = model
        self._stops = stops
        self._one_call = one_call
        self._id = ""
        self._begun = False
        self._broken = False
        self._blocks: list[Block] = []
        self._calls: dict[int, Block] = {}
        self._at = 0  # the block being written
        self._finish = ""
        self._stopped_by: str | None = None
        self._usage = {"input_tokens": 0, "cache_read_input_tokens": 0, "output_tokens": 0}

    def begin(self) -> bytes:
        """Nothing: the first event names the answer, and the engine knows its name."""
        return b""

    def event(self, data: bytes) -> bytes:
        """What can be written now."""
        chunk = object_of(said_in(data))
        if PROGRESS in chunk:
            self._count_progress(object_of(chunk[PROGRESS]))
            return b""
        if chunk.get("error"):
            return self._fails(object_of(chunk["error"]))
        if not isinstance(chunk.get("choices"), list):
            return b""
        self._id = self._id or _message_id(chunk.get("id"))
        self._count_usage(object_of(chunk.get("usage")))
        for choice in objects_of(chunk["choices"])[:1]:
            self._take(choice)
        return self._start() + self._flow(last=False)

    def waits(self, note: str) -> bytes:
        """A ping: Anthropic's own sign of life."""
        return _written({"type": "ping"})

    def end(self) -> bytes:
        """The rest of the blocks, why the answer stops, and what it took."""
        reason, sequence = self._stop()
        delta = {"stop_reason": reason, "stop_sequence": sequence}
        return (
            self._start()
            + self._flow(last=True)
            + _written({"type": "message_delta", "delta": delta, "usage": self._usage})
            + _written({"type": "message_stop"})
        )

    def breaks(self, problem: Problem) -> bytes:
        """Every client raises on it; once is enough."""
        if self._broken:
            return b""
        self._broken = True
        return _written(error_body(problem))

    def whole(self) -> Body:
        """The Message."""
        reason, sequence = self._stop()
        for position, block in enumerate(self._blocks):
            self._name(block, position)
        return self._message(
            content=[block.whole() for block in self._blocks],
            stop_reason=reason,
            stop_sequence=sequence,
        )

    def _message(
        self, *, content: list[Body], stop_reason: str | None, stop_sequence: str | None
    ) -> Body:
        return {
            "id": self._id or NO_ID,
            "type": "message",
            "role": "assistant",
            "model": self._model,
            "content": content,
            "stop_reason": stop_reason,
            "stop_sequence": stop_sequence,
            "usage": dict(self._usage),
        }

    def _fails(self, error: Body) -> bytes:
        """The engine's own error, in its words."""
        text, status = error.get("message"), error.get("code")
        return self.breaks(
            Problem(
                status=status if isinstance(status, int) else 500,
                code="EngineError",
                text=text if isinstance(text, str) else "the engine failed and did not say why",
            )
        )

    def _count_progress(self, progress: Body) -> None:
        """How long the prompt is, before the engine's first word."""
        self._count_input(_number(progress.get("total")), _number(progress.get("cache")))

    def _count_usage(self, usage: Body) -> None:
        if not usage:
            return
        details = object_of(usage.get("prompt_tokens_details"))
        self._count_input(
            _number(usage.get("prompt_tokens")), _number(details.get("cached_tokens"))
        )
        self._usage["output_tokens"] = _number(usage.get("completion_tokens"))

    def _count_input(self, prompt: int, cached: int) -> None:
        """Anthropic counts what was cached apart."""
        self._usage["cache_read_input_tokens"] = min(cached, prompt)
        self._usage["input_tokens"] = max(prompt - cached, 0)

    def _take(self, choice: Body) -> None:
        """One choice's next part: thoughts, then text, then calls, as models write them."""
        delta = object_of(choice.get("delta"))
        for name in THOUGHTS:
            if self._say("thinking", delta.get(name)):
                break  # an engine that says both names says the same twice
        self._say("text", delta.get("content"))
        for position, call in enumerate(objects_of(delta.get("tool_calls"))):
            self._call(call, position)
        finish, stop = choice.get("finish_reason"), choice.get("stop_reason")
        if isinstance(finish, str) and finish:
            self._finish, self.done = finish, True
        if stop in self._stops:
            self._stopped_by = stop  # vLLM says which; llama.cpp does not

    def _say(self, kind: Kind, piece: object) -> bool:
        if not isinstance(piece, str) or not piece:
            return False
        if not self._blocks or self._blocks[-1].kind != kind:
            self._blocks.append(Block(kind))
        self._blocks[-1].pieces.append(piece)
        return True

    def _call(self, call: Body, position: int) -> None:
        """A piece of a call; where the engine numbers none, its place in the list counts."""
        given, function = call.get("index"), object_of(call.get("function"))
        index = given if isinstance(given, int) else position
        block = self._calls.get(index)
        if block is None:
            if self._one_call and self._calls:
                return
            block = self._calls[index] = Block("tool_use")
            self._blocks.append(block)
        if block.closed:
            return  # its arguments were whole: what follows belongs to no call
        block.id = block.id or text_of(call.get("id"))
        block.name = block.name or text_of(function.get("name"))
        piece = function.get("arguments")
        if isinstance(piece, dict):  # some engines send them whole
            piece = _encoded(piece)
        if isinstance(piece, str) and piece:
            block.pieces.append(piece)

    def _start(self) -> bytes:
        if self._begun:
            return b""
        self._begun = True
        self._id = self._id or NO_ID  # a name that comes later would be another message's
        message = self._message(content=[], stop_reason=None, stop_sequence=None)
        return _written({"type": "message_start", "message": message})

    def _flow(self, *, last: bool) -> bytes:
        """Whatever may be written now, block by block."""
        out: list[bytes] = []
        while self._at < len(self._blocks):
            block = self._blocks[self._at]
            if block.kind == "tool_use" and not block.name and not last:
                break  # it cannot be opened before it has a name
            out += self._write(block)
            followed = self._at + 1 < len(self._blocks)
            if not last and not (followed and block.over):
                break
            out.append(_written({"type": "content_block_stop", "index": self._at}))
            block.closed = True
            self._at += 1
        return b"".join(out)

    def _write(self, block: Block) -> list[bytes]:
        """A block's beginning, where it is new, and its new pieces."""
        out: list[bytes] = []
        if not block.opened:
            self._name(block, self._at)
            block.opened = True
            start = {"index": self._at, "content_block": block.empty()}
            out.append(_written({"type": "content_block_start", **start}))
        for piece in block.pieces[block.written :]:
            grown = {"index": self._at, "delta": block.delta(piece)}
            out.append(_written({"type": "content_block_delta", **grown}))
        block.written = len(block.pieces)
        return out

    def _name(self, block: Block, position: int) -> None:
        """A call that the engine gave no id gets one that no other message has."""
        if block.kind == "tool_use" and not block.id:
            block.id = f"toolu_{(self._id or NO_ID).removeprefix('msg_')}_{position}"

    def _stop(self) -> tuple[str | None, str | None]:
        """Why the answer ends, and the client's own text that ended it, where an engine says it.

        Calls count, not the engine's word for them: some engines say "stop" after a call.
        """
        if self._finish in ("", "length", "content_filter"):
            return {"": None, "length": "max_tokens"}.get(self._finish, "refusal"), None
        if self._calls:
            return "tool_use", None
        if self._stopped_by is not None:
            return "stop_sequence", self._stopped_by
        return "end_turn", None


NO_ID: Final = "msg_unnamed"


def _message_id(given: object) -> str:
    """The engine's id as Anthropic's look; "" where it gives none."""
    known = text_of(given).removeprefix("chatcmpl-")[:MAX_ID_CHARS]
    kept = "".join(sign for sign in known if sign.isascii() and (sign.isalnum() or sign in "_-"))
    return f"msg_{kept}" if kept else ""


def _written(event: Mapping[str, Any]) -> bytes:
    return sse(msgspec.json.encode(event), event["type"])


def _encoded(value: Body) -> str:
    try:
        return msgspec.json.encode(value).decode()
    except (ValueError, RecursionError):  # nested as deeply as can be read, which is too deep here
        return "{}"


def _number(value: Any) -> int:
    whole = isinstance(value, int) and not isinstance(value, bool)
    return value if whole and 0 <= value < MAX_TOKENS else 0
