"""Ollama's chat and generate, as requests to an engine that speaks OpenAI's API.

No engine of ours knows Ollama's API, so the whole request is translated. The answer is translated
back in `ollama_reply`, the lists of models are written in `ollama_models`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final, final

from mesh.api.errors import RequestError
from mesh.serving.family import CHAT, COMPLETIONS, STREAMED, Asked, Body, Problem, want_model
from mesh.serving.ollama_messages import content_of, messages_of
from mesh.serving.ollama_reply import OllamaReply, refusal, said
from mesh.serving.openai import prefix_of

# Ollama's clients add this tag to a name that has none.
LATEST: Final = ":latest"
# Options that engines know by the same name. Options in neither list say how Ollama's own engine
# runs a model; a fleet plans that by itself, so they are ignored.
NUMBERS: Final = (
    *("temperature", "top_p", "min_p"),
    *("repeat_penalty", "presence_penalty", "frequency_penalty"),
)
INTEGERS: Final = ("top_k", "seed")
MAX_INTEGER: Final = 1 << 53  # clients in JavaScript can't say a greater one exactly
NO_TIME: Final = ("0", "0s", "0m", "0h", "0ms")  # Ollama's words for a model that may leave at once


@final
class OllamaChat:
    """`/api/chat`. `now` says the time in RFC 3339."""

    def __init__(self, now: Callable[[], str]) -> None:
        self._now: Final = now

    def read(self, body: Mapping[str, Any]) -> Asked:
        """What a client sent."""
        asked = {
            "messages": messages_of(body.get("messages")),
            **_tools(body.get("tools")),
            **_response_format(body.get("format")),
            **_thinking(body.get("think")),
        }
        return _asked(body, CHAT, asked, partial(OllamaReply, now=self._now, chat=True))

    def refusal(self, problem: Problem) -> Body:
        """As Ollama's libraries read it."""
        return refusal(problem)


@final
class OllamaGenerate:
    """`/api/generate`. `now` says the time in RFC 3339."""

    def __init__(self, now: Callable[[], str]) -> None:
        self._now: Final = now

    def read(self, body: Mapping[str, Any]) -> Asked:
        """What a client sent. `context` is ignored: its tokens come from another engine."""
        _refuse_what_no_engine_does(body)
        reply = partial(OllamaReply, now=self._now, chat=False)
        if body.get("raw") is True:
            return _asked(body, COMPLETIONS, _raw(body), reply)
        asked = {
            "messages": _conversation(body),
            **_response_format(body.get("format")),
            **_thinking(body.get("think")),
        }
        return _asked(body, CHAT, asked, reply)

    def refusal(self, problem: Problem) -> Body:
        """As Ollama's libraries read it."""
        return refusal(problem)


def plain_name(name: str) -> str:
    """A model's name without the tag that Ollama's clients add."""
    return name.removesuffix(LATEST) or name


def is_load(body: Mapping[str, Any]) -> bool:
    """Whether a chat or generate asks for no answer: it asks that the model be loaded, or, where
    `is_unload` is true too, that it leave."""
    return not any(body.get(name) for name in ("messages", "prompt", "images"))


def is_unload(body: Mapping[str, Any]) -> bool:
    """Whether the model may leave at once after this request."""
    kept = body.get("keep_alive")
    number = isinstance(kept, int | float) and not isinstance(kept, bool)
    return kept == 0 if number else kept in NO_TIME


def loaded(model: str, created_at: str, *, chat: bool = False, unload: bool = False) -> Body:
    """The answer to a request for which `is_load` is true."""
    return {
        "model": model,
        "created_at": created_at,
        **said("", chat=chat),
        "done": True,
        "done_reason": "unload" if unload else "load",
    }


def _asked(
    body: Mapping[str, Any], path: str, asked: Body, reply: Callable[[str], OllamaReply]
) -> Asked:
    """The request with the parts that chat and generate share. The reply says the model's name as
    the client does."""
    name = want_model(body)
    options = _options(body.get("options"))
    return Asked(
        model=plain_name(name),
        path=path,
        body={**asked, **_sampling(options), **STREAMED},
        stream=body.get("stream") is not False,  # Ollama streams unless told not to
        prefix=prefix_of(asked["messages"] if path == CHAT else asked["prompt"]),
        context=max(0, _integer(options, "num_ctx") or 0),
        reply=partial(reply, name),
    )


def _conversation(body: Mapping[str, Any]) -> list[Body]:
    """A generate's system text and prompt, as a chat's messages."""
    system, user = _text(body, "system"), content_of(_prompt(body), body.get("images"))
    before = [{"role": "system", "content": system}] if system else []
    return [*before, {"role": "user", "content": user}]


def _raw(body: Mapping[str, Any]) -> Body:
    """A prompt that a client put into the model's own template. llama.cpp's completions take a
    schema and do not keep to it, so a format is refused rather than broken."""
    for name in ("system", "images", "format"):
        if body.get(name):
            raise _bad(f"a raw prompt goes without {name}", f"leave {name} or raw out")
    return {"prompt": _prompt(body)}


def _refuse_what_no_engine_does(body: Mapping[str, Any]) -> None:
    if body.get("suffix"):
        raise _bad("text can't be filled in before a suffix", "leave suffix out")
    if body.get("template"):
        raise _bad("a model is used with its own template", "leave template out, or use raw")


def _prompt(body: Mapping[str, Any]) -> str:
    prompt = _text(body, "prompt")
    if not prompt and not body.get("images"):
        raise _bad("prompt is empty", "send the text to be answered")
    return prompt


def _text(body: Mapping[str, Any], name: str) -> str:
    value = body.get(name)
    if value is not None and not isinstance(value, str):
        raise _bad(f"{name} must be text")
    return value or ""


def _tools(tools: object) -> Body:
    """The tools as they are: Ollama describes them as OpenAI does."""
    if not tools:
        return {}
    if not isinstance(tools, list) or not all(isinstance(tool, dict) for tool in tools):
        raise _bad("tools must be a list of objects")
    return {"tools": tools}


def _response_format(form: object) -> Body:
    if not form:
        return {}
    if form == "json":
        return {"response_format": {"type": "json_object"}}
    if not isinstance(form, dict):
        raise _bad("format must be json or a JSON schema")
    schema = {"name": "answer", "schema": form}  # OpenAI wants some name; no one reads it
    return {"response_format": {"type": "json_schema", "json_schema": schema}}


def _thinking(think: object) -> Body:
    """Whether the model thinks first; templates that know levels read the second word."""
    if think is None or think == "":
        return {}
    if not isinstance(think, bool | str):
        raise _bad("think must be true, false or a level")
    level = {"reasoning_effort": think} if isinstance(think, str) else {}
    return {"chat_template_kwargs": {"enable_thinking": bool(think), **level}}


def _options(options: object) -> Mapping[str, Any]:
    if options is not None and not isinstance(options, dict):
        raise _bad("options must be an object")
    return options or {}


def _sampling(options: Mapping[str, Any]) -> Body:
    """How the next token is chosen and when the answer ends."""
    asked: Body = {name: _number(options, name) for name in NUMBERS}
    asked |= {name: _integer(options, name) for name in INTEGERS}
    asked["stop"] = _stop(options.get("stop"))
    most = _integer(options, "num_predict")
    asked["max_tokens"] = most if most and most > 0 else None  # -1 and -2: no limit
    return {name: value for name, value in asked.items() if value is not None}


def _number(options: Mapping[str, Any], name: str) -> float | None:
    value = options.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _bad(f"options.{name} must be a number")
    return value


def _integer(options: Mapping[str, Any], name: str) -> int | None:
    """Clients whose numbers are all floating say 128.0."""
    value = _number(options, name)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if value is None:
        return None
    if not isinstance(value, int) or abs(value) > MAX_INTEGER:
        raise _bad(f"options.{name} must be an integer")
    return value


def _stop(stop: object) -> list[str] | None:
    if not stop:
        return None
    texts = [stop] if isinstance(stop, str) else stop
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise _bad("options.stop must be a list of texts")
    return texts


def _bad(text: str, hint: str = "") -> RequestError:
    return RequestError("BadField", text, hint)
