"""A stream of chunks as the one answer it would have been: for clients that asked for no stream."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from mesh.serving.events import object_of, objects_of, said_in
from mesh.serving.family import Body

# What a chunk says of one choice besides its text; the last one that says it counts.
LAST: Final = ("finish_reason", "stop_reason")
WHOLE: Final = ("id", "created", "model", "system_fingerprint", "service_tier")
BESIDE: Final = ("usage", "timings")


def folded(chunks: Sequence[bytes], *, chat: bool) -> Body:
    """The answer that these chunks are parts of."""
    answer: Body = {"object": "chat.completion" if chat else "text_completion", "choices": []}
    choices: dict[int, Body] = {}
    for data in chunks:
        chunk = object_of(said_in(data))
        answer |= {name: chunk[name] for name in (*WHOLE, *BESIDE) if chunk.get(name) is not None}
        for part in objects_of(chunk.get("choices")):
            index = _index(part)
            _add(choices.setdefault(index, _empty(index, chat=chat)), part, chat=chat)
    answer["choices"] = [_closed(choices[index]) for index in sorted(choices)]
    return answer


def _empty(index: int, *, chat: bool) -> Body:
    said = {"message": {"role": "assistant", "content": None}} if chat else {"text": ""}
    return {"index": index, **said, "logprobs": None, "finish_reason": None}


def _add(choice: Body, part: Mapping[str, Any], *, chat: bool) -> None:
    for name in LAST:
        if part.get(name) is not None:
            choice[name] = part[name]
    _add_logprobs(choice, part.get("logprobs"))
    if chat:
        _add_delta(choice["message"], part.get("delta"))
    else:
        text = part.get("text")
        choice["text"] += text if isinstance(text, str) else ""


def _add_delta(message: Body, delta: object) -> None:
    """Text grows, calls grow by their index, anything else is taken as it is."""
    for name, value in delta.items() if isinstance(delta, dict) else ():
        if name == "tool_calls":
            calls = message.setdefault("tool_calls", {})
            for call in objects_of(value):
                _add_call(calls.setdefault(_index(call), {}), call)
        elif isinstance(value, str) and name != "role":
            known = message.get(name)
            message[name] = (known if isinstance(known, str) else "") + value
        elif value is not None:
            message[name] = value


def _add_call(known: Body, part: Mapping[str, Any]) -> None:
    for name, value in part.items():
        if name == "function" and isinstance(value, dict):
            function = known.setdefault("function", {"name": "", "arguments": ""})
            for key, text in value.items():
                known_text = function.get(key, "")
                if isinstance(text, str) and isinstance(known_text, str):
                    function[key] = known_text + text
        elif name != "index" and value is not None:
            known[name] = value


def _add_logprobs(choice: Body, part: object) -> None:
    """Lists grow; nothing else is in them."""
    for name, value in part.items() if isinstance(part, dict) else ():
        if isinstance(value, list):
            choice["logprobs"] = known = choice["logprobs"] or {}
            known[name] = known.get(name, []) + value


def _closed(choice: Body) -> Body:
    """A choice as a client reads it: its calls are a list."""
    calls = choice.get("message", {}).get("tool_calls")
    if isinstance(calls, dict):
        choice["message"]["tool_calls"] = [calls[index] for index in sorted(calls)]
    return choice


def _index(part: Mapping[str, Any]) -> int:
    index = part.get("index")
    return index if type(index) is int else 0
