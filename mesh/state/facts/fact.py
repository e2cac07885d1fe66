"""How a struct of facts becomes a signed payload, and how any peer's payload becomes one again.

A field without a default is always written; one with a default is left out while it is unknown.
A field added later has a default and its `since`: older ledgers lack it.
Reading never fails: peers may sign anything, and what is missing or of another type is unknown
(0, "", (), None), an amount below zero too. Fields nobody here knows are a newer peer's and are
passed over.
"""

from __future__ import annotations

import types
from collections.abc import Callable
from functools import cache
from typing import Any, Final, TypeVar, cast, get_args, get_origin

import msgspec
from msgspec import structs

from mathcore.memo import Memo

Payload = dict[str, object]
FIRST_VERSION = "0.1.0"  # of the program that wrote the first ledger


class Fact(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The payload of an event, or an object inside one."""


AnyFact = TypeVar("AnyFact", bound=Fact)
# An owner's queue reads the facts of each of its jobs at every turn: those of four thousand jobs,
# and of their plans, are kept.
_DECODED: Final[Memo[Fact]] = Memo(1 << 14)
Read = Callable[[object], object]


def said(
    meaning: str,
    unit: str = "",
    *,
    since: str = FIRST_VERSION,
    reading: bool = False,
    as_text: bool = False,
) -> msgspec.Meta:
    """What a field means, for Annotated.

    `reading`: changes from one start to the next without the device having changed. `as_text`: a
    value of another type counts as its text.
    """
    marks = {"unit": unit, "since": since, "reading": reading, "as_text": as_text}
    return msgspec.Meta(description=meaning, extra=marks)


def amount(
    meaning: str, unit: str = "", *, since: str = FIRST_VERSION, reading: bool = False
) -> msgspec.Meta:
    """What an integer means that no honest program writes below zero: such a one is unknown."""
    marks = {"unit": unit, "since": since, "reading": reading, "as_text": False}
    return msgspec.Meta(ge=0, description=meaning, extra=marks)


def encode(fact: Fact) -> Payload:
    """The payload to sign: plain JSON values, what is unknown left out."""
    plain = msgspec.to_builtins(fact)
    return {key: list(v) if isinstance(v, tuple) else v for key, v in plain.items()}


def decode(kind: type[AnyFact], payload: Payload) -> AnyFact:
    """What a payload says, whoever wrote it; never raises. Nobody changes a payload that was read:
    who asks again gets the same answer."""
    key = kind, id(payload)
    known = _DECODED.get(key, payload)
    if known is None:
        known = _DECODED.put(key, _decoded(kind, payload), payload)
    return cast("AnyFact", known)


def decode_once(kind: type[AnyFact], payload: Payload) -> AnyFact:
    """As `decode`, for what is large and read once: it takes no room from what is read often."""
    return _decoded(kind, payload)


def _decoded(kind: type[AnyFact], payload: Payload) -> AnyFact:
    try:
        return msgspec.convert(payload, kind)
    except msgspec.ValidationError:
        given = {name: read(payload.get(key, ...)) for name, key, read in _readers(kind)}
        return kind(**given)


def exact(kind: type[AnyFact], payload: Payload) -> AnyFact | None:
    """What a payload says where every field has its type and none is missing; else None."""
    try:
        return msgspec.convert(payload, kind)
    except msgspec.ValidationError:
        return None


def whole(payload: Payload, key: str) -> int:
    """The integer at `key`, 0 where a peer left it out or wrote something else."""
    return _whole(payload.get(key))


def text(payload: Payload, key: str) -> str:
    """The text at `key`, "" where a peer left it out or wrote something else."""
    return _text(payload.get(key))


def readings(kind: type[Fact]) -> frozenset[str]:
    """Signed names of the fields that change without the thing having changed."""
    fields = structs.fields(kind)
    return frozenset(one.encode_name for one in fields if marks(one.type)["reading"])


def marks(of: Any) -> dict[str, Any]:
    """What `said` noted on a field's type."""
    found: dict[str, Any] = {}
    for one in get_args(of):
        if isinstance(one, msgspec.Meta):
            found |= {"meaning": one.description, "least": one.ge, **(one.extra or {})}
    return found


def bare(of: Any) -> Any:
    """A field's type without what `said` noted."""
    return get_args(of)[0] if marks(of) else of


@cache
def _readers(kind: type[Fact]) -> tuple[tuple[str, str, Read], ...]:
    """(attribute, signed name, how its value is read) of each field."""
    return tuple((one.name, one.encode_name, _reader(one)) for one in structs.fields(kind))


def _reader(field: structs.FieldInfo) -> Read:
    of, said_of = bare(field.type), marks(field.type)
    if said_of.get("as_text"):
        return lambda value: "" if value is ... else str(value)
    if said_of.get("least") is not None:
        return _amount
    return _optional(get_args(of)[0]) if get_origin(of) is types.UnionType else _plain(of)


def _plain(of: Any) -> Read:
    """The reader of a type whose unknown value is its empty one."""
    if isinstance(of, type) and issubclass(of, Fact):
        return lambda value: decode(of, value if isinstance(value, dict) else {})
    if get_origin(of) is tuple:
        return _each(get_args(of)[0])
    read: dict[object, Read] = {int: _whole, str: _text, bool: _true, dict: _object}
    return read[get_origin(of) or of]


def _each(of: Any) -> Read:
    """The reader of a list; of what is no list, none."""
    one: Read = str if of is str else _plain(of)
    return lambda value: tuple(one(each) for each in value) if isinstance(value, list) else ()


def _optional(of: Any) -> Read:
    """The reader of a type whose unknown value is None."""
    if get_origin(of) is dict:
        return lambda value: value if isinstance(value, dict) else None
    stored = list if get_origin(of) is tuple else dict if issubclass(of, Fact) else of
    read = _plain(of)
    return lambda value: read(value) if type(value) is stored else None


def _whole(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else 0


def _amount(value: object) -> int:
    return max(0, _whole(value))


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _true(value: object) -> bool:
    return value is True


def _object(value: object) -> Payload:
    return value if isinstance(value, dict) else {}
