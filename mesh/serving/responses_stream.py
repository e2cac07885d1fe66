"""A Responses stream of an engine, repaired: numbered, each event saying where it belongs.

llama.cpp leaves out `sequence_number`, `output_index` and `content_index`, ends no call's
arguments, and says "completed" of an answer that was cut.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final, final

import msgspec

from mesh.serving.events import PROGRESS, comment, said_in, sse, text_of
from mesh.serving.family import SSE, Body, Problem
from mesh.serving.openai import refusal

INPUT: Final = "input"  # the one parameter of a custom tool that is told as a function
LAST: Final = frozenset(f"response.{word}" for word in ("completed", "failed", "incomplete"))
FIRST: Final = ("response.created", "response.in_progress")  # each is said once
ADDED: Final = "response.output_item.added"
ITEM_DONE: Final = "response.output_item.done"
CALL_DELTA: Final = "response.function_call_arguments.delta"
CALL_DONE: Final = "response.function_call_arguments.done"
CUSTOM_DELTA: Final = "response.custom_tool_call_input.delta"
CUSTOM_DONE: Final = "response.custom_tool_call_input.done"
# Events of one part of an item, by how their types begin, and the field that numbers the part.
PARTS: Final = {
    "response.content_part.": "content_index",
    "response.output_text.": "content_index",
    "response.refusal.": "content_index",
    "response.reasoning_text.": "content_index",
    "response.reasoning_summary_": "summary_index",
}
# Usage that clients read without asking whether it is there.
DETAILS: Final[Mapping[str, Any]] = {
    "input_tokens_details": {"cached_tokens": 0},
    "output_tokens_details": {"reasoning_tokens": 0},
}
_TYPE: Final = re.compile(r"[A-Za-z0-9_.]+")
_OPENING: Final = re.compile(rf'\s*\{{\s*"{INPUT}"\s*:\s*"')
# The characters of a JSON text that are whole: no escape is cut, and no pair of surrogates.
_CHARS: Final = re.compile(
    r'(?:[^"\\\x00-\x1f]|\\["\\/bfnrt]|\\u(?![dD][89a-fA-F])[0-9a-fA-F]{4}'
    r"|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2})*"
)


@final
class _Text:
    """The text of a custom tool, read out of a function's arguments as they come."""

    def __init__(self) -> None:
        self.said = ""
        self._rest = ""
        self._opened = False

    def feed(self, delta: str) -> str:
        """What can be read now."""
        self._rest += delta
        if not self._opened:
            found = _OPENING.match(self._rest)
            if found is None:
                return ""
            self._opened, self._rest = True, self._rest[found.end() :]
        whole = _CHARS.match(self._rest)
        raw = whole.group() if whole else ""
        text = said_in(f'"{raw}"'.encode())
        if not isinstance(text, str):
            return ""
        self._rest = self._rest[len(raw) :]
        self.said += text
        return text

    @staticmethod
    def of(arguments: object) -> str:
        """The whole of it; where the arguments are cut, what can be read."""
        raw = text_of(arguments)
        call = said_in(raw.encode())
        if isinstance(call, dict) and isinstance(call.get(INPUT), str):
            return str(call[INPUT])
        read = _Text()
        read.feed(raw)
        return read.said


@final
class ResponsesReply:
    """One answer. `blank`: the answer as far as its request tells; `custom`: the names of tools
    that the engine knows as functions; `most`: the limit in tokens that was asked, 0 for none."""

    media: Final = SSE

    def __init__(self, *, blank: Body, custom: frozenset[str], most: int) -> None:
        self.done = False
        self._blank = blank
        self._custom = custom
        self._most = most
        self._next = 0
        self._said: set[str] = set()
        self._places: dict[str, int] = {}
        self._texts: dict[str, _Text] = {}
        self._ended: set[str] = set()  # calls whose arguments are said to be whole
        self._answer: Body = {**blank, "output": [], "status": "in_progress"}

    def begin(self) -> bytes:
        """Nothing."""
        return b""

    def event(self, data: bytes) -> bytes:
        """The event, repaired; what is no object is left out, as no client can read it."""
        said = said_in(data)
        if not isinstance(said, dict):
            return b""
        kind = said.get("type")
        if not isinstance(kind, str):
            return b"" if PROGRESS in said else _written(said)
        if kind in FIRST:
            return self._first(kind, said)
        if PROGRESS in said:
            return b""
        return self._last(kind, said) if kind in LAST else self._between(kind, said)

    def waits(self, note: str) -> bytes:
        """A comment."""
        return comment(note)

    def end(self) -> bytes:
        """Nothing: the last event was the last word."""
        return b""

    def breaks(self, problem: Problem) -> bytes:
        """Every client raises on it."""
        return sse(msgspec.json.encode(refusal(problem)))

    def whole(self) -> Body:
        """The answer of the last event."""
        return self._answer

    def _first(self, kind: str, said: Body) -> bytes:
        """An answer begins; progress is said by repeating it, and is for us alone."""
        if kind in self._said:
            return b""
        self._said.add(kind)
        self._answer = self._repaired(said.get("response"), "in_progress")
        return self._numbered(kind, {"response": self._answer})

    def _last(self, kind: str, said: Body) -> bytes:
        """The answer as a whole; engines call it completed though the limit cut it."""
        answer = self._repaired(said.get("response"), kind.removeprefix("response."))
        if kind == "response.completed" and self._is_cut(answer.get("usage")):
            kind = "response.incomplete"
            answer |= {
                "status": "incomplete",
                "incomplete_details": {"reason": "max_output_tokens"},
            }
        self._answer = answer
        written = self._numbered(kind, {**said, "response": answer})
        self.done = bool(written)
        return written

    def _is_cut(self, usage: object) -> bool:
        used = usage.get("output_tokens") if isinstance(usage, dict) else None
        return isinstance(used, int) and 0 < self._most <= used

    def _repaired(self, response: object, status: str) -> Body:
        """An engine's answer with what its request tells, under the name that the client knows."""
        given = response if isinstance(response, dict) else {}
        known = {name: value for name, value in given.items() if value is not None}
        output = known.get("output")
        items = output if isinstance(output, list) else []
        if isinstance(usage := known.get("usage"), dict):
            known["usage"] = {**DETAILS, **usage}
        answer = {"status": status, **self._blank, **known}
        return answer | {
            "model": self._blank.get("model"),
            "metadata": self._blank.get("metadata"),
            "output": [self._item(item) for item in items],
        }

    def _item(self, item: object) -> object:
        """An item of the output. A call that was cut is not whole, whatever the engine says."""
        if not isinstance(item, dict) or item.get("type") != "function_call":
            return item
        arguments = item.get("arguments")
        whole = isinstance(said_in(text_of(arguments).encode()), dict)
        if item.get("status") == "completed" and not whole:
            item = {**item, "status": "incomplete"}
        if text_of(item.get("name")) not in self._custom:
            return item
        rest = {name: value for name, value in item.items() if name != "arguments"}
        return rest | {"type": "custom_tool_call", INPUT: _Text.of(arguments)}

    def _between(self, kind: str, said: Body) -> bytes:
        """An event of one item, or one that nobody here knows."""
        item = said.get("item")
        item = item if isinstance(item, dict) else {}
        name = text_of(said.get("item_id")) or text_of(item.get("id"))
        if kind == ADDED:
            self._places.setdefault(name, len(self._places))
            if item.get("type") == "function_call" and text_of(item.get("name")) in self._custom:
                self._texts[name] = _Text()
        if kind in (CALL_DELTA, CALL_DONE) and name in self._texts:
            return self._custom_said(name, kind, said)
        before = self._call_ends(name, item) if kind == ITEM_DONE else b""
        if kind == CALL_DONE:
            self._ended.add(name)
        return before + self._numbered(kind, self._placed(kind, name, said))

    def _placed(self, kind: str, name: str, said: Body) -> Body:
        """The event with its place."""
        placed = dict(said)
        if "item" in said:
            placed["item"] = self._item(said["item"])
        if name in self._places:
            placed.setdefault("output_index", self._places[name])
        for beginning, index in PARTS.items():
            if kind.startswith(beginning):
                placed.setdefault(index, 0)
        if kind.startswith("response.output_text."):
            placed.setdefault("logprobs", [])
        if isinstance(part := said.get("part"), dict) and part.get("type") == "output_text":
            placed["part"] = {"annotations": [], "logprobs": [], **part}
        return placed

    def _custom_said(self, name: str, kind: str, said: Body) -> bytes:
        """A piece of a custom tool's text, or all of it."""
        if kind == CALL_DONE:
            return self._custom_ends(name, said.get("arguments"))
        delta = self._texts[name].feed(text_of(said.get("delta")))
        return self._of_item(CUSTOM_DELTA, name, {"delta": delta}) if delta else b""

    def _call_ends(self, name: str, item: Mapping[str, Any]) -> bytes:
        """The end of a call's arguments, where the engine did not say it."""
        if item.get("type") != "function_call" or name in self._ended:
            return b""
        if name in self._texts:
            return self._custom_ends(name, item.get("arguments"))
        whole = {"arguments": text_of(item.get("arguments")), "name": text_of(item.get("name"))}
        return self._of_item(CALL_DONE, name, whole)

    def _custom_ends(self, name: str, arguments: object) -> bytes:
        if name in self._ended:
            return b""
        self._ended.add(name)
        text, said = _Text.of(arguments), self._texts[name].said
        rest = text[len(said) :] if text.startswith(said) else ""
        before = self._of_item(CUSTOM_DELTA, name, {"delta": rest}) if rest else b""
        return before + self._of_item(CUSTOM_DONE, name, {INPUT: text})

    def _of_item(self, kind: str, name: str, said: Body) -> bytes:
        place = self._places.get(name, 0)
        return self._numbered(kind, {"item_id": name, "output_index": place, **said})

    def _numbered(self, kind: str, said: Body) -> bytes:
        number, self._next = self._next, self._next + 1
        return _written({**said, "type": kind, "sequence_number": number}, kind)


def _written(said: Body, kind: str = "") -> bytes:
    """An event; nothing where an engine said what JSON cannot."""
    try:
        data = msgspec.json.encode(said)
    except (msgspec.MsgspecError, ValueError, OverflowError, RecursionError):
        return b""
    return sse(data, kind if _TYPE.fullmatch(kind) else "")
