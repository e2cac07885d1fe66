"""How much a tool takes and gives. Pure: values in, values and texts out."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

# Claude Code puts an answer of more than 50,000 characters, or 25,000 tokens, into a file (its
# documentation, 2026-10); the mark before it is short. JSON of numbers has two characters a token.
MAX_ANSWER_CHARS: Final = 48_000
# The daemon takes a MiB with a job, and its prompt is the longest there is; a question has a few
# hundred bytes.
MAX_ARGUMENT_CHARS: Final = 1 << 20
MAX_NAME_CHARS: Final = 80  # of what somebody typed, when it is said back


def as_json(value: object) -> str:
    """JSON in ASCII: characters that no eye sees, and models read, are shown as what they are."""
    return json.dumps(value, separators=(",", ":"))


def bounded(value: dict[str, Any], most: int = MAX_ANSWER_CHARS) -> dict[str, Any]:
    """The answer, within `most` characters of JSON: its longest lists lose their ends, and `cut`
    says how many entries there were. Texts are cut where no list is left."""
    cut: dict[str, int] = {}
    while len(as_json(value | {"cut": cut})) > most:
        where = _longest(value)
        if where is None:
            text = as_json(value)[: most // 2]
            return {"cut": {"characters": len(as_json(value))}, "begins": text}
        path, found = where
        cut.setdefault(path, len(found))
        value = _replaced(value, path, found[: len(found) // 2])
    return value | {"cut": cut} if cut else value


def _longest(value: Mapping[str, Any], before: str = "") -> tuple[str, list[Any]] | None:
    """The list with the most JSON, by its path: "jobs", "plan.placements"."""
    found: list[tuple[int, str, list[Any]]] = []
    for name, one in value.items():
        path = f"{before}{name}"
        if isinstance(one, list) and one:
            found.append((len(as_json(one)), path, one))
        elif isinstance(one, dict) and (inner := _longest(one, f"{path}.")):
            found.append((len(as_json(inner[1])), *inner))
    most = max(found, key=lambda one: one[0], default=None)
    return None if most is None else most[1:]


def _replaced(value: Mapping[str, Any], path: str, shorter: list[Any]) -> dict[str, Any]:
    name, _, rest = path.partition(".")
    inner = shorter if not rest else _replaced(value[name], rest, shorter)
    return {**value, name: inner}


def fault(schema: Mapping[str, Any], given: Mapping[str, Any]) -> str:
    """What is wrong with a tool's arguments, in a line that names the field; "" for nothing.

    `schema`: {properties: {name: {type}}, required: [...]}. What a field may say is the daemon's to
    judge.
    """
    known: Mapping[str, Mapping[str, Any]] = schema["properties"]
    for name in given:
        if name not in known:
            said = ", ".join(known) or "none"
            return f"unknown argument {name[:MAX_NAME_CHARS]!r}; known: {said}"
    for name in schema.get("required", ()):
        if name not in given:
            return f"the argument {name!r} is missing"
    for name, one in given.items():
        if not _is(known[name]["type"], one):
            return f"{name}: {str(one)[:MAX_NAME_CHARS]!r} is no {known[name]['type']}"
        if "enum" in known[name] and one not in known[name]["enum"]:
            return f"{name}: {one[:MAX_NAME_CHARS]!r}; one of {', '.join(known[name]['enum'])}"
    size = len(as_json(given))
    if size > MAX_ARGUMENT_CHARS:
        return f"the arguments have {size:,} characters; at most {MAX_ARGUMENT_CHARS:,}"
    return ""


def _is(kind: str, value: object) -> bool:
    if kind == "array":
        return isinstance(value, list) and all(isinstance(one, str) for one in value)
    wanted = {"string": str, "integer": int, "boolean": bool}[kind]
    return isinstance(value, wanted) and (kind == "boolean") == isinstance(value, bool)
