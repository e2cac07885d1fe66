"""A device of the ledger, with a reading of its memory, as the queue sees it."""

from __future__ import annotations

from dataclasses import replace

from mathcore.device import DeviceSpec
from mesh.policy.queue.values import Foreign, Reservation, Room
from mesh.state.state import State

# A processor's memory is the host's RAM, and so is an Apple GPU's and that of a GPU without any of
# its own.
UNIFIED = ("cpu", "apple")


def room_of(
    state: State,
    device: DeviceSpec,
    read_ms: int,
    *,
    foreign: tuple[Foreign, ...] = (),
    health: str = "",
    max_jobs: int = 0,
    now_ms: int,
) -> Room:
    """What the owner's word and a reading made at `read_ms` say of a device; 0 bytes are unknown
    but for `free_bytes` of a device that was read."""
    room = Room(
        device_id=device.device_id,
        total_bytes=device.memory_bytes,
        free_bytes=device.free_bytes if read_ms else None,
        read_ms=read_ms,
        cards=max(1, device.count),
        ram_free_bytes=device.ram_free_bytes or None,
        max_jobs=max_jobs,
        foreign=foreign,
        health=health,
        host=device.host,
        is_ram=device.kind in UNIFIED or not device.ram_free_bytes,
    )
    return with_word(room, state, now_ms)


def with_word(room: Room, state: State, now_ms: int) -> Room:
    """The room as its owner says now that it may be used, however old the reading of it is."""
    held = state.reserved(room.device_id, now_ms)
    return replace(
        room,
        drained=state.drained(room.device_id),
        reservations=tuple(
            Reservation(by=one.by, from_ms=one.from_ms, until_ms=one.until_ms) for one in held
        ),
    )
