"""A device's reading as a message for people and peers. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import final

import msgspec

from mesh.api.telemetry import MAX_HOLDERS, MAX_JOBS, DeviceNow, Holder, JobNow, cut
from mesh.state.fleet import DeviceView
from providers.telemetry.energy import UNKNOWN
from providers.telemetry.health import Health
from providers.telemetry.machine import Device
from providers.telemetry.sample import CPU, Reading, foreign

Energy = Callable[[str, int], tuple[int | None, str]]


@final
@dataclass(frozen=True, slots=True)
class Running:
    """An attempt that runs on devices of ours. `started_ms` is a label, UTC."""

    key: tuple[str, int]  # (job id, attempt)
    devices: tuple[str, ...]
    started_ms: int


def device_now(
    view: DeviceView,
    device: Device | None,
    health: Health,
    jobs: Sequence[Running],
    energy: Energy,
    at_ms: int,
) -> DeviceNow:
    """One device's row; `at_ms` is now on the steady clock."""
    reading = None if device is None else device.reading
    mine = [job for job in jobs if view.device_id in job.devices][:MAX_JOBS]
    row = DeviceNow(
        device_id=cut(view.device_id),
        name=cut(view.name),
        memory_bytes=view.facts.memory_bytes or None,
        jobs=tuple(_job_now(job, reading, energy) for job in mine),
        health=health.state,
        health_text=cut(health.text),
        health_age_ms=max(0, at_ms - health.since_ms) if health.since_ms else 0,
    )
    if device is None or reading is None:
        return row
    if health.refused_by:  # what it said last is no news of now
        return msgspec.structs.replace(row, age_ms=max(0, at_ms - device.at_ms))
    return _with_reading(row, reading, max(0, at_ms - device.at_ms))


def _with_reading(row: DeviceNow, reading: Reading, age_ms: int) -> DeviceNow:
    return msgspec.structs.replace(
        row,
        age_ms=age_ms,
        memory_bytes=reading.memory_bytes or row.memory_bytes,
        free_bytes=reading.free_bytes,
        utilisation_percent=reading.utilisation_percent,
        power_mw=reading.power_mw,
        power_limit_mw=reading.power_limit_mw,
        temperature_c=reading.temperature_c,
        core_mhz=reading.core_mhz,
        memory_mhz=reading.memory_mhz,
        slowed=reading.slowed,
        foreign=_holders(reading),
    )


def _holders(reading: Reading) -> tuple[Holder, ...] | None:
    """Who holds memory of a card. What else runs on a machine is not its peers' business."""
    if reading.processes is None or reading.key == CPU:
        return None
    return tuple(
        Holder(pid=one.pid, program=cut(one.program), memory_bytes=one.memory_bytes)
        for one in foreign(reading)[:MAX_HOLDERS]
    )


def _job_now(job: Running, reading: Reading | None, energy: Energy) -> JobNow:
    """What an attempt holds there, if the driver says so of each of its processes, and drew."""
    job_id, attempt = job.key
    told = None if reading is None else reading.processes
    sizes = [one.memory_bytes for one in told or () if (one.job_id, one.attempt) == job.key]
    known = [size for size in sizes if size is not None]
    drew, basis = energy(job_id, attempt)
    return JobNow(
        job_id=cut(job_id),
        attempt=attempt,
        memory_bytes=sum(known) if sizes and len(known) == len(sizes) else None,
        energy_millijoules=drew,
        energy_basis=basis or UNKNOWN,
    )
