"""From stored bytes to an event: fields, types and bounds, everything but the signature."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, final

from mesh.ledger import codec, hlc, ids
from mesh.ledger.event import BODY_FIELDS, SCHEMA_VERSION, Event

# Types and ids are words, not documents: they are printed in every table.
MAX_NAME_CHARACTERS: Final = 128
_HEX: Final = frozenset("0123456789abcdef")


@final
@dataclass(frozen=True, slots=True)
class Fault:
    """Why bytes are no event."""

    text: str


def parse_record(body: bytes, sig: bytes) -> Event | Fault:
    """The event canonical bytes describe, id and signature added. Checks no signature."""
    try:
        fields = codec.decode(body)
    except codec.DecodeError as error:
        return Fault(str(error))
    missing = BODY_FIELDS - fields.keys()
    if missing:
        return Fault(f"field {min(missing)} is missing")
    match fields:
        case {
            "author": str() as author,
            "device_id": str() as device_id,
            "event_type": str() as event_type,
            "hlc": str() as clock,
            "payload": dict() as payload,
            "prev": str() as prev,
            "seq": int() as seq,
            "timestamp": str() as timestamp,
            "v": int() as v,
        }:
            digest = ids.event_hash(body)
            event = Event(
                id=ids.event_id(digest),
                hash=digest,
                timestamp=timestamp,
                device_id=device_id,
                event_type=event_type,
                payload=payload,
                author=author,
                seq=seq,
                prev=prev,
                hlc=clock,
                sig=sig.hex(),
                v=v,
            )
            fault = _fault(event, fields)
            return event if fault is None else Fault(fault)
        case _:
            return Fault("a field has the wrong type")


def _fault(event: Event, fields: dict[str, object]) -> str | None:
    """What is wrong with the fields of an event; a newer version may carry more of them."""
    if isinstance(fields["v"], bool) or isinstance(fields["seq"], bool) or event.v < 1:
        return "v and seq are integers from 1"
    if event.seq < 1:
        return f"seq {event.seq}, chains count from 1"
    if event.v == SCHEMA_VERSION and len(fields) != len(BODY_FIELDS):
        return f"field {min(fields.keys() - BODY_FIELDS)} is not in version {SCHEMA_VERSION}"
    for name, text in (("author", event.author), ("prev", event.prev)):
        if len(text) != 64 or not _HEX.issuperset(text):
            return f"{name} is not 64 hex digits"
    for name, text in (("event_type", event.event_type), ("device_id", event.device_id)):
        if len(text) > MAX_NAME_CHARACTERS or (name == "event_type" and not text):
            return f"{name} has {len(text)} characters, at most {MAX_NAME_CHARACTERS}"
    try:
        stamp = hlc.parse(event.hlc)
    except ValueError as error:
        return str(error)
    if event.timestamp != hlc.timestamp(stamp.ms):
        return "timestamp and hlc name different instants"
    return None
