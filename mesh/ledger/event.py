"""What an event is: a signed fact, and the one order every peer sorts it in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, final

SCHEMA_VERSION: Final = 1
NO_PREV: Final = "0" * 64

# What the author signs. `id`, `hash` and `sig` are derived from these bytes, so they stay outside.
BODY_FIELDS: Final = frozenset(
    ("author", "device_id", "event_type", "hlc", "payload", "prev", "seq", "timestamp", "v")
)


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """A fact its author signed. `hlc` is "<ms>-<counter>", `sig` hex.

    `hash` is of the signed bytes (`ids.event_hash`), `prev` that of the author's event before it,
    both hex.
    """

    id: str
    hash: str
    timestamp: str
    device_id: str
    event_type: str
    payload: dict[str, object]
    author: str
    seq: int
    prev: str
    hlc: str
    sig: str
    v: int


def order_key(event: Event) -> tuple[int, int, str, int, str]:
    """Sorts events the same way on every peer: (hlc ms, hlc counter, author, seq, id).

    The id only matters where an author signed two events at one seq: copied disks can also
    copy each other's clock.
    """
    ms, _, counter = event.hlc.partition("-")
    return (int(ms), int(counter), event.author, event.seq, event.id)
