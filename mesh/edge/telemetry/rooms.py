"""The room on this machine's devices, as the owner's queue takes it: a reading of this moment."""

from collections.abc import Callable

from mesh.edge.telemetry.recorder import Telemetry
from mesh.policy.queue.room import room_of
from mesh.policy.queue.values import Foreign, Room
from mesh.policy.yielding import DeviceFacts, foreign_need
from mesh.state.state import State
from providers.telemetry.sample import Reading, foreign, foreign_bytes


def rooms(
    telemetry: Telemetry, state: Callable[[], State], now_ms: Callable[[], int]
) -> list[Room]:
    """Every device of this machine, with who else holds its memory; blocking for a moment."""
    read_ms, told = now_ms(), state()
    return [
        room_of(
            told,
            device,
            read_ms,
            foreign=_foreign(telemetry, device.device_id),
            health="" if device.withheld is None else device.withheld[1],
            now_ms=read_ms,
        )
        for device in telemetry.devices()
    ]


def _foreign(telemetry: Telemetry, device_id: str) -> tuple[Foreign, ...]:
    reading = telemetry.reading(device_id)
    found = () if reading is None else foreign(reading)
    return tuple(
        Foreign(pid=one.pid, program=one.program, bytes=one.memory_bytes)
        for one in found
        if one.memory_bytes
    )


def device_facts(reading: Reading | None) -> DeviceFacts:
    """What a reading says of heat, and of memory that others need."""
    if reading is None:
        return DeviceFacts()
    free, others = reading.free_bytes, foreign_bytes(reading)
    need = None if free is None or others is None else foreign_need(free, others)
    return DeviceFacts(temperature_c=reading.temperature_c, foreign_need_bytes=need)
