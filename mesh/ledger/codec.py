"""Canonical bytes: one value has one encoding, and only that encoding is read back."""

from __future__ import annotations

from typing import Final

import msgspec

# A plan with hundreds of considered offers is under 20 KiB; a stranger's event costs us at
# most this much before we know who signed it.
MAX_EVENT_BYTES: Final = 64 * 1024
# JavaScript and most JSON tools lose integers beyond this.
MAX_INT: Final = 2**53 - 1
# Our deepest payload nests 5 levels; a bound keeps recursion away from strangers.
MAX_DEPTH: Final = 16

# Bytes without a long run of digits hold no integer beyond MAX_INT, and with few brackets they
# nest no deeper than MAX_DEPTH; only the others are worth a walk through the value. Looking for the
# run among zeros takes a twentieth of the time that a regular expression does.
_DIGITS_AS_ZEROS: Final = bytes(48 if 48 <= byte <= 57 else 120 for byte in range(256))
_LONG_RUN: Final = b"0" * 16


def _refuse_float(text: str) -> float:
    raise ValueError(f"float {text[:20]} is not allowed in an event")


_ENCODER: Final = msgspec.json.Encoder(order="sorted")
_DECODER: Final = msgspec.json.Decoder(float_hook=_refuse_float)


class EncodeError(ValueError):
    """The value has no canonical bytes; one line says why."""


class DecodeError(ValueError):
    """The bytes are not canonical; one line says why."""


def encode(value: dict[str, object]) -> bytes:
    """Canonical bytes of an object: sorted keys, integers only, at most MAX_EVENT_BYTES."""
    _check(value, "", MAX_DEPTH)
    try:
        body = _ENCODER.encode(value)
    except (UnicodeEncodeError, msgspec.MsgspecError, TypeError) as error:
        raise EncodeError(f"cannot be written as JSON: {error}") from error
    if len(body) > MAX_EVENT_BYTES:
        raise EncodeError(f"{len(body)} bytes, an event may have {MAX_EVENT_BYTES}")
    return body


def decode(body: bytes) -> dict[str, object]:
    """The object these bytes encode; refuses any bytes `encode` would not have written."""
    if len(body) > MAX_EVENT_BYTES:
        raise DecodeError(f"{len(body)} bytes, an event may have {MAX_EVENT_BYTES}")
    try:
        value = _DECODER.decode(body)
    except (msgspec.MsgspecError, RecursionError, ValueError) as error:
        raise DecodeError(f"not JSON: {error}") from error
    if not isinstance(value, dict):
        raise DecodeError("not a JSON object")
    plain = body.count(b"[") + body.count(b"{") <= MAX_DEPTH
    plain = plain and _LONG_RUN not in body.translate(_DIGITS_AS_ZEROS)
    try:
        if not plain and _beyond(value, MAX_DEPTH):
            _check(value, "", MAX_DEPTH)
        again = _ENCODER.encode(value)
    except (EncodeError, UnicodeEncodeError) as error:
        raise DecodeError(str(error)) from error
    if again != body:
        raise DecodeError("not canonical: keys unsorted, repeated, or spaced otherwise")
    return value


def _beyond(value: dict[str, object] | list[object], depth: int) -> bool:
    """Whether a value out of JSON holds an integer beyond MAX_INT, or nests deeper than that."""
    for one in value.values() if isinstance(value, dict) else value:
        kind = type(one)
        if kind is int:
            if not -MAX_INT <= one <= MAX_INT:  # type: ignore[operator]
                return True
        elif (kind is dict or kind is list) and (
            depth == 1 or _beyond(one, depth - 1)  # type: ignore[arg-type]
        ):
            return True
    return False


def _check(value: object, where: str, depth: int) -> None:
    """Walks a value, refusing what has no canonical form."""
    if value is None or isinstance(value, (str, bool)):
        return
    if isinstance(value, int):
        if not -MAX_INT <= value <= MAX_INT:
            raise EncodeError(f"{where or 'value'}: integer beyond ±(2**53-1)")
    elif depth == 0:
        raise EncodeError(f"{where or 'value'}: nested deeper than {MAX_DEPTH}")
    elif isinstance(value, dict):
        for key, item in value.items():
            if not isinstance(key, str):
                raise EncodeError(f"{where or 'value'}: key {key!r} is not text")
            _check(item, f"{where}.{key}"[:80] if where else key[:80], depth - 1)
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            _check(item, f"{where}[{index}]"[:80], depth - 1)
    else:
        raise EncodeError(f"{where or 'value'}: {type(value).__name__} is not allowed in an event")
