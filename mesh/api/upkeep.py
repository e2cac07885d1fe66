"""What may be asked about the use of a device, and how its use is shown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from mathcore.units import DAY_MS
from mesh.api.errors import RequestError
from mesh.api.rows import Row, reservation_rows
from mesh.state.facts.upkeep import DRAIN_REASONS
from mesh.state.fleet import DeviceView
from mesh.state.state import State

DRAIN, RESUME, RESERVE, UNRESERVE = "drain", "resume", "reserve", "unreserve"
VERBS: Final = (DRAIN, RESUME, RESERVE, UNRESERVE)
FIELDS: Final = {
    DRAIN: ("reason_code",),
    RESUME: (),
    RESERVE: ("for_ms", "from_ms"),
    UNRESERVE: ("reservation_id",),
}
# Shorter than a minute nothing starts; longer than a week it is somebody else's device.
MIN_RESERVED_MS: Final = 60_000
MAX_RESERVED_MS: Final = 7 * DAY_MS
# Further ahead nobody remembers it, and the reservations of a device are counted.
MAX_AHEAD_MS: Final = 30 * DAY_MS


def check_fields(verb: str, body: Mapping[str, object]) -> None:
    """RequestError for a field the verb does not know."""
    for name in body:
        if name not in FIELDS[verb]:
            known = ", ".join(FIELDS[verb]) or "none"
            raise RequestError("UnknownField", f"unknown field {name[:80]!r}", f"known: {known}")


def drain_reason(body: Mapping[str, object]) -> str:
    """Why a device is drained: one of a fixed list, for it goes into an event."""
    reason = body.get("reason_code", DRAIN_REASONS[0])
    if reason not in DRAIN_REASONS:
        raise RequestError(
            "BadField", f"reason_code={str(reason)[:40]!r}", f"one of {', '.join(DRAIN_REASONS)}"
        )
    return str(reason)


def reserved_time(body: Mapping[str, object], now_ms: int) -> tuple[int, int]:
    """(from, until) of a reservation; it begins now where nobody says otherwise."""
    length, start = body.get("for_ms"), body.get("from_ms", now_ms)
    if type(length) is not int or not MIN_RESERVED_MS <= length <= MAX_RESERVED_MS:
        raise RequestError(
            "BadField", "for_ms must be between a minute and a week", "fleet reserve DEV --for 2h"
        )
    if type(start) is not int or start > now_ms + MAX_AHEAD_MS or start + length <= now_ms:
        raise RequestError(
            "BadField",
            "from_ms must be within the next 30 days, and its end not over yet",
            "fleet reserve DEV --for 2h --from 14:00",
        )
    return start, start + length


def upkeep_row(state: State, device: DeviceView, now_ms: int) -> Row:
    """How a device may be used: drained or not, and its reservations."""
    return {
        "device_id": device.device_id,
        "name": device.name,
        "drained": state.drained(device.device_id),
        "reservations": reservation_rows(state, device.device_id, now_ms),
    }
