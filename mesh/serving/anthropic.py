"""Anthropic's Messages: asked of engines as a chat, answered as Anthropic's own service answers.

Fields of the top level that are not named here are ignored. Claude Code sends several of a beta
(context_management, betas), others only matter to a service that bills (metadata, service_tier,
container, cache_control), and a refusal would shut such clients out for nothing. Whatever would
change what the answer may hold is translated or refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, final

from mesh.api.errors import RequestError
from mesh.serving.anthropic_content import bad, chat_messages, unsupported
from mesh.serving.anthropic_stream import MessagesReply, error_body
from mesh.serving.family import CHAT, STREAMED, Asked, Body, Problem, want_model
from mesh.serving.openai import prefix_of

# Tools that Anthropic's servers run themselves: the beginnings of their types.
SERVER_TOOLS: Final = (
    "web_search",
    "web_fetch",
    "code_execution",
    "tool_search",
    "mcp_toolset",
    "advisor",
)
OWN_TOOL: Final = "describe it as a tool of your own, with name, description and input_schema"
# Adaptive thinking and its like leave the choice to the model, which is what a template does.
THINKING: Final = {"enabled": True, "disabled": False, "adaptive": None, "between_tools": None}


@final
class Messages:
    """POST /v1/messages."""

    def read(self, body: Mapping[str, Any]) -> Asked:
        """What a client sent."""
        model, stops = want_model(body), _stops(body)
        asked = _prompt(body) | _limits(body)
        if stops:
            asked["stop"] = list(stops)
        asked |= STREAMED
        one_call = asked.get("parallel_tool_calls") is False
        return Asked(
            model=model,
            path=CHAT,
            body=asked,
            stream=body.get("stream") is True,
            prefix=prefix_of(asked["messages"]),
            reply=lambda: MessagesReply(model=model, stops=stops, one_call=one_call),
        )

    def refusal(self, problem: Problem) -> Body:
        """As Anthropic's libraries read it."""
        return error_body(problem)


def count_body(body: Mapping[str, Any]) -> Body:
    """POST /v1/messages/count_tokens, as an engine is asked at COUNT: the prompt alone."""
    return _prompt(body)


def counted(answer: Mapping[str, Any]) -> Body:
    """An engine's count as Anthropic's; RequestError where it says none."""
    for name in ("input_tokens", "tokens"):
        count = answer.get(name)
        if isinstance(count, int) and not isinstance(count, bool) and count >= 0:
            return {"input_tokens": count}
    raise RequestError("NoCount", "the engine's answer holds no count of tokens", "ask again", 502)


def _prompt(body: Mapping[str, Any]) -> Body:
    """What the engine's template makes the prompt of."""
    messages = chat_messages(body.get("system"), body.get("messages"))
    asked: Body = {"messages": messages} | _tools(body) | _format(body)
    thinks = _thinking(body)
    if thinks is None and messages[-1]["role"] == "assistant":
        thinks = False  # the client wrote the answer's beginning: thoughts would come after it
    if thinks is not None:
        asked["chat_template_kwargs"] = {"enable_thinking": thinks}
    return asked


def _thinking(body: Mapping[str, Any]) -> bool | None:
    """Whether the model is to think; None leaves it to the model."""
    thinking = body.get("thinking")
    if thinking is None:
        return None
    kind = thinking.get("type") if isinstance(thinking, dict) else None
    if not isinstance(kind, str) or kind not in THINKING:
        raise bad("thinking must be an object of type enabled, disabled or adaptive")
    return THINKING[kind]


def _format(body: Mapping[str, Any]) -> Body:
    """A schema that the answer must fit; effort and the like are ignored."""
    config = body.get("output_config")
    wanted = config.get("format") if isinstance(config, dict) else None
    wanted = wanted if wanted is not None else body.get("output_format")  # its older place
    if wanted is None:
        return {}
    schema = wanted.get("schema") if isinstance(wanted, dict) else None
    if not isinstance(schema, dict) or wanted.get("type") != "json_schema":
        raise bad("the output's format must be of type json_schema, with a schema")
    named = {"name": "answer", "schema": schema, "strict": True}
    return {"response_format": {"type": "json_schema", "json_schema": named}}


def _limits(body: Mapping[str, Any]) -> Body:
    """How long and how varied the answer may be."""
    most = body.get("max_tokens")
    if not isinstance(most, int) or isinstance(most, bool) or most < 1:
        raise bad("max_tokens must be a positive integer", "say how long the answer may be")
    asked: Body = {"max_tokens": most}
    for name in ("temperature", "top_p", "top_k"):
        value = body.get(name)
        if value is None:
            continue
        right = int if name == "top_k" else (int, float)
        if not isinstance(value, right) or isinstance(value, bool):
            raise bad(f"{name} must be a number")
        asked[name] = value
    return asked


def _stops(body: Mapping[str, Any]) -> tuple[str, ...]:
    stops = body.get("stop_sequences") or []
    if not isinstance(stops, list) or not all(isinstance(stop, str) for stop in stops):
        raise bad("stop_sequences must be a list of texts")
    return tuple(stops)


def _tools(body: Mapping[str, Any]) -> Body:
    """The tools, and which of them the model may or must call."""
    if body.get("mcp_servers"):
        raise unsupported(
            "mcp_servers are called by Anthropic's servers, not here",
            "connect them to your own client, and give their tools with an input_schema",
        )
    tools = body.get("tools") or []
    if not isinstance(tools, list):
        raise bad("tools must be a list")
    functions = [_function(tool) for tool in tools]
    return _chosen(body.get("tool_choice"), functions)


def _function(tool: object) -> Body:
    """One tool as a function."""
    given = tool if isinstance(tool, dict) else {}
    kind, name, schema = given.get("type"), given.get("name"), given.get("input_schema")
    if isinstance(kind, str) and kind.startswith(SERVER_TOOLS):
        raise unsupported(
            f"the tool {name or kind!s:.80} ({kind!s:.80}) runs on Anthropic's servers, not here",
            f"leave it out, or {OWN_TOOL}",
        )
    if schema is None and kind not in (None, "custom"):
        raise unsupported(
            f"the tool {name or kind!s:.80} ({kind!s:.80}) is known to Anthropic's models only",
            OWN_TOOL,
        )
    if not isinstance(name, str) or not name or not isinstance(schema, dict):
        raise bad("each of tools must have a name and an input_schema")
    function: Body = {"name": name, "parameters": schema}
    if isinstance(given.get("description"), str):
        function["description"] = given["description"]
    return {"type": "function", "function": function}


def _chosen(choice: object, functions: list[Body]) -> Body:
    """The tools with the client's choice among them."""
    given = choice if isinstance(choice, dict) else {"type": None if choice is None else choice}
    kind = given.get("type")
    if kind not in (None, "auto", "any", "tool", "none"):
        raise bad("tool_choice must be an object of type auto, any, tool or none")
    if kind == "tool":
        # llama.cpp takes a named choice for "auto": the one tool there is can be required instead.
        functions = [one for one in functions if one["function"]["name"] == given.get("name")]
    if kind in ("any", "tool") and not functions:
        raise bad("tool_choice asks for a tool that is not among tools")
    if not functions:
        return {}
    asked: Body = {"tools": functions}
    if kind is not None:
        asked["tool_choice"] = {"any": "required", "tool": "required"}.get(kind, kind)
    if isinstance(given.get("disable_parallel_tool_use"), bool):
        asked["parallel_tool_calls"] = not given["disable_parallel_tool_use"]
    return asked
