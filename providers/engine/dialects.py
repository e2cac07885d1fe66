"""How each kind of server is asked for an answer, and how its stream of words is read. Pure.

A `Line` is one request of a job. Every answer is streamed, also where nobody reads along: an engine
notices that its asker is gone between two pieces only. An answer that ends without its last mark
was cut off, however cleanly its connection closed.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, final

Message = Mapping[str, object]
# What a line may say beside its text, by the names of OpenAI's API.
SAMPLING: Final = ("temperature", "top_p", "seed", "stop", "presence_penalty", "frequency_penalty")


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One request. `messages` make a chat, else `prompt` is completed. `number` counts from 1."""

    number: int
    id: str | int
    max_tokens: int
    prompt: str | list[int] = ""
    messages: tuple[Message, ...] = ()
    sampling: Mapping[str, object] = field(default_factory=dict)
    ignore_eos: bool = False


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """Some of an answer. `finish`: this was the last of its text. 0 tokens: not said here."""

    text: str = ""
    finish: str = ""
    prompt_tokens: int = 0
    tokens: int = 0
    error: str = ""


Asked = tuple[str, dict[str, object]]  # path and body


def openai_ask(line: Line, model: str) -> Asked:
    """POST /v1/completions, or /v1/chat/completions."""
    body: dict[str, object] = {
        "model": model,
        "max_tokens": line.max_tokens,
        "stream": True,
        "stream_options": {"include_usage": True},
        **line.sampling,
    }
    if line.ignore_eos:
        body["ignore_eos"] = True
    if line.messages:
        return "/v1/chat/completions", body | {"messages": list(line.messages)}
    return "/v1/completions", body | {"prompt": line.prompt}


def openai_piece(raw: bytes) -> Piece | None:
    """A line of server-sent events; None for one that says nothing."""
    found = _event(raw)
    if found is None:
        return None
    if "error" in found:
        return Piece(error=_words(found["error"]))
    choice, usage = _first(found.get("choices")), _object(found.get("usage"))
    delta = _object(choice.get("delta"))
    return Piece(
        text=_text(choice.get("text")) or _text(delta.get("content")),
        finish=_text(choice.get("finish_reason")),
        prompt_tokens=_count(usage.get("prompt_tokens")),
        tokens=_count(usage.get("completion_tokens")),
    )


def ollama_ask(line: Line, model: str, options: Mapping[str, object]) -> Asked:
    """POST /api/generate, or /api/chat."""
    wanted = {"num_predict": line.max_tokens, **line.sampling}
    if isinstance(wanted.get("stop"), str):
        wanted["stop"] = [wanted["stop"]]
    body: dict[str, object] = {"model": model, "stream": True, "options": {**options, **wanted}}
    if line.messages:
        return "/api/chat", body | {"messages": list(line.messages)}
    # Raw: the prompt as it was typed, as every other engine completes it.
    return "/api/generate", body | {"prompt": line.prompt, "raw": True}


def ollama_piece(raw: bytes) -> Piece | None:
    """A line of JSON."""
    if not raw.strip():
        return None
    found = _object(_parsed(raw))
    if "error" in found:
        return Piece(error=_words(found["error"]))
    message, done = _object(found.get("message")), found.get("done") is True
    return Piece(
        text=_text(found.get("response")) or _text(message.get("content")),
        finish=(_text(found.get("done_reason")) or "stop") if done else "",
        prompt_tokens=_count(found.get("prompt_eval_count")),
        tokens=_count(found.get("eval_count")),
    )


def tgi_ask(line: Line, model: str) -> Asked:
    """POST /generate_stream; a chat as OpenAI's."""
    if line.messages:
        return openai_ask(line, model)
    sampling = dict(line.sampling)
    stop = sampling.pop("stop", [])
    wanted: dict[str, object] = {
        "max_new_tokens": line.max_tokens,
        "details": True,
        "decoder_input_details": False,
        "stop": [stop] if isinstance(stop, str) else stop,
        **{key: sampling[key] for key in ("temperature", "top_p", "seed") if key in sampling},
    }
    return "/generate_stream", {"inputs": line.prompt, "parameters": wanted}


def tgi_piece(raw: bytes) -> Piece | None:
    """A line of server-sent events, of either kind."""
    found = _event(raw)
    if found is None:
        return None
    if "choices" in found:
        return openai_piece(raw)
    if "error" in found:
        return Piece(error=_words(found["error"]))
    token, details = _object(found.get("token")), _object(found.get("details"))
    ended = found.get("generated_text") is not None
    return Piece(
        text="" if token.get("special") is True else _text(token.get("text")),
        finish=(_text(details.get("finish_reason")) or "length") if ended else "",
        prompt_tokens=_count(details.get("input_length")),
        tokens=_count(details.get("generated_tokens")),
    )


def error_of(data: bytes) -> str:
    """An engine's own sentence out of a refusal's body."""
    found = _parsed(data)
    if isinstance(found, dict):
        said = found.get("error", found.get("message", found.get("detail")))
        if said is not None:
            return _words(said)
    return data.decode(errors="replace").strip()[:MAX_WORDS] or "it does not say why"


MAX_WORDS: Final = 500  # of a refusal: engines quote whole requests at times


def _words(said: object) -> str:
    if isinstance(said, dict):
        said = said.get("message", said)
    return str(said)[:MAX_WORDS]


def _event(raw: bytes) -> dict[str, object] | None:
    """The object after "data:"; None for comments, other fields and the closing [DONE]."""
    if not raw.startswith(b"data:"):
        return None
    found = _parsed(raw[5:])
    return found if isinstance(found, dict) else None


def _parsed(data: bytes) -> object:
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return None


def _first(value: object) -> dict[str, object]:
    return _object(value[0]) if isinstance(value, list) and value else {}


def _object(value: object) -> dict[str, object]:
    return value if isinstance(value, dict) else {}


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _count(value: object) -> int:
    return value if type(value) is int and value >= 0 else 0
