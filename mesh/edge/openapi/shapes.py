"""What a route takes and answers, in JSON Schema: the words of the tables beside this module."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, final

import msgspec

from mesh.api.fields import COUNTS, TAKES

Schema = Mapping[str, Any]
Fields = Mapping[str, Schema]

TEXT: Final[Schema] = {"type": "string"}
INTEGER: Final[Schema] = {"type": "integer"}
COUNT: Final[Schema] = {"type": "integer", "minimum": 0}
FLAG: Final[Schema] = {"type": "boolean"}
OBJECT: Final[Schema] = {"type": "object"}
ANY: Final[Schema] = {}
JSON: Final = "application/json"
STREAM: Final = "text/event-stream"


def many(of: Schema) -> Schema:
    """A list of such."""
    return {"type": "array", "items": of}


def maybe(of: Schema) -> Schema:
    """Such, or null where it is not known."""
    return {"anyOf": [of, {"type": "null"}]}


def one_of(words: Iterable[str]) -> Schema:
    """A text out of a fixed list."""
    return {"type": "string", "enum": list(words)}


OBJECTS: Final[Schema] = many(OBJECT)
TEXTS: Final[Schema] = many(TEXT)


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Described:
    """One route. `answer` names the fields that are always there; a type has all of its own.

    `bodies`: one of these, where the path says which. `upload`: a file of that type.
    """

    query: Fields = field(default_factory=dict)
    body: Fields | type = field(default_factory=dict)
    bodies: Mapping[str, Fields] = field(default_factory=dict)
    needs: Sequence[str] = ()
    upload: str = ""
    answer: Fields | type = field(default_factory=dict)
    content: Sequence[str] = (JSON,)
    statuses: Sequence[int] = (200,)
    path: Fields = field(default_factory=dict)


def texts(names: Iterable[str]) -> dict[str, Schema]:
    """Fields that take texts."""
    return {name: noted(name, TEXT) for name in names}


def struct_fields(kind: type[msgspec.Struct], leaving_out: Iterable[str] = ()) -> dict[str, Schema]:
    """A request's fields, each as the parser of its struct checks it."""
    made = msgspec.json.schema(kind, schema_hook=anything)
    properties = made["$defs"][kind.__name__]["properties"]
    out = frozenset(leaving_out)
    return {name: noted(name, said) for name, said in properties.items() if name not in out}


def anything(kind: type) -> dict[str, Any]:
    """The schema of what msgspec leaves to its reader: any JSON."""
    if kind is object:
        return {"description": "any JSON"}  # msgspec takes an empty schema for none
    raise NotImplementedError


def noted(name: str, said: Schema) -> Schema:
    """A field's schema with what the refusal of a wrong value would say it takes."""
    takes, example = TAKES.get(name, ("", ""))
    if name in COUNTS and said.get("type") != "string":
        said = {"anyOf": [said, TEXT]}  # "8k" is 8192
    if not takes:
        return said
    # What stands in quotes, or is left open, is how a person types it and not the field's text.
    plain = _takes_text(said) and not set(example) & set('"…')
    return {**said, "description": takes} | ({"examples": [example]} if plain else {})


def _takes_text(said: Schema) -> bool:
    return TEXT["type"] in {one.get("type") for one in said.get("anyOf", [said])}
