"""Requests as Ollama's clients send them, and chunks as llama.cpp answers them."""

import base64
import json
from collections.abc import Sequence
from typing import Any

from mesh.serving.family import Asked, Body, Problem, Reply
from mesh.serving.ollama import (
    OllamaChat,
    OllamaGenerate,
)

NOON = "2026-11-29T12:00:00Z"
MODEL = "tiny:latest"
PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n" + b"\0" * 8).decode()
HELLO: list[Body] = [{"role": "user", "content": "hello"}]
SCHEMA = {"type": "object", "properties": {"age": {"type": "integer"}}}
PROBLEM = Problem(status=502, code="EngineGone", text="the engine is gone", hint="ask again")


def noon() -> str:
    return NOON


CHATS, GENERATES = OllamaChat(noon), OllamaGenerate(noon)


def chat(**body: Any) -> Asked:
    return CHATS.read({"model": MODEL, "messages": HELLO, **body})


def generate(**body: Any) -> Asked:
    return GENERATES.read({"model": MODEL, "prompt": "hello", **body})


def messages(*said: Body) -> Any:
    return chat(messages=list(said)).body["messages"]


def data(chunk: object) -> bytes:
    return json.dumps(chunk, separators=(",", ":")).encode()


def delta(finish: str | None = None, **said: Any) -> bytes:
    return data({"choices": [{"index": 0, "delta": said, "finish_reason": finish}]})


def part(index: int, **function: str) -> Body:
    return {"index": index, "id": f"x{index}", "type": "function", "function": function}


USED = data(
    {
        "choices": [],
        "usage": {"prompt_tokens": 30, "completion_tokens": 7},
        "timings": {
            "cache_n": 20,
            "prompt_n": 10,
            "prompt_ms": 1.5,
            "predicted_n": 7,
            "predicted_ms": 20.25,
        },
    }
)
FINISH = delta("stop")
ANSWER = [
    delta(role="assistant", content=None),
    data({"choices": [{"delta": {}}], "prompt_progress": {"total": 9, "processed": 4}}),
    delta(reasoning_content="Greet "),
    delta(reasoning_content="back."),
    delta(content="Good "),
    delta(content="day"),
    delta(tool_calls=[part(0, name="weather", arguments="")]),
    delta(tool_calls=[part(0, arguments='{"city":')]),
    delta(tool_calls=[part(0, arguments=' "Bern"}')]),
    delta(tool_calls=[part(1, name="time", arguments="{}")]),
    delta("tool_calls"),
    USED,
]


def streamed(asked: Asked, chunks: Sequence[bytes]) -> tuple[Reply, list[Any]]:
    reply = asked.reply()
    written = reply.begin() + b"".join(reply.event(chunk) for chunk in chunks)
    return reply, [json.loads(line) for line in (written + reply.end()).splitlines()]


def folded(asked: Asked, chunks: Sequence[bytes]) -> Body:
    reply = asked.reply()
    for chunk in chunks:
        reply.event(chunk)
    return reply.whole()
