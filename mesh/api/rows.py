"""Answers as rows: devices, jobs and the fleet at a glance, JSON-ready."""

from collections.abc import Mapping

import msgspec

from mathcore.units import DAY_MS
from mesh.api.wire.claims import MAX_MS, Standing
from mesh.state.answers import bills, held_jobs, job_counts
from mesh.state.billing import Bill
from mesh.state.fleet import AUTHOR_HEX, DeviceView
from mesh.state.jobs import (
    CANCELLING,
    DISPATCHED,
    PAUSED,
    PENDING,
    QUEUED,
    RUNNING,
    SUCCEEDED,
    JobView,
)
from mesh.state.members import RUNNER, allowed
from mesh.state.peer_id import peer_id
from mesh.state.state import State

Row = dict[str, object]
AT_WORK = frozenset({RUNNING, PAUSED, CANCELLING})  # a job in one of these has begun


def device_rows(state: State, now: int) -> list[Row]:
    """One row per device, by name, each with the age of what it says."""
    devices = sorted(state.devices.values(), key=lambda d: (d.name, d.device_id))
    busy = {k: j.job_id for j in held_jobs(state).values() if j.started_ms for k in j.devices}
    rows = []
    for device in devices:
        row = _device_row(device, busy.get(device.device_id), now)
        row["peer"] = peer_name(state, device.owner)
        row |= _use(state, device, now, row["state"])
        rows.append(row if is_ours(state, device) else row | {"state": "peer removed"})
    return rows


def _use(state: State, device: DeviceView, now: int, shown: object) -> Row:
    """Whether its owner drained it, and for whom it is reserved, as far as there is any of that."""
    drained = state.drained(device.device_id)
    held = reservation_rows(state, device.device_id, now)
    row: Row = ({"drained": drained} if drained else {}) | ({"reservations": held} if held else {})
    if drained:
        row["state"] = "draining" if shown == "busy" else "drained"
    elif shown != "busy" and any(
        one.from_ms <= now for one in state.reserved(device.device_id, now)
    ):
        row["state"] = "reserved"
    return row


def reservation_rows(state: State, device_id: str, now: int) -> list[Row]:
    """A device's reservations that are not over, the first to begin first."""
    return [
        {
            "reservation_id": one.reservation_id,
            "by": one.by,
            "peer": peer_name(state, one.by),
            "from_ms": one.from_ms,
            "until_ms": one.until_ms,
        }
        for one in state.reserved(device_id, now)
    ]


def is_ours(state: State, device: DeviceView) -> bool:
    """Whether the peer that described a device still belongs to the fleet and may own devices."""
    return allowed(state.members.role(device.owner), RUNNER)


def peer_name(state: State, author: str) -> str:
    """What a peer is called: its name in the fleet, else the start of its id."""
    known = state.members.name(author)
    return known or (peer_id(author)[:7] if len(author) == AUTHOR_HEX else "")


def _device_row(device: DeviceView, job_id: str | None, now: int) -> Row:
    facts = device.facts
    state = "described" if device.hand_described else "busy" if job_id else "idle"
    return {
        "device_id": device.device_id,
        "name": device.name,
        "kind": facts.kind,
        "model": facts.model,
        "count": facts.count or 1,
        "memory_bytes": facts.memory_bytes,
        "free_bytes": facts.free_bytes,
        "free_basis": facts.free_basis,
        "engines": list(facts.engines),
        "location": facts.location,
        "transport": facts.transport,
        "provider": facts.provider,
        "owner": device.owner,
        "described_by": str(device.payload.get("described_by", "")),
        "state": state,
        "job_id": job_id,
        "age_ms": max(0, now - device.seen_ms),
        "payload": device.payload,
    }


def job_rows(
    state: State, now: int, *, going: int | None = None, ended: int | None = None
) -> list[Row]:
    """One row per job, newest first: `going` of those that have not ended, the ones at work before
    those that wait, and `ended` of the others; None: all of them."""
    jobs = sorted(state.jobs.values(), key=lambda j: (-j.submitted_ms, j.job_id))
    work = sorted((one for one in jobs if not one.ended), key=lambda j: j.status not in AT_WORK)
    shown = {one.job_id for one in (*work[:going], *[one for one in jobs if one.ended][:ended])}
    held = held_jobs(state)
    return [_job_row(state, job, now, held) for job in jobs if job.job_id in shown]


def job_row(state: State, job: JobView, now: int = 0) -> Row:
    """Everything known of one job, JSON-ready; `waiting` says why it has not begun."""
    return _job_row(state, job, now, held_jobs(state))


def with_standing(row: Row, standing: Standing | None) -> Row:
    """The row with why its job waits just now and when it should start, where that is known."""
    if standing is None:
        return row
    said = {"waiting": standing.text} if standing.text else {}
    return {**row, **said, "waiting_code": standing.code, "standing": msgspec.to_builtins(standing)}


def _job_row(state: State, job: JobView, now: int, held: Mapping[str, JobView]) -> Row:
    return _job_fields(job, now) | {
        "devices": [_device_name(state, one) for one in (job.device_id, *job.members) if one],
        "peer": peer_name(state, job.home),
        "waiting": _why_waiting(state, job, held),
        "waiting_code": "",
        "standing": None,
    }


def _device_name(state: State, device_id: str) -> str:
    device = state.devices.get(device_id)
    return device_id if device is None else device.name


def _why_waiting(state: State, job: JobView, held: Mapping[str, JobView]) -> str:
    """What a job that has not begun waits for; "" for every other job."""
    if job.status in (QUEUED, DISPATCHED):
        return _behind(state, job, held)
    if job.status != PENDING:
        return ""
    wanted = job.asked.on or ""
    own = [
        device
        for device in state.devices.values()
        if device.owner == job.home and not device.hand_described
        if wanted in ("", device.device_id, device.name)
    ]
    by_device = {device: one.job_id for one in held.values() for device in one.devices}
    busy = [
        f"{one.name}, held by {by_device[one.device_id]}"
        for one in own
        if one.device_id in by_device
    ]
    if not own:
        return f"no device of {peer_name(state, job.home) or 'its peer'} can take it"
    return f"waiting for {' or '.join(busy)}" if busy else "about to be placed"


def _behind(state: State, job: JobView, held: Mapping[str, JobView]) -> str:
    """Which job has a device in whose line this one stands; "" where none has."""
    for device_id in job.devices:
        device = state.devices.get(device_id)
        for one in held.values():
            if device is not None and device_id in one.devices and one.status in AT_WORK:
                return f"waiting for {device.name}, held by {one.job_id}"
    return ""


def _job_fields(job: JobView, now: int) -> Row:
    fields = (
        "job_id kind label status device_id model submitted_ms dispatched_ms started_ms ended_ms "
        "plan reason text tokens_generated prompt_tokens throughput_mtps prefill_mtps duration_ms "
        "cost_nusd peak_memory_bytes exit_code engine_memory batch home"
    ).split()
    row: Row = {name: getattr(job, name) for name in fields}
    row["command"] = list(job.command)
    row["key_id"] = job.asked.key_id
    row |= {"expected": _expected(job)} | _deadline(job, now)
    row["members"] = list(job.members)
    if job.started_ms and not job.ended and now:
        row["duration_ms"] = max(0, now - job.started_ms)
    return row


def _expected(job: JobView) -> Row | None:
    """When it should have started and ended, as instants: what its owner offered."""
    said = job.expected
    if said is None:
        return None
    ends = {"end_p50_ms": said.end_p50_ms, "end_p90_ms": said.end_p90_ms}
    after = {"start_p50_ms": said.start_p50_ms, "start_p90_ms": said.start_p90_ms, **ends}
    known = {k: ms for k, ms in after.items() if ms is not None and 0 <= ms <= MAX_MS}
    instants = {k: job.dispatched_ms + known[k] if k in known else None for k in after}
    return {**instants, "p_ppm": said.p_ppm}


def _deadline(job: JobView, now: int) -> Row:
    """Until when it should have ended, and whether it did; None: no deadline, or not known yet."""
    due = job.due_ms
    if due is None:
        return {"deadline_ms": None, "deadline_met": None}
    met = job.status == SUCCEEDED and job.ended_ms <= due
    return {"deadline_ms": due, "deadline_met": met if job.ended or now > due else None}


def billed(state: State) -> list[Bill]:
    """The bills of jobs that reached a device; the others cost nothing, and nobody."""
    return [one for one in bills(state) if one.device_id or one.cost_nusd]


def status_dict(
    state: State, now: int, peer_id: str = "", *, daemon: bool = False, running: bool = True
) -> Row:
    """The fleet at a glance; its jobs that have not ended are counted only, unless `running`."""
    today = now // DAY_MS
    spent = billed(state)
    return {
        "peer_id": peer_id,
        "daemon": daemon,
        "devices": device_rows(state, now),
        "jobs": job_counts(state),
        "running": job_rows(state, now, ended=0) if running else [],
        "cost_today_nusd": sum(b.cost_nusd for b in spent if b.ended_ms // DAY_MS == today),
        "cost_total_nusd": sum(b.cost_nusd for b in spent),
        "events": state.event_count,
        "last_event_ms": state.last_ms,
    }
