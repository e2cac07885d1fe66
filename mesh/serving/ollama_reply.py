"""An engine's chunks as Ollama's lines of JSON: chat's messages, generate's responses."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, final

import msgspec

from mesh.serving.events import PROGRESS, object_of, objects_of, said_in, text_of
from mesh.serving.family import NDJSON, Body, Problem

NS_PER_MS: Final = 1_000_000
# JavaScript reads no greater number exactly; an engine that says one says nonsense.
MAX_COUNT: Final = float(1 << 53)
# Arguments nested deeper are taken as text: an encoder gives up at some depth, and must not here.
MAX_DEPTH: Final = 100
# Ollama's reason for an answer that calls tools is "stop".
REASONS: Final = {"tool_calls": "stop", "function_call": "stop"}
# JSON leaves these characters as they are, but Python's client takes each for a line's end.
LINE_ENDS: Final = tuple(
    (mark.encode(), f"\\u{ord(mark):04x}".encode()) for mark in "\x85\u2028\u2029"
)
NO_WORDS: Final = "the engine failed"  # clients skip an error without words


@final
@dataclass(slots=True)
class Call:
    """A tool call that grows."""

    name: str = ""
    arguments: list[str] = field(default_factory=list)

    def whole(self) -> Body:
        """The call as Ollama says it."""
        return {"function": {"name": self.name, "arguments": arguments("".join(self.arguments))}}


@final
class OllamaReply:
    """One answer to a chat or a generate. `model`: the name as the client says it."""

    media: Final = NDJSON

    def __init__(self, model: str, *, now: Callable[[], str], chat: bool) -> None:
        self.done = False
        self._model: Final = model
        self._now: Final = now
        self._chat: Final = chat
        self._failed = False
        self._reason = ""
        self._text: list[str] = []
        self._thinking: list[str] = []
        self._calls: dict[int, Call] = {}
        self._usage: Body = {}
        self._timings: Body = {}

    def begin(self) -> bytes:
        """Nothing."""
        return b""

    def event(self, data: bytes) -> bytes:
        """A line with what is new. The engine's counts come after its last word."""
        chunk = object_of(said_in(data))
        if self._failed or PROGRESS in chunk:
            return b""
        self._usage = object_of(chunk.get("usage")) or self._usage
        self._timings = object_of(chunk.get("timings")) or self._timings
        if self.done:
            return b""
        if error := chunk.get("error"):
            return self._fail(error)
        choices = objects_of(chunk.get("choices"))
        return self._add(choices[0]) if choices else b""

    def waits(self, note: str) -> bytes:
        """A line that adds nothing: Python's client fails at an empty one."""
        return self._line(said("", chat=self._chat))

    def end(self) -> bytes:
        """Ollama's last line."""
        return line(self._answer(said("", chat=self._chat)))

    def breaks(self, problem: Problem) -> bytes:
        """Every client raises on it; nothing where the engine's own error was sent before."""
        return b"" if self._failed else line(refusal(problem))

    def whole(self) -> Body:
        """All that was said, as one answer."""
        text, thinking = "".join(self._text), "".join(self._thinking)
        return self._answer(said(text, thinking, self._called(), chat=self._chat))

    def _add(self, choice: Mapping[str, Any]) -> bytes:
        """Tool calls are sent once, whole: Ollama's clients do not put parts together."""
        delta = object_of(choice.get("delta"))
        text = text_of(delta.get("content")) or text_of(choice.get("text"))
        thinking = text_of(delta.get("reasoning_content"))
        self._text.append(text)
        self._thinking.append(thinking)
        self._gather(objects_of(delta.get("tool_calls")))
        if reason := text_of(choice.get("finish_reason")):
            self.done = True
            self._reason = REASONS.get(reason, reason)
        calls = self._called() if self.done else []
        if not (text or thinking or calls):
            return b""
        return self._line(said(text, thinking, calls, chat=self._chat))

    def _gather(self, parts: Sequence[Mapping[str, Any]]) -> None:
        """A part without an index belongs where it stands in its list."""
        for place, part in enumerate(parts):
            index = part.get("index")
            call = self._calls.setdefault(index if isinstance(index, int) else place, Call())
            function = object_of(part.get("function"))
            call.name += text_of(function.get("name"))
            call.arguments.append(text_of(function.get("arguments")))

    def _called(self) -> list[Body]:
        """The calls in their order. A generate has no tools, so its answer has no calls."""
        return [self._calls[index].whole() for index in sorted(self._calls)] if self._chat else []

    def _fail(self, error: object) -> bytes:
        """The engine's own words; `done` stays false, so who reads the stream knows too."""
        self._failed = True
        words = text_of(object_of(error).get("message")) or text_of(error)
        return line({"error": words or NO_WORDS})

    def _line(self, new: Body) -> bytes:
        return line({"model": self._model, "created_at": self._now(), **new, "done": False})

    def _answer(self, new: Body) -> Body:
        """A last line, or the whole: both end with the counts."""
        answer = {"model": self._model, "created_at": self._now(), **new, "done": self.done}
        return {**answer, "done_reason": self._reason, **counts(self._usage, self._timings)}


def said(text: str, thinking: str = "", calls: Sequence[Body] = (), *, chat: bool) -> Body:
    """What a model says, where a client looks for it."""
    thought = {"thinking": thinking} if thinking else {}
    if not chat:
        return {"response": text, **thought}
    called = {"tool_calls": list(calls)} if calls else {}
    return {"message": {"role": "assistant", "content": text, **thought, **called}}


def counts(usage: Mapping[str, Any], timings: Mapping[str, Any]) -> Body:
    """Tokens and nanoseconds. Tokens are taken from the usage first: the timings leave out those
    that the engine's cache knew, and clients want the whole prompt's length."""
    prompt, answer = (_ns(timings.get(name)) for name in ("prompt_ms", "predicted_ms"))
    read = _count(timings.get("prompt_n")) + _count(timings.get("cache_n"))
    return {
        "total_duration": prompt + answer,
        "load_duration": 0,
        "prompt_eval_count": _count(usage.get("prompt_tokens")) or read,
        "prompt_eval_duration": prompt,
        "eval_count": _count(usage.get("completion_tokens")) or _count(timings.get("predicted_n")),
        "eval_duration": answer,
    }


def arguments(text: str) -> Body:
    """A call's arguments as the object that Ollama's clients read. A model that wrote none gets its
    own text back as the argument `arguments`: the tool's check then names what is wrong, while an
    empty object would call the tool as if the model had asked for that."""
    if not text.strip():
        return {}
    found = said_in(text.encode())
    return found if isinstance(found, dict) and _is_flat(found) else {"arguments": text}


def _is_flat(value: object) -> bool:
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [inner for one in level for inner in _inside(one)]
        if not level:
            return True
    return False


def _inside(value: object) -> list[Any]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []


def refusal(problem: Problem) -> Body:
    """An error of Ollama's API. Words may hold a path that is no Unicode, which JSON can't."""
    return {"error": problem.words.encode(errors="replace").decode() or NO_WORDS}


def line(body: Body) -> bytes:
    """One line of a stream."""
    data = msgspec.json.encode(body)
    for mark, escaped in LINE_ENDS:
        data = data.replace(mark, escaped)
    return data + b"\n"


def _amount(value: object) -> float:
    """A number that is one; 0 for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return 0
    return value if 0 <= value <= MAX_COUNT else 0


def _count(value: object) -> int:
    return int(_amount(value))


def _ns(value: object) -> int:
    return int(min(_amount(value) * NS_PER_MS, MAX_COUNT))
