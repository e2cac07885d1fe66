"""Devices as metrics: what they have, what is free, what they draw, of every peer that is heard."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Final

from mesh.api.metrics.text import Family, Sample, gauge
from mesh.api.telemetry import DeviceNow, FleetNow, PeerRow

LIVE: Final = "live"
OK: Final = "ok"
WORKS: Final = (OK, "degraded")  # slowed by heat, but it works

Read = Callable[[DeviceNow], float | None]

READINGS: Final[tuple[tuple[str, str, Read], ...]] = (
    (
        "fleet_device_mem_free_bytes",
        "Memory nobody holds.",
        lambda one: one.free_bytes,
    ),
    (
        "fleet_device_mem_used_bytes",
        "Memory that is held, by jobs and by others.",
        lambda one: (
            None
            if one.memory_bytes is None or one.free_bytes is None
            else max(0, one.memory_bytes - one.free_bytes)
        ),
    ),
    (
        "fleet_device_utilisation_ratio",
        "Share of the time in which it computed, 0 to 1.",
        lambda one: None if one.utilisation_percent is None else one.utilisation_percent / 100,
    ),
    (
        "fleet_device_power_watts",
        "Power it draws.",
        lambda one: None if one.power_mw is None else one.power_mw / 1000,
    ),
    (
        "fleet_device_temperature_celsius",
        "Temperature of its chip.",
        lambda one: one.temperature_c,
    ),
    (
        "fleet_device_reading_age_seconds",
        "Age of these readings.",
        lambda one: None if one.age_ms is None else one.age_ms / 1000,
    ),
)


def device_families(now: FleetNow) -> Iterator[Family]:
    """Every device; of a peer that is not heard only that, and what is registered of its size."""
    every = [(peer, device) for peer in now.peers for device in peer.devices]
    heard = [(peer, device) for peer, device in every if peer.state == LIVE]
    yield gauge(
        "fleet_device_up",
        "1: its peer is heard, and it works.",
        ((_labels(*one), int(_is_up(*one))) for one in every),
    )
    yield gauge(
        "fleet_device_health_ok",
        "1: nothing is wrong with it; 0: degraded, lost, or its driver does not answer.",
        ((_labels(*one), int(one[1].health == OK)) for one in heard),
    )
    yield gauge(
        "fleet_device_mem_total_bytes",
        "Memory it has.",
        _known(every, lambda one: one.memory_bytes),
    )
    for name, text, read in READINGS:
        yield gauge(name, text, _known(heard, read))


def _known(devices: Iterable[tuple[PeerRow, DeviceNow]], read: Read) -> Iterator[Sample]:
    for peer, device in devices:
        value = read(device)
        if value is not None:
            yield _labels(peer, device), value


def _is_up(peer: PeerRow, device: DeviceNow) -> bool:
    return peer.state == LIVE and device.health in WORKS


def _labels(peer: PeerRow, device: DeviceNow) -> dict[str, str]:
    return {"peer": peer.name, "device": device.name, "device_id": device.device_id}
