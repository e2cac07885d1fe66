"""Ollama's messages in OpenAI's words: images become data URLs, tool calls get ids."""

from __future__ import annotations

from base64 import b64decode
from typing import Any, Final, final

import msgspec

from mesh.api.errors import RequestError
from mesh.serving.family import Body

# What a file of each kind begins with; Ollama's clients send no kind.
BEGINNINGS: Final = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF8", "image/gif"),
)
RIFF: Final = b"RIFF"  # a WebP says so four bytes later, after its length
WEBP: Final = b"WEBP"


def messages_of(value: object) -> list[Body]:
    """The conversation; RequestError for one that is none."""
    if not isinstance(value, list) or not value:
        raise _bad("messages must be a list with a message")
    calls = Calls()
    return [_message(one, calls) for one in value]


def content_of(text: str, images: object) -> str | list[Body]:
    """A message's text, with its images before it, as Ollama puts them."""
    if not images:
        return text
    if not isinstance(images, list):
        raise _bad("images must be a list")
    parts: list[Body] = [
        {"type": "image_url", "image_url": {"url": data_url(image)}} for image in images
    ]
    return [*parts, {"type": "text", "text": text}] if text else parts


def data_url(image: object) -> str:
    """An image as OpenAI's API takes it."""
    if not isinstance(image, str):
        raise _bad("an image must be base64 text")
    encoded = "".join(image.split())  # some encoders break lines
    try:
        raw = b64decode(encoded, validate=True)
    except ValueError:
        raise _bad("an image is no base64 text") from None
    return f"data:{_kind(raw)};base64,{encoded}"


def _kind(raw: bytes) -> str:
    for beginning, kind in BEGINNINGS:
        if raw.startswith(beginning):
            return kind
    if raw.startswith(RIFF) and raw[8:12] == WEBP:
        return "image/webp"
    raise _bad("an image is neither PNG, JPEG, WebP nor GIF")


@final
class Calls:
    """The tool calls of a conversation. OpenAI pairs a call and its result by an id, Ollama by the
    tool's name and the order. The ids made here depend on the conversation alone, so the same
    beginning stays the same text and an engine's cache knows it."""

    def __init__(self) -> None:
        self._made = 0
        self._open: dict[str, str] = {}  # names of tools by the ids of calls without a result

    def made(self, tool: str, given: str) -> str:
        """The id of a call; `given`: the one it has already."""
        call = given or self._next()
        self._open[call] = tool
        return call

    def answered(self, tool: str, given: str) -> str:
        """The id of the call that a result belongs to: the oldest open one of that tool."""
        fits = (call for call, name in self._open.items() if tool in ("", name))
        call = given or next(fits, "") or self._next()
        self._open.pop(call, None)
        return call

    def _next(self) -> str:
        """Nine letters and digits: some models' templates take no other ids."""
        self._made += 1
        return f"call{self._made:05}"


def _message(value: object, calls: Calls) -> Body:
    message = _object(value, "a message")
    role = _text(message, "role")
    if not role:
        raise _bad("a message must say its role")
    asked: Body = {"role": role}
    asked["content"] = content_of(_text(message, "content"), message.get("images"))
    if thinking := _text(message, "thinking"):
        asked["reasoning_content"] = thinking
    if made := message.get("tool_calls"):
        asked["tool_calls"] = _calls(made, calls)
    if role == "tool":
        asked |= _result(message, calls)
    return asked


def _result(message: Body, calls: Calls) -> Body:
    tool = _text(message, "tool_name")
    call = calls.answered(tool, _text(message, "tool_call_id"))
    return {"tool_call_id": call, **({"name": tool} if tool else {})}


def _calls(value: object, calls: Calls) -> list[Body]:
    if not isinstance(value, list):
        raise _bad("tool_calls must be a list")
    return [_call(_object(one, "a tool call"), calls) for one in value]


def _call(call: Body, calls: Calls) -> Body:
    function = _object(call.get("function"), "a tool call's function")
    name = _text(function, "name")
    if not name:
        raise _bad("a tool call must name its function")
    return {
        "id": calls.made(name, _text(call, "id")),
        "type": "function",
        "function": {"name": name, "arguments": _arguments(function.get("arguments"))},
    }


def _arguments(value: object) -> str:
    """OpenAI has them as JSON text; a client that sends text already is taken at its word."""
    if isinstance(value, str):
        return value or "{}"
    return msgspec.json.encode(_object(value or {}, "a tool call's arguments")).decode()


def _object(value: object, what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _bad(f"{what} must be an object")
    return value


def _text(message: Body, name: str) -> str:
    value = message.get(name)
    if value is not None and not isinstance(value, str):
        raise _bad(f"{name} must be text")
    return value or ""


def _bad(text: str) -> RequestError:
    return RequestError("BadField", text)
