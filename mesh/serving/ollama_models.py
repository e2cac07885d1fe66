"""Ollama's other answers: its version, the models there are, embeddings, and what is not here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, final

from mesh.api.errors import RequestError
from mesh.serving.family import EMBEDDINGS, Asked, Body, Problem, want_model
from mesh.serving.ollama import plain_name
from mesh.serving.ollama_reply import OllamaReply, refusal

# Clients compare it with the least version they take: digits alone, and late enough for tools,
# thinking and a model's capabilities.
VERSION: Final = "0.13.0"
RUNNING: Final = "Ollama is running"  # what `GET /` says; some clients look for it
UNKNOWN: Final = "unknown"  # the architecture of a model that tells none
BILLION: Final = 1_000_000_000
MILLION: Final = 1_000_000


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """A model as Ollama's clients are told of it."""

    name: str
    size_bytes: int
    digest: str = ""  # in hex
    modified_at: str = ""  # RFC 3339
    family: str = ""  # its architecture, as GGUF names it
    parameters: int = 0
    quant: str = ""
    context: int = 0  # tokens
    loaded: bool = False
    expires_at: str = ""  # RFC 3339: when a loaded model leaves
    tools: bool = False
    vision: bool = False
    thinking: bool = False
    embedding: bool = False


def version() -> Body:
    """`/api/version`."""
    return {"version": VERSION}


def tags(models: Iterable[Listed]) -> Body:
    """`/api/tags`: all models."""
    return {"models": [_entry(model) | _moment("modified_at", model) for model in models]}


def running(models: Iterable[Listed]) -> Body:
    """`/api/ps`: the loaded ones. Clients show a model outside of `size_vram` as one that is slow;
    where it lies is shown by the fleet's own pages, so the whole size is said."""
    return {
        "models": [
            _entry(model)
            | _moment("expires_at", model)
            | {"size_vram": model.size_bytes, "context_length": model.context}
            for model in models
            if model.loaded
        ]
    }


def show(model: Listed) -> Body:
    """`/api/show`. A fleet has no files of Ollama's, so those texts are empty."""
    architecture = model.family or UNKNOWN
    return {
        "modelfile": "",
        "parameters": "",
        "template": "",
        "details": _details(model),
        "model_info": {
            "general.architecture": architecture,
            "general.parameter_count": model.parameters,
            f"{architecture}.context_length": model.context,
        },
        "capabilities": _capabilities(model),
        **_moment("modified_at", model),
    }


def shown_name(body: Mapping[str, Any]) -> str:
    """The model that a `/api/show` asks about; older clients call the field `name`."""
    return plain_name(want_model({"model": body.get("model") or body.get("name")}))


def _entry(model: Listed) -> Body:
    return {
        "name": model.name,
        "model": model.name,
        "size": model.size_bytes,
        "digest": model.digest,
        "details": _details(model),
    }


def _moment(name: str, model: Listed) -> Body:
    """A time, left out where it isn't known: clients read it, and fail at an empty one."""
    value = getattr(model, name)
    return {name: value} if value else {}


def _details(model: Listed) -> Body:
    return {
        "parent_model": "",
        "format": "gguf",
        "family": model.family,
        "families": [model.family] if model.family else [],
        "parameter_size": _size(model.parameters),
        "quantization_level": model.quant,
    }


def _size(parameters: int) -> str:
    """A number of parameters as people say it: 8.0B, 135.0M."""
    if parameters <= 0:
        return ""
    if parameters >= BILLION:
        return f"{parameters / BILLION:.1f}B"
    return f"{parameters / MILLION:.1f}M"


def _capabilities(model: Listed) -> list[str]:
    """What clients may ask of it. A model for embeddings completes nothing."""
    has = {"tools": model.tools, "vision": model.vision, "thinking": model.thinking}
    base = "embedding" if model.embedding else "completion"
    return [base, *(name for name, there in has.items() if there)]


@final
class OllamaEmbed:
    """`/api/embed`; `old`: `/api/embeddings`, which takes one text and calls it a prompt."""

    def __init__(self, *, old: bool) -> None:
        self._old: Final = old

    def read(self, body: Mapping[str, Any]) -> Asked:
        """What a client sent."""
        name = want_model(body)
        asked: Body = {"input": _prompt(body) if self._old else _input(body)}
        if isinstance(body.get("dimensions"), int):
            asked["dimensions"] = body["dimensions"]
        return Asked(
            model=plain_name(name), path=EMBEDDINGS, body=asked, stream=False, reply=_no_stream
        )

    def refusal(self, problem: Problem) -> Body:
        """As Ollama's libraries read it."""
        return refusal(problem)


def embedded(answer: Mapping[str, Any], model: str, *, old: bool) -> Body:
    """OpenAI's answer in Ollama's words."""
    vectors = _vectors(answer.get("data"))
    if old:
        return {"embedding": vectors[0] if vectors else []}
    usage = answer.get("usage")
    tokens = usage.get("prompt_tokens") if isinstance(usage, dict) else 0
    return {
        "model": model,
        "embeddings": vectors,
        "total_duration": 0,
        "load_duration": 0,
        "prompt_eval_count": tokens if isinstance(tokens, int) else 0,
    }


def _vectors(data: object) -> list[Any]:
    """The vectors in the order of their texts."""
    entries = [one for one in data if isinstance(one, dict)] if isinstance(data, list) else []
    entries.sort(key=_place)
    return [one["embedding"] for one in entries if isinstance(one.get("embedding"), list)]


def _place(entry: Mapping[str, Any]) -> int:
    index = entry.get("index")
    return index if isinstance(index, int) else 0


def _input(body: Mapping[str, Any]) -> str | list[str]:
    value = body.get("input")
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise RequestError("BadField", "input must be a text or a list of texts")
    if not any(texts):
        raise RequestError("BadField", "input is empty", "send the text to be embedded")
    return texts


def _prompt(body: Mapping[str, Any]) -> str:
    prompt = body.get("prompt")
    if not isinstance(prompt, str) or not prompt:
        raise RequestError("BadField", "prompt must be a text", "send the text to be embedded")
    return prompt


def _no_stream() -> OllamaReply:
    return OllamaReply("", now=str, chat=False)


def _not_here(text: str, hint: str) -> Problem:
    return Problem(status=501, code="NotHere", text=text, hint=hint)


_PULL: Final = "fleet models pull downloads a model"
# Routes of Ollama that change its store of models. `/api/blobs` stands for all paths below it.
NOT_HERE: Final[Mapping[str, Problem]] = {
    "/api/pull": _not_here("models are not downloaded through Ollama's API", _PULL),
    "/api/push": _not_here("a fleet publishes no models", "fleet models lists those there are"),
    "/api/create": _not_here("a fleet uses models as they were published", _PULL),
    "/api/copy": _not_here("a model has one name in a fleet", "fleet models lists the names"),
    "/api/delete": _not_here(
        "models are not deleted through Ollama's API", "fleet models rm deletes one"
    ),
    "/api/blobs": _not_here("a fleet takes no files through Ollama's API", _PULL),
}
