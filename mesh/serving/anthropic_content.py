"""Anthropic's conversation as OpenAI's: system, turns and their blocks become chat messages.

What a chat cannot carry is refused with its name, never left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from mesh.api.errors import RequestError
from mesh.serving.family import Body

JOINT: Final = "\n"  # between two texts of one turn: templates want one text, not a list
# Claude Code's first system block says who pays. It changes with every request: an engine that
# read it could reuse none of the prompt it has already worked through.
BILLING: Final = "x-anthropic-billing-header:"
NO_IMAGE: Final = "send the image itself, as base64 or a URL"
NO_PAPER: Final = "send its text, or its pages as images"


def bad(text: str, hint: str = "") -> RequestError:
    """A field that is not as Anthropic's API has it."""
    return RequestError("BadField", text, hint, 400)


def unsupported(text: str, hint: str) -> RequestError:
    """A request that is right for Anthropic's own service, and that no engine here can answer."""
    return RequestError("Unsupported", text, hint, 400)


def chat_messages(system: object, messages: object) -> list[Body]:
    """The whole conversation, in the order in which an engine reads it."""
    said = _instructions(system)
    chat: list[Body] = [{"role": "system", "content": said}] if said else []
    for role, blocks in _turns(messages):
        chat += _assistant(blocks) if role == "assistant" else _user(blocks)
    return chat


def _instructions(system: object) -> str:
    texts = [_text(block) for block in _blocks(system or "", "system")]
    return JOINT.join(text for text in texts if text and not text.startswith(BILLING))


def _turns(messages: object) -> list[tuple[str, list[Body]]]:
    """Who speaks, and what. Anthropic joins neighbours of one role, and many templates demand it.

    A system message between turns is the user's here: most templates take one at the front only.
    """
    if not isinstance(messages, list) or not messages:
        raise bad("messages must be a list of at least one message")
    turns: list[tuple[str, list[Body]]] = []
    for message in messages:
        role = message.get("role") if isinstance(message, dict) else None
        if role not in ("user", "assistant", "system"):
            raise bad("each of messages must have a role: user, assistant or system")
        blocks = _blocks(message.get("content"), "a message's content")
        role = "assistant" if role == "assistant" else "user"
        if turns and turns[-1][0] == role:
            turns[-1][1].extend(blocks)
        else:
            turns.append((role, blocks))
    return turns


def _blocks(content: object, what: str) -> list[Body]:
    """A text is short for one block of text."""
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    if not isinstance(content, list) or not all(isinstance(one, dict) for one in content):
        raise bad(f"{what} must be a text or a list of blocks")
    return list(content)


def _user(blocks: list[Body]) -> list[Body]:
    """The results of tools first, each a message of its own: they must follow their calls."""
    results: list[Body] = []
    parts: list[Body] = []
    for block in blocks:
        if block.get("type") == "tool_result":
            results.append(_result(block, parts))
        else:
            parts.append(_part(block))
    if parts or not results:
        results.append({"role": "user", "content": _content(parts)})
    return results


def _result(block: Body, shown: list[Body]) -> Body:
    """A tool's result. Its images go to `shown`: a tool's message holds text alone."""
    call = _want(block, "tool_use_id")
    parts = [_part(one) for one in _blocks(block.get("content") or "", "a tool_result's content")]
    texts = [part["text"] for part in parts if part["type"] == "text"]
    images = [part for part in parts if part["type"] != "text"]
    if images:
        texts.append(f"(images of this result follow: {len(images)})")
        shown += [{"type": "text", "text": f"Images of the result of {call}:"}, *images]
    text = JOINT.join(texts)
    # Chat has no mark for a failed tool: the model must read it.
    return {
        "role": "tool",
        "tool_call_id": call,
        "content": f"Error: {text}" if block.get("is_error") is True else text,
    }


def _part(block: Body) -> Body:
    """What a user shows: a text or an image."""
    kind = block.get("type")
    if kind == "image":
        return {"type": "image_url", "image_url": {"url": _image(block.get("source"))}}
    if kind == "document":
        return {"type": "text", "text": _document(block)}
    if kind == "search_result":
        return {"type": "text", "text": _found(block)}
    return {"type": "text", "text": _text(block)}


def _content(parts: list[Body]) -> str | list[Body]:
    if all(part["type"] == "text" for part in parts):
        return JOINT.join(part["text"] for part in parts)
    return parts


def _image(source: object) -> str:
    """An image's address; one that came with the request becomes an address that holds it."""
    given = source if isinstance(source, dict) else {}
    if given.get("type") == "url":
        return _want(given, "url")
    if given.get("type") == "base64":
        return f"data:{_want(given, 'media_type')};base64,{_want(given, 'data')}"
    raise unsupported(f"an image's source of type {given.get('type')!r:.80} is not here", NO_IMAGE)


def _document(block: Body) -> str:
    """A document's text, under its title."""
    found = block.get("source")
    source: Body = found if isinstance(found, dict) else {}
    if source.get("type") == "text":
        text = _want(source, "data")
    elif source.get("type") == "content":
        text = JOINT.join(_text(one) for one in _blocks(source.get("content"), "a document"))
    else:
        raise unsupported(
            f"a document of type {source.get('type')!r:.80} can be read by no engine", NO_PAPER
        )
    return _titled(text, block, ("title", "context"))


def _found(block: Body) -> str:
    text = JOINT.join(_text(one) for one in _blocks(block.get("content"), "a search_result"))
    return _titled(text, block, ("title", "source"))


def _titled(text: str, block: Body, names: tuple[str, ...]) -> str:
    heads = [block[name] for name in names if isinstance(block.get(name), str)]
    return JOINT.join([*heads, text])


def _text(block: Body) -> str:
    if block.get("type") != "text":
        raise unsupported(
            f"a block of type {block.get('type')!r:.80} cannot be part of this conversation",
            "leave it out, or say it as text",
        )
    return _want(block, "text")


def _want(block: Mapping[str, Any], name: str) -> str:
    value = block.get(name)
    if not isinstance(value, str):
        raise bad(f"{name} of a block must be a text")
    return value


def _assistant(blocks: list[Body]) -> list[Body]:
    """What the model said before: its text, its calls and its thoughts.

    The thoughts are passed on because some models need those of the current task; a template
    leaves out the old ones by itself. Thoughts that Anthropic encrypted are nobody's to read.
    """
    texts = [_text(one) for one in blocks if one.get("type") not in BESIDE_TEXT]
    thoughts = [_want(one, "thinking") for one in blocks if one.get("type") == "thinking"]
    calls = [_call(one) for one in blocks if one.get("type") == "tool_use"]
    message: Body = {"role": "assistant", "content": JOINT.join(texts)}
    if any(thoughts):
        message["reasoning_content"] = JOINT.join(thoughts)
    if calls:
        message["tool_calls"] = calls
    return [message]


BESIDE_TEXT: Final = ("thinking", "redacted_thinking", "tool_use")


def _call(block: Body) -> Body:
    given = block.get("input")
    try:
        arguments = msgspec.json.encode({} if given is None else given).decode()
    except (ValueError, TypeError, RecursionError) as error:
        raise bad("input of a tool_use must be JSON") from error
    function = {"name": _want(block, "name"), "arguments": arguments}
    return {"id": _want(block, "id"), "type": "function", "function": function}
