"""OpenAI's Responses API, asked of the engine's own route.

Nothing is kept here, so a client sends its whole history. Of what engines pass over in silence,
some is said to them in words they know (custom tools, the choice of a tool, the form of a text),
and the rest is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NoReturn, final

import msgspec

from mesh.api.errors import RequestError
from mesh.serving.family import RESPONSES, Asked, Body, Problem, want_model
from mesh.serving.openai import prefix_of, refusal
from mesh.serving.responses_stream import INPUT, ResponsesReply

# What only OpenAI keeps, and what a client can do instead.
KEPT_ELSEWHERE: Final = ("previous_response_id", "conversation", "background", "prompt")
HISTORY: Final = "send the whole history as input"
# Fields that say nothing to an engine, or that it would misread.
OURS: Final = frozenset(
    (*KEPT_ELSEWHERE, "model", "store", "include", "stream_options", "tools", "tool_choice")
)
# Codex offers them with every request and works without them: they are left out, and the answer's
# metadata says so. Any other tool that OpenAI runs itself is refused.
LEFT_OUT: Final = ("web_search", "image_generation")
UNSUPPORTED: Final = "unsupported_tools"
PASSED_ITEMS: Final = ("message", "function_call", "function_call_output")
# What an answer repeats of its request; strict clients miss a field that is absent.
ECHO: Final[Mapping[str, Any]] = {
    "object": "response",
    "background": False,
    "error": None,
    "incomplete_details": None,
    "instructions": None,
    "max_output_tokens": None,
    "metadata": {},
    "parallel_tool_calls": True,
    "previous_response_id": None,
    "reasoning": {"effort": None, "summary": None},
    "service_tier": "default",
    "store": False,
    "temperature": None,
    "text": {"format": {"type": "text"}},
    "tool_choice": "auto",
    "tools": [],
    "top_p": None,
    "truncation": "disabled",
}
FIXED: Final = ("object", "background", "error", "incomplete_details", "service_tier", "store")


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class _Tools:
    """A request's tools: as the engine is told, as the client reads them, and what is left out."""

    told: Sequence[Body]
    kept: Sequence[Body]
    custom: frozenset[str]
    left_out: Sequence[str]


def _no_clock() -> int:
    return 0


@final
class Responses:
    """The family. `now_s` dates an answer that has begun; engines date only ended ones."""

    def __init__(self, now_s: Callable[[], int] = _no_clock) -> None:
        self._now_s: Final = now_s

    def read(self, body: Mapping[str, Any]) -> Asked:
        """What a client sent."""
        model = want_model(body)
        _refuse_kept_elsewhere(body)
        tools = _tools(body.get("tools"))
        asked = {name: body[name] for name in body if name not in OURS and body[name] is not None}
        asked |= {"input": _input(body.get("input")), "stream": True, "return_progress": True}
        asked |= _told_tools(tools, body.get("tool_choice")) | _told_format(body.get("text"))
        blank = _blank(body, tools) | {"model": model}
        return Asked(
            model=model,
            path=RESPONSES,
            body=asked,
            stream=bool(body.get("stream")),
            prefix=prefix_of([asked.get(name) for name in ("tools", "instructions", "input")]),
            reply=lambda: ResponsesReply(
                blank={**blank, "created_at": self._now_s()},
                custom=tools.custom,
                most=_count(body.get("max_output_tokens")),
            ),
        )

    def refusal(self, problem: Problem) -> Body:
        """As OpenAI's libraries read it."""
        return refusal(problem)


def _refuse(text: str, hint: str = "") -> NoReturn:
    raise RequestError("BadField", text, hint)


def _refuse_kept_elsewhere(body: Mapping[str, Any]) -> None:
    for name in KEPT_ELSEWHERE:
        if body.get(name):
            _refuse(f"{name} needs answers or prompts that are kept; none is kept here", HISTORY)


def _count(value: object) -> int:
    """A limit in tokens; 0 for none."""
    return value if isinstance(value, int) and not isinstance(value, bool) else 0


def _blank(body: Mapping[str, Any], tools: _Tools) -> Body:
    """An answer of which nothing is known but its request."""
    given = {name: body[name] for name in ECHO if name not in FIXED and body.get(name) is not None}
    blank = {**ECHO, **given, "tools": list(tools.kept)}
    if tools.left_out:
        known = blank["metadata"] if isinstance(blank["metadata"], dict) else {}
        blank["metadata"] = {**known, UNSUPPORTED: ", ".join(tools.left_out)}
    return blank


# Tools.


def _tools(given: object) -> _Tools:
    """A request's tools, each of them told, left out by name, or refused."""
    kept = [one for one in _listed(given, "tools") if not _kind(one).startswith(LEFT_OUT)]
    custom = [one for one in kept if _kind(one) == "custom"]
    return _Tools(
        told=[_told(one) for one in kept],
        kept=kept,
        custom=frozenset(_name(one) for one in custom),
        left_out=[_kind(one) for one in _listed(given, "tools") if one not in kept],
    )


def _told(tool: Body) -> Body:
    """A tool as the engine knows it: a function."""
    kind = _kind(tool)
    if kind == "custom":
        return _as_function(tool)
    if kind != "function":
        _refuse(f"a tool of type {kind!r} cannot be used here", "functions and custom tools can")
    return {name: value for name, value in tool.items() if value is not None}


def _as_function(tool: Body) -> Body:
    """A tool that takes free text, as a function of one text."""
    return {
        "type": "function",
        "name": _name(tool),
        "description": f"{tool.get('description') or ''}{_grammar(tool.get('format'))}".strip(),
        "parameters": {
            "type": "object",
            "properties": {INPUT: {"type": "string", "description": "all that the tool is given"}},
            "required": [INPUT],
            "additionalProperties": False,
        },
    }


def _grammar(form: object) -> str:
    """What a custom tool's text must look like: without it the model would have to guess."""
    if not isinstance(form, dict) or not isinstance(form.get("definition"), str):
        return ""
    return f"\n\nThe text follows this {form.get('syntax')} grammar:\n{form['definition']}"


def _told_tools(tools: _Tools, choice: object) -> Body:
    """The tools and the choice among them. Engines know a choice by word only, so one that names
    tools becomes a shorter list."""
    told, word = _chosen(tools, choice) if isinstance(choice, dict) else (tools.told, choice)
    if not told and word == "required":
        _refuse("tool_choice is required, and no tool can be called", "send tools")
    if not told:
        return {}
    return {"tools": list(told)} | ({} if word is None else {"tool_choice": word})


def _chosen(tools: _Tools, choice: Body) -> tuple[Sequence[Body], object]:
    """The tools that a choice names, and the word for it."""
    if choice.get("type") == "allowed_tools":
        names = {_name(one) for one in _listed(choice.get("tools"), "tool_choice.tools")}
        word = "required" if choice.get("mode") == "required" else "auto"
    else:
        names, word = {_name(choice)}, "required"
    told = [one for one in tools.told if one.get("name") in names]
    if not told:
        _refuse("tool_choice names no tool that can be called", "name a function of tools")
    return told, word


def _told_format(text: object) -> Body:
    """The form of the text, as chat completions say it: engines overlook `text.format`."""
    form = text.get("format") if isinstance(text, dict) else None
    kind = form.get("type") if isinstance(form, dict) else None
    if kind == "json_object":
        return {"response_format": {"type": "json_object"}}
    if kind != "json_schema" or not isinstance(form, dict):
        return {}
    schema = {name: form[name] for name in ("name", "schema", "strict") if name in form}
    return {"response_format": {"type": "json_schema", "json_schema": schema}}


# The history.


def _input(given: object) -> str | list[Body]:
    """A request's input, without what only OpenAI can read."""
    if isinstance(given, str):
        return given
    if not isinstance(given, list):
        _refuse("input must be a text or a list", HISTORY)
    items = _listed(given, "input")
    return [_told_item(one, at) for at, one in enumerate(items) if _kind(one) != "reasoning"]


def _told_item(item: Body, at: int) -> Body:
    """One item as the engine reads it."""
    kind = _kind(item) or ("message" if "role" in item else "")
    if kind == "custom_tool_call":
        text = msgspec.json.encode({INPUT: item.get("input") or ""}).decode()
        return _call(item, "function_call") | {"name": _name(item), "arguments": text}
    if kind == "custom_tool_call_output":
        return _call(item, "function_call_output") | {"output": item.get("output") or ""}
    if kind not in PASSED_ITEMS:
        _refuse(f"input[{at}]: an item of type {kind!r} cannot be read here", HISTORY)
    return _message(item) if kind == "message" else item


def _call(item: Body, kind: str) -> Body:
    return {"type": kind, "call_id": item.get("call_id") or ""}


def _message(item: Body) -> Body:
    """A message. Engines want the assistant's own in parts, and its type said."""
    content = item.get("content")
    if item.get("role") == "assistant" and isinstance(content, str):
        content = [{"type": "output_text", "text": content}]
    return {**item, "type": "message", "content": content}


def _listed(value: object, name: str) -> list[Body]:
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(one, dict) for one in value):
        _refuse(f"{name} must be a list of objects")
    return value


def _kind(one: Body) -> str:
    kind = one.get("type")
    return kind if isinstance(kind, str) else ""


def _name(one: Body) -> str:
    name = one.get("name")
    return name if isinstance(name, str) else ""
