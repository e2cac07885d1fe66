"""The ledger read for people and programs: states, rows and plans, with the daemon up or down."""

import sys
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from mathcore.answer import Plan
from mathcore.device import DeviceSpec
from mathcore.fleet import Query
from mathcore.planner import plan
from mathcore.render import plan_dict
from mathcore.units import DAY_MS
from mesh.edge.identity import fleet_root, peer_id
from mesh.edge.store import Reader
from mesh.edge.store_reader import Shelf
from mesh.errors import RequestError
from mesh.hardware_requests import parse_fleet, parse_what_ifs
from mesh.requests import PlanRequest, limits_of, parse_plan
from mesh.state.checkpoint import unpack
from mesh.state.fleet import AUTHOR_HEX, DeviceView, spec
from mesh.state.fold import KEEP_ENDED, State, apply, bills, fold_ordered, job_counts
from mesh.state.jobs import ENDED, JobView
from mesh.state.learned import learned_from
from mesh.state.leases import with_leases
from mesh.state.members import RUNNER, Members, allowed

if TYPE_CHECKING:
    from providers.models import Source

Row = dict[str, object]

# Generating this many tokens answers an ordinary chat turn; used when --tokens is not given.
DEFAULT_TOKENS = 256
DEFAULT_PROMPT_TOKENS = 512


def load_state(home: Path, every_job: bool = False) -> State:
    """The folded ledger of `home`, read without a daemon; StoreError where there is none.

    `every_job` keeps the oldest ended jobs whole too, which takes as long as the ledger is.
    """
    with closing(Reader.open(home)) as reader:
        return whole_fold(reader, sys.maxsize) if every_job else current_state(reader)


def current_state(shelf: Shelf) -> State:
    """The state of an open ledger: its snapshot and what came after, else every event."""
    found = shelf.get_checkpoint()
    state = None if found is None else unpack(found[1])
    if found is not None and state is not None and state.members.root == fleet_root(shelf.home):
        for _, event in shelf.events(found[0]):
            apply(state, event)
        if not state.stale:
            return state
    return whole_fold(shelf)


def whole_fold(shelf: Shelf, keep_ended: int = KEEP_ENDED, known: Members | None = None) -> State:
    """Every event folded; a second time where the first pass learned who belongs to the fleet.

    `known` are members learned before: with all of them one pass is enough.
    """
    root = fleet_root(shelf.home)
    members = known.anew(root) if known else Members(root=root)
    state = fold_ordered(shelf.ordered(), keep_ended, members)
    if not state.stale:
        return state
    return fold_ordered(shelf.ordered(), keep_ended, state.members.anew())


def device_rows(state: State, now: int) -> list[Row]:
    """One row per device, by name, each with the age of what it says."""
    devices = sorted(state.devices.values(), key=lambda d: (d.name, d.device_id))
    busy = {j.device_id: j.job_id for j in state.jobs.values() if j.started_ms and not j.ended}
    return [
        _device_row(device, busy.get(device.device_id), now)
        | {"peer": peer_name(state, device.owner)}
        | ({} if is_ours(state, device) else {"state": "peer removed"})
        for device in devices
    ]


def is_ours(state: State, device: DeviceView) -> bool:
    """Whether the peer that described a device still belongs to the fleet and may own devices."""
    return allowed(state.members.role(device.owner), RUNNER)


def peer_name(state: State, author: str) -> str:
    """What a peer is called: its name in the fleet, else the start of its id."""
    known = state.members.names.get(author)
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


def job_rows(state: State, now: int, every: bool = True) -> list[Row]:
    """One row per job, newest first; only the unended ones unless `every`."""
    jobs = sorted(state.jobs.values(), key=lambda j: (-j.submitted_ms, j.job_id))
    return [
        job_dict(job, now) | {"peer": peer_name(state, job.home)}
        for job in jobs
        if every or job.status not in ENDED
    ]


def job_dict(job: JobView, now: int = 0) -> Row:
    """Everything known of one job, JSON-ready."""
    fields = (
        "job_id kind status device_id model submitted_ms dispatched_ms started_ms ended_ms plan "
        "reason text tokens_generated prompt_tokens throughput_mtps prefill_mtps duration_ms "
        "cost_nusd peak_memory_bytes exit_code engine_memory batch home"
    ).split()
    row: Row = {name: getattr(job, name) for name in fields}
    row["command"] = list(job.command)
    if job.started_ms and not job.ended and now:
        row["duration_ms"] = max(0, now - job.started_ms)
    return row


def status_dict(state: State, now: int, peer_id: str = "", daemon: bool = False) -> Row:
    """The fleet at a glance."""
    today = now // DAY_MS
    billed = list(bills(state))
    return {
        "peer_id": peer_id,
        "daemon": daemon,
        "devices": device_rows(state, now),
        "jobs": job_counts(state),
        "running": [job_dict(job, now) for job in state.jobs.values() if not job.ended],
        "cost_today_nusd": sum(b.cost_nusd for b in billed if b.ended_ms // DAY_MS == today),
        "cost_total_nusd": sum(b.cost_nusd for b in billed),
        "events": state.event_count,
        "last_event_ms": state.last_ms,
    }


def plan_query(
    state: State, given: Mapping[str, object], live: Sequence[DeviceSpec] = (), now: int = 0
) -> Row:
    """The plan's JSON for a query over every device in `state`; bad queries raise RequestError."""
    return plan_dict(make_plan(state, parse_plan(given), live, now))


def make_plan(
    state: State, request: PlanRequest, live: Sequence[DeviceSpec] = (), now: int = 0
) -> Plan:
    """The plan over the ledger's devices; a reading in `live` replaces the one with its id.

    What jobs were promised and had not taken when memory was read is not free.
    """
    devices = what_ifs(request.what_if) | described(request.fleet)
    if not devices:
        # A copy of the list first: the owner loop may fold an event while a thread plans.
        seen = [view for view in list(state.devices.values()) if is_ours(state, view)]
        devices = {view.device_id: spec(view) for view in seen}
        devices.update({device.device_id: device for device in live})
        known_device(state, request.on)
        at = now or state.last_ms
        read_ms = {view.device_id: view.seen_ms for view in seen} | {d.device_id: at for d in live}
        devices = with_leases(state.jobs, with_waits(state, devices, now), read_ms)
    return plan(query_of(request), list(devices.values()), learned_from(state))


def with_waits(state: State, devices: dict[str, DeviceSpec], now: int) -> dict[str, DeviceSpec]:
    """Each device with the time until the job that holds it should end; `now` 0: nobody waits."""
    out = dict(devices)
    for job in state.jobs.values():
        device = out.get(job.device_id)
        since = job.started_ms or job.dispatched_ms
        if now and device is not None and since and not job.ended:
            left = max(0, since + job.predicted.duration_ms.p50 - now)
            out[job.device_id] = replace(device, wait_ms=max(device.wait_ms, left))
    return out


def what_ifs(names: Sequence[str]) -> dict[str, DeviceSpec]:
    """The devices a what-if names, as if they stood here empty."""
    return _as_devices(parse_what_ifs(names))


def described(entries: Sequence[Mapping[str, object]]) -> dict[str, DeviceSpec]:
    """The devices a question brings along, as if they stood here empty."""
    return _as_devices(parse_fleet(entries))


def _as_devices(payloads: Mapping[str, Mapping[str, object]]) -> dict[str, DeviceSpec]:
    found: dict[str, DeviceSpec] = {}
    for device_id, given in payloads.items():
        name, payload = str(given["name"]), dict(given)
        view = DeviceView(device_id=device_id, name=name, owner="", seen_ms=0, payload=payload)
        found[device_id] = spec(view)
    return found


def query_of(request: PlanRequest) -> Query:
    """The planner's question for a checked request; an unreadable model raises RequestError."""
    source = source_of(request.model)
    prompt, tokens = lengths(request.prompt_tokens, request.tokens, request.context)
    return Query(
        model=source.spec,
        model_ref=request.model,
        quant=request.quant,
        kv_type=request.kv_type,
        batch=request.batch,
        context=request.context,
        prompt_tokens=prompt,
        tokens=tokens,
        engine=request.engine,
        limits=limits_of(request),
        objective=request.objective,
        on=request.on,
        sets=request.sets,
    )


def lengths(prompt: int | None, tokens: int | None, context: int) -> tuple[int, int]:
    """(prompt, answer) in tokens: what was asked for, else the usual as far as there is room."""
    answer = tokens or min(DEFAULT_TOKENS, max(1, context - 1))
    return min(prompt or DEFAULT_PROMPT_TOKENS, max(1, context - answer)), answer


def known_device(state: State, wanted: str | None) -> None:
    """RequestError unless `wanted` is the id or name of a device, or None."""
    names = {d.name for d in state.devices.values()} | set(state.devices)
    if wanted is not None and wanted not in names:
        raise RequestError(
            "NotFound", f"no device is called {wanted!r}", "fleet devices lists them", 404
        )


def source_of(model: str) -> "Source":
    """The model a reference names; one that can't be read raises RequestError."""
    from providers.base import ModelError
    from providers.models import resolve

    try:
        return resolve(model)
    except ModelError as error:
        raise RequestError("UnknownModel", error.text, error.hint, 404) from error


def with_free(device: DeviceSpec, free_bytes: int, ram_free_bytes: int) -> DeviceSpec:
    """The same device with a fresh reading of its free memory and its host's."""
    return replace(
        device, free_bytes=free_bytes, free_basis="measured", ram_free_bytes=ram_free_bytes
    )
