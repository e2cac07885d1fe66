"""Questions to the planner: the ledger's devices, or described ones, and the model asked about."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from mathcore.device import DeviceSpec
from mathcore.hardware.described import shares_memory
from mathcore.planner.answer import Plan
from mathcore.planner.plan import plan, without_ways_out
from mathcore.planner.query import Query
from mathcore.planner.refusals import DRAINED, RESERVED, Refusal, refuse
from mathcore.planner.render import plan_dict
from mathcore.units import GIB, show_bytes
from mesh.api.engine_flags import knowing, named_flags, options_of
from mesh.api.errors import RequestError
from mesh.api.fields import refuse as refuse_field
from mesh.api.flags import flags_of
from mesh.api.requests import PlanRequest, lengths, limits_of, parse_plan
from mesh.api.rows import Row, is_ours, peer_name
from mesh.api.what_ifs import parse_fleet, parse_what_ifs
from mesh.edge.beside import beside_of
from mesh.edge.clouds.prices.planning import with_cloud
from mesh.state.answers import held_jobs
from mesh.state.bills.in_force import InForce
from mesh.state.fleet import DeviceView, spec
from mesh.state.learning.learned import learned_from
from mesh.state.leases import with_leases
from mesh.state.market.quotes import Quote
from mesh.state.state import State

if TYPE_CHECKING:
    from providers.sources.resolve import Source

# What desktops with a card for models are mostly sold with; hosts of larger cards have as much RAM
# as all their cards have memory, at least.
USUAL_RAM_BYTES = 32 * GIB
Quotes = Callable[[], tuple[Quote, ...]]


def plan_query(
    state: State,
    given: Mapping[str, object],
    live: Sequence[DeviceSpec] = (),
    now: int = 0,
    *,
    me: str = "",
    quotes: Quotes = tuple,
) -> Row:
    """The plan's JSON for a query over every device in `state`; bad queries raise RequestError.

    `quotes` knows the machines to rent, for a question that wants those, too.
    """
    request = parse_plan(given)
    found = make_plan(state, request, live, now, me=me)
    if request.cloud:
        return with_cloud(found, quotes(), now or state.last_ms)
    return plan_dict(found)


def make_plan(
    state: State,
    request: PlanRequest,
    live: Sequence[DeviceSpec] = (),
    now: int = 0,
    *,
    me: str = "",
    groups: tuple[tuple[str, ...], ...] | None = None,
) -> Plan:
    """The plan over the ledger's devices; a reading in `live` replaces the one with its id.

    A drained device is refused, and one that is reserved now for another than the key `me`. Sets
    are made of the devices of one of `groups`; None: of any.

    What jobs were promised and had not taken when memory was read is not free.
    """
    ram, rate = request.ram, request.rate
    payloads = parse_what_ifs(request.what_if, ram, rate) | parse_fleet(request.fleet, ram, rate)
    devices, (query, counted) = _as_devices(payloads), query_of(request)
    devices, assumed = as_told(query, devices)
    notes = (*said_of(payloads), *counted, *_others_plain(request), *assumed)
    closed: list[Refusal] = []
    if not devices:
        # A copy of the list first: the owner loop may fold an event while a thread plans.
        seen = [view for view in list(state.devices.values()) if is_ours(state, view)]
        devices = {view.device_id: spec(view) for view in seen}
        devices.update({device.device_id: device for device in live})
        known_device(state, request.on)
        at = now or state.last_ms
        devices = priced(state, devices, at)
        read_ms = {view.device_id: view.seen_ms for view in seen} | {d.device_id: at for d in live}
        closed = closed_devices(state, devices, at, me)
        devices = with_leases(held_jobs(state), with_waits(state, devices, now), read_ms)
        devices = without(devices, closed)
    query = replace(query, groups=groups)
    answer_to = plan if request.ways_out else without_ways_out
    answer = answer_to(query, list(devices.values()), learned_from(state))
    asked = [one for one in closed if request.on in (None, one.device_id, one.name)]
    return replace(
        answer,
        notes=(*notes, *answer.notes),
        refusals=(*answer.refusals, *asked),
        not_asked=answer.not_asked + len(closed) - len(asked),
    )


def priced(state: State, devices: Mapping[str, DeviceSpec], at_ms: int) -> dict[str, DeviceSpec]:
    """The devices as they are paid for at a moment, where their owners said more of that than they
    registered."""
    found, now = dict(devices), InForce(state, at_ms)
    for device_id in now.devices():
        view, known = state.devices.get(device_id), found.get(device_id)
        if view is not None and known is not None:
            found[device_id] = replace(known, rate=now.price(view))
    return found


def closed_devices(
    state: State, devices: Mapping[str, DeviceSpec], now: int, me: str
) -> list[Refusal]:
    """Devices whose owner lets nobody's jobs start there now, or only another's than `me`."""
    found: list[Refusal] = []
    for device_id, device in devices.items():
        why = state.drained(device_id)
        if why:
            text = f"drained ({why}): fleet resume {device.name}"
            found.append(refuse(device, DRAINED, text))
            continue
        held = state.reserved(device_id, now)
        other = [one for one in held if one.from_ms <= now and one.by != me]
        if other:
            who = peer_name(state, other[0].by) or other[0].by[:8]
            text = f"reserved for {who} for another {_minutes(other[0].until_ms - now)}"
            found.append(refuse(device, RESERVED, text))
    return found


def _minutes(ms: int) -> str:
    minutes = -(-ms // 60_000)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60:02} min"


def without(devices: Mapping[str, DeviceSpec], closed: Sequence[Refusal]) -> dict[str, DeviceSpec]:
    """The devices that are not refused already."""
    gone = {one.device_id for one in closed}
    return {key: device for key, device in devices.items() if key not in gone}


def as_told(
    query: Query, devices: Mapping[str, DeviceSpec]
) -> tuple[dict[str, DeviceSpec], tuple[str, ...]]:
    """Described hardware as flags of places use it, and what was assumed or left out for that."""
    out, notes = dict(devices), tuple[str, ...]()
    if query.flags.uses_host:
        out, notes = with_usual_ram(devices)
    if query.flags.places:
        notes += tuple(
            f"{device.name}: is no graphics card with a host beside it, so llama.cpp's options of "
            "places were not planned"
            for device in devices.values()
            if device.kind != "gpu"
        )
    return out, notes


def said_of(payloads: Mapping[str, Mapping[str, object]]) -> tuple[str, ...]:
    """What a person should know of how their hardware was read, with whose it is."""
    found: list[str] = []
    for payload in payloads.values():
        said = payload.get("notes")
        if isinstance(said, list):
            found += [f"{payload['name']}: {note}" for note in said]
    return tuple(found)


def with_usual_ram(
    devices: Mapping[str, DeviceSpec],
) -> tuple[dict[str, DeviceSpec], tuple[str, ...]]:
    """Described cards with the RAM such hosts usually have where nobody said, and that it is so."""
    out, notes = dict(devices), list[str]()
    for key, device in devices.items():
        if device.ram_free_bytes > 0 or device.kind != "gpu" or shares_memory(device.model):
            continue
        usual = max(USUAL_RAM_BYTES, device.memory_bytes * device.count)
        out[key] = replace(device, ram_free_bytes=usual)
        notes.append(
            f"{device.name}: its host has {show_bytes(usual)} of RAM, as assumed: say --ram"
        )
    return out, tuple(notes)


def with_waits(state: State, devices: dict[str, DeviceSpec], now: int) -> dict[str, DeviceSpec]:
    """Each device with the time until the job that holds it should end; `now` 0: nobody waits."""
    out = dict(devices)
    for job in held_jobs(state).values():
        since = job.started_ms or job.dispatched_ms
        if not now or not since:
            continue
        left = max(0, since + job.predicted.duration_ms.p50 - now)
        for device_id in job.devices:
            device = out.get(device_id)
            if device is not None:
                out[device_id] = replace(device, wait_ms=max(device.wait_ms, left))
    return out


def what_ifs(
    names: Sequence[str], ram: str | None = None, rate: str | None = None
) -> dict[str, DeviceSpec]:
    """The devices a what-if names, as if they stood here empty."""
    return _as_devices(parse_what_ifs(names, ram, rate))


def described(
    entries: Sequence[Mapping[str, object]], ram: str | None = None, rate: str | None = None
) -> dict[str, DeviceSpec]:
    """The devices a question brings along, as if they stood here empty."""
    return _as_devices(parse_fleet(entries, ram, rate))


def _as_devices(payloads: Mapping[str, Mapping[str, object]]) -> dict[str, DeviceSpec]:
    found: dict[str, DeviceSpec] = {}
    for device_id, given in payloads.items():
        name, payload = str(given["name"]), dict(given)
        view = DeviceView(device_id=device_id, name=name, owner="", seen_ms=0, payload=payload)
        found[device_id] = spec(view)
    return found


def query_of(request: PlanRequest) -> tuple[Query, tuple[str, ...]]:
    """(the planner's question for a checked request, what is counted or left out in it).

    An unreadable model raises RequestError.
    """
    spec, told = source_of(request.model).spec, flags_of(request)
    prompt, tokens = lengths(request.prompt_tokens, request.tokens, request.context)
    beside, draft, notes = beside_of(request, spec)
    query = Query(
        model=spec,
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
        # Several devices together are laid out by us, not by flags of one llama.cpp.
        sets=request.sets and not told.places,
        allow_beyond=request.allow_beyond,
        flags=told,
        options=options_of(request),
        beside=beside,
        draft=draft,
    )
    return query, notes


def _others_plain(request: PlanRequest) -> tuple[str, ...]:
    """That a flag of some engines leaves the others as they are, where several are planned."""
    if request.engine is not None or not (engines := knowing(request)):
        return ()
    flags = ", ".join(named_flags(request))
    return (f"{flags}: of {', '.join(engines)}; other engines are planned as they start",)


def asked_devices(
    state: Callable[[], State],
    request: PlanRequest,
    named: Sequence[str],
    engines: Sequence[str],
    live: Sequence[DeviceSpec] = (),
    now: int = 0,
) -> tuple[list[DeviceSpec], tuple[str, ...]]:
    """Hardware the request describes, then the ledger's devices with one of `engines`, or those
    named, at their prices of `now`; and what a person should know of how theirs was read.

    The ledger is only read where it is asked about. A device is of one kind of card here.
    """
    for name in request.what_if:
        if " + " in name:
            refuse_field(
                f"what-if {name!r}: only one kind of card here", "fleet plan takes several"
            )
    ram, rate = request.ram, request.rate
    payloads = parse_what_ifs(request.what_if, ram, rate) | parse_fleet(request.fleet, ram, rate)
    found = list(_as_devices(payloads).values())
    if named or not found:
        known = state()
        those = _registered(known, named, engines, live)
        prices = priced(known, {one.device_id: one for one in those}, now or known.last_ms)
        found += prices.values()
    if not found:
        text = f"no device here runs {' or '.join(engines)}"
        raise RequestError("NoDevice", text, '--what-if "RTX 5090"', 404)
    return found, said_of(payloads)


def _registered(
    state: State, named: Sequence[str], engines: Sequence[str], live: Sequence[DeviceSpec]
) -> list[DeviceSpec]:
    """The ledger's devices by name, each with the reading in `live` that has its id."""
    for name in named:
        known_device(state, name)
    read = {device.device_id: device for device in live}
    views = sorted(list(state.devices.values()), key=lambda view: view.name)
    devices = [
        read.get(view.device_id) or spec(view)
        for view in views
        if not named or view.name in named or view.device_id in named
    ]
    return [device for device in devices if named or set(engines) & set(device.engines)]


def known_device(state: State, wanted: str | None) -> None:
    """RequestError unless `wanted` is the id or name of a device, or None."""
    names = {d.name for d in state.devices.values()} | set(state.devices)
    if wanted is not None and wanted not in names:
        raise RequestError(
            "NotFound", f"no device is called {wanted!r}", "fleet devices lists them", 404
        )


def source_of(model: str) -> "Source":
    """The model a reference names; one that can't be read raises RequestError."""
    from providers.base import ModelError, UnreadableModel
    from providers.sources.resolve import resolve

    try:
        return resolve(model)
    except UnreadableModel as error:
        raise RequestError("UnreadableModel", error.text, error.hint, 422) from error
    except ModelError as error:
        raise RequestError("UnknownModel", error.text, error.hint, 404) from error


def with_free(device: DeviceSpec, free_bytes: int, ram_free_bytes: int) -> DeviceSpec:
    """The same device with a fresh reading of its free memory and its host's."""
    return replace(
        device,
        free_bytes=free_bytes,
        free_low_bytes=0,
        free_basis="measured",
        ram_free_bytes=ram_free_bytes,
    )
