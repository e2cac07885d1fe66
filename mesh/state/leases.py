"""Memory that is promised but not yet taken: jobs dispatched to a device and not loaded there.

A reading of free memory knows what loaded before it was made, other people's programs included.
"""

from collections.abc import Mapping
from dataclasses import replace

from mathcore.device import DeviceSpec
from mesh.state.facts.fact import whole
from mesh.state.jobs import JobView

# Loading from disk is assumed, not measured, and its bar reaches twice the middle
# (mathcore.planner.estimate); one that takes longer is counted twice for a while, which is safe.
LOAD_TIMES = 2


def loaded_ms(job: JobView) -> int:
    """When a job's memory is surely taken; 0 while nobody knows, since it has not started."""
    load = whole(job.predicted.terms_ms, "load")
    return job.started_ms + LOAD_TIMES * load if job.started_ms else 0


def shares(job: JobView) -> dict[str, int]:
    """Bytes of each card that a job was promised, by device; 0 where its plan does not say."""
    if not job.members:
        return {job.device_id: promised(job)[0]}
    told = {one.device_id: -(-one.need_bytes // max(1, one.cards)) for one in job.predicted.members}
    return {one: told.get(one, 0) for one in job.devices}


def promised(job: JobView) -> tuple[int, int]:
    """Bytes of (each card it was given, host memory), by the plan it was dispatched with."""
    plan = job.predicted
    need, cards = plan.footprint, max(1, plan.cards)
    return max(0, -(-need.total_bytes // cards)), max(0, need.host_bytes)


def with_leases(
    jobs: Mapping[str, JobView], devices: Mapping[str, DeviceSpec], read_ms: Mapping[str, int]
) -> dict[str, DeviceSpec]:
    """Each device without what is promised and not part of its reading, made at `read_ms`."""
    out = dict(devices)
    for job in list(jobs.values()):
        taken = next((devices[one] for one in job.devices if one in devices), None)
        if taken is None or job.ended:
            continue
        loaded, of_card, (card, beside) = loaded_ms(job), shares(job), promised(job)
        for device_id, device in out.items():
            shares_ram = device.host != "" and device.host == taken.host
            if 0 < loaded <= read_ms.get(device_id, 0):
                continue
            if device_id in of_card:
                out[device_id] = _less(device, of_card[device_id], beside)
            elif shares_ram:
                out[device_id] = _less(device, 0, card if taken.kind == "cpu" else beside)
    return out


def _less(device: DeviceSpec, card: int, ram: int) -> DeviceSpec:
    """The device with so many bytes less; a processor's memory is the host's."""
    both = card + (ram if device.kind == "cpu" else 0)
    return replace(
        device,
        free_bytes=max(0, device.free_bytes - both),
        # 0 stands for "unknown" in a spec, so one byte is what is left of nothing.
        ram_free_bytes=max(1, device.ram_free_bytes - ram) if device.ram_free_bytes else 0,
    )
