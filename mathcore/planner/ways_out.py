"""What would do where nothing does: the nearest changes to a question, each one planned.

A change is named only when its plan has a placement within all limits. At most a few are, the
smallest change first: another device or engine of those at hand, a smaller type, RAM beside a card,
a shorter context, fewer sequences, other hardware.
"""

from dataclasses import replace
from typing import Final, final

from mathcore.device import DeviceSpec
from mathcore.engines.llamacpp.offload import ALL_LAYERS
from mathcore.hardware.described import describe
from mathcore.hardware.engines import engines_for
from mathcore.hardware.names import lookup_gpu
from mathcore.planner.answer import Placement, WayKind, WayOut
from mathcore.planner.placing import place
from mathcore.planner.query import Query
from mathcore.planner.refusals import NO_CONTEXT, query_refusal
from mathcore.planner.sets.members import may_combine
from mathcore.price import Rate, hourly_nusd
from mathcore.quant.families import FAMILIES, family_of
from mathcore.quant.ladder import ladder, nats_of, usual_nats
from mathcore.speed.learning import Observation
from mathcore.units import GIB, show_bytes

MAX_WAYS: Final = 4
# Kinds of hardware tried again for each change; the emptiest of a large market.
MAX_KINDS: Final = 48
# Contexts are tried in these steps, and the answer is one a person would type.
CONTEXT_STEP: Final = 1024
# What hosts are sold with, in GiB.
RAM_GIB: Final = (16, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024)
# What a model could be tried on next, the smallest first: common cards and boxes of each size.
HARDWARE: Final = (
    "RTX 3060 12GB",
    "RTX 4060 Ti 16GB",
    "RTX 4090",
    "RTX 5090",
    "RTX A6000",
    "A100 80GB",
    "H200",
    "B200",
    "H200 x2",
    "H200 x4",
    "H200 x8",
    "B200 x8",
)
# Who described a device, of those a question brings along (Rate.source).
DESCRIBED: Final = "what-if"


@final
class Asker:
    """A question nothing answers, asked again with changes."""

    __slots__ = ("devices", "query", "seen")

    def __init__(
        self, query: Query, devices: list[DeviceSpec], seen: dict[str, list[Observation]]
    ) -> None:
        self.query = query
        self.devices = devices
        self.seen = seen

    def best(self, query: Query, devices: list[DeviceSpec] | None = None) -> Placement | None:
        """The best placement of a changed question; None where there is none."""
        tried = self.devices if devices is None else devices
        placements = place(query, tried, self.seen).placements
        return placements[0] if placements else None


def ways_out(
    query: Query, devices: list[DeviceSpec], seen: dict[str, list[Observation]]
) -> tuple[WayOut, ...]:
    """What to change so that something answers `query`, which nothing of `devices` does."""
    fault = query_refusal(query)
    if not devices or (fault is not None and fault[0] != NO_CONTEXT):
        return ()
    if fault is not None:
        found = [_possible_context(Asker(query, _likely(query, devices), seen))]
        return tuple([way for way in found if way is not None])
    asker = Asker(query, _likely(query, devices), seen)
    out: list[WayOut] = []
    for look in (
        _other_device,
        _other_engine,
        _smaller_type,
        _more_ram,
        _shorter_context,
        _smaller_batch,
        _other_hardware,
    ):
        way = look(asker) if len(out) < MAX_WAYS else None
        if way is not None:
            out.append(way)
    return tuple(out)


def _likely(query: Query, devices: list[DeviceSpec]) -> list[DeviceSpec]:
    """Of offers alike in hardware the cheapest, of all the emptiest; a named device always.

    None that takes no work at all: nothing in the question could change that.
    """
    kinds: dict[tuple[object, ...], DeviceSpec] = {}
    owned: list[DeviceSpec] = []
    for device in devices:
        if device.withheld is not None:
            continue
        if may_combine(device) or query.on in (device.device_id, device.name):
            owned.append(device)
            continue
        key = (device.hardware, device.free_bytes, device.ram_free_bytes)
        known = kinds.get(key)
        if known is None or _cheapest(device) < _cheapest(known):
            kinds[key] = device
    owned.sort(key=_emptiest)
    return owned[:MAX_KINDS] + sorted(kinds.values(), key=_emptiest)[:MAX_KINDS]


def _cheapest(device: DeviceSpec) -> tuple[int, str]:
    return (hourly_nusd(device.rate), device.device_id)


def _emptiest(device: DeviceSpec) -> tuple[int, int, str]:
    return (-device.free_bytes * device.count, -device.ram_free_bytes, device.device_id)


def _on(placed: Placement) -> str:
    """As in "RTX 4090: 22.1 GiB of 23.5 GiB, quality 0.964"."""
    size = f"{show_bytes(placed.footprint.total_bytes)} of {show_bytes(placed.free_bytes)}"
    text = f"{placed.name}: {size}"
    if placed.footprint.host_bytes > 0 and placed.layout.gpu_layers != ALL_LAYERS:
        text += f", {show_bytes(placed.footprint.host_bytes)} in RAM"
    return f"{text}, quality {placed.quality:.3f}"


def _way(kind: WayKind, text: str, *options: str) -> WayOut:
    return WayOut(kind=kind, text=text, options=options)


def _other_device(asker: Asker) -> WayOut | None:
    """Where one device was named: another one of those there are."""
    query = asker.query
    if query.on is None:
        return None
    placed = asker.best(replace(query, on=None, sets=False))
    if placed is None:
        return None
    text = f"{placed.quant} fits another device, {_on(placed)}"
    return _way("device", text, "--on", placed.device_id)


def _other_engine(asker: Asker) -> WayOut | None:
    """Where an engine was named: another one there."""
    query = asker.query
    if query.engine is None:
        return None
    placed = asker.best(replace(query, engine=None))
    if placed is None:
        return None
    text = f"{placed.engine} runs {placed.quant} on {_on(placed)}"
    return _way("engine", text, "--engine", placed.engine)


def _types(query: Query) -> list[str]:
    """Types not tried yet, each worse than all that were, the best first."""
    spec, named = query.model, query.quant
    engines = [query.engine] if query.engine else list(FAMILIES)
    if named is not None:
        engines = [engine for engine in engines if FAMILIES[engine] == family_of(named)]
    tried = nats_of(spec, named) if named is not None else usual_nats(spec)
    found = {quant for engine in engines for quant in ladder(spec, engine)}
    worse = [(nats_of(spec, quant), quant) for quant in found if nats_of(spec, quant) > tried]
    return [quant for _, quant in sorted(worse)]


def _smaller_type(asker: Asker) -> WayOut | None:
    """The best of the types that are smaller than those tried."""
    query = asker.query
    if query.model.quant:  # a file holds what it holds
        return None
    for quant in _types(query):
        placed = asker.best(replace(query, quant=quant))
        if placed is not None:
            return _way("quant", f"{quant} fits {_on(placed)}", "--quant", quant)
    return None


def _more_ram(asker: Asker) -> WayOut | None:
    """Where a card's host says nothing of its RAM: the least that would do."""
    query = asker.query
    silent = [device for device in asker.devices if _may_have_ram(device)]
    if not silent:
        return None
    low, high = -1, len(RAM_GIB) - 1  # `low` does not do, `high` does
    found = asker.best(query, _with_ram(silent, RAM_GIB[high]))
    if found is None:
        return None
    while high - low > 1:
        middle = (low + high) // 2
        placed = asker.best(query, _with_ram(silent, RAM_GIB[middle]))
        if placed is None:
            low = middle
        else:
            high, found = middle, placed
    text = f"with {RAM_GIB[high]} GiB of RAM in the host, {found.quant} fits {_on(found)}"
    return _way("offload", text, "--ram", f"{RAM_GIB[high]}GB")


def _may_have_ram(device: DeviceSpec) -> bool:
    """Whether `--ram` says something of it: a card described for this question, without RAM."""
    if device.kind != "gpu" or device.ram_free_bytes > 0 or device.rate.source != DESCRIBED:
        return False
    facts = lookup_gpu(device.model)
    return facts is None or facts.memory_kind != "unified"


def _with_ram(devices: list[DeviceSpec], gib: int) -> list[DeviceSpec]:
    return [replace(device, ram_free_bytes=gib * GIB) for device in devices]


def _shorter_context(asker: Asker) -> WayOut | None:
    """The longest context that fits and holds the prompt and the answer."""
    query = asker.query
    need = query.prompt_tokens + query.tokens
    low, high = -(-need // CONTEXT_STEP), -(-query.context // CONTEXT_STEP)
    if low * CONTEXT_STEP >= query.context:
        return None
    found = asker.best(replace(query, context=low * CONTEXT_STEP))
    if found is None:
        return None
    while high - low > 1:
        middle = (low + high) // 2
        placed = asker.best(replace(query, context=middle * CONTEXT_STEP))
        if placed is None:
            high = middle
        else:
            low, found = middle, placed
    context = low * CONTEXT_STEP
    text = f"a context of {context} fits with {found.quant} on {_on(found)}"
    return _way("context", text, "--context", str(context))


def _possible_context(asker: Asker) -> WayOut | None:
    """A context that holds prompt and answer, within what the model was trained for."""
    query = asker.query
    need = query.prompt_tokens + query.tokens
    trained = query.model.longest or query.context
    context = min(max(need, query.context), max(trained, need))
    placed = asker.best(replace(query, context=context)) if context != query.context else None
    if placed is None:
        return None
    text = f"a context of {context} fits with {placed.quant} on {_on(placed)}"
    return _way("context", text, "--context", str(context))


def _smaller_batch(asker: Asker) -> WayOut | None:
    """The most sequences at once that fit."""
    query = asker.query
    found = asker.best(replace(query, batch=1)) if query.batch > 1 else None
    if found is None:
        return None
    low, high = 1, query.batch
    while high - low > 1:
        middle = (low + high) // 2
        placed = asker.best(replace(query, batch=middle))
        if placed is None:
            high = middle
        else:
            low, found = middle, placed
    what = "one sequence at a time fits" if low == 1 else f"{low} sequences at once fit"
    return _way("batch", f"{what} with {found.quant} on {_on(found)}", "--batch", str(low))


def _other_hardware(asker: Asker) -> WayOut | None:
    """The smallest common hardware that would do, as `--what-if` reads its name."""
    query = asker.query
    if query.on is not None:  # other hardware is not what was asked about
        return None
    for name in HARDWARE:
        placed = asker.best(query, [_described(name)])
        if placed is not None:
            text = f"{placed.quant} fits a host with {_on(placed)}"
            return _way("device", text, "--what-if", name)
    return None


def _described(name: str) -> DeviceSpec:
    """The hardware of this name, standing empty, as a question's what-if has it."""
    what = describe(name)
    return DeviceSpec(
        device_id=name,
        name=name,
        kind=what.kind,
        model=what.name,
        count=what.count,
        memory_bytes=what.memory_bytes,
        free_bytes=what.free_bytes,
        free_low_bytes=what.free_low_bytes,
        free_basis="estimated",
        bandwidth_bytes_per_s=what.bandwidth_bytes_per_s,
        bandwidth_basis=what.bandwidth_basis,
        flops=what.facts.flops if what.facts else 0,
        watts=what.facts.watts if what.facts else 0,
        engines=engines_for(what.facts, what.kind),
        location="lan",
        provider="what-if",
        ram_free_bytes=0,
        ram_bandwidth_bytes_per_s=0,
        rate=Rate(source=DESCRIBED),
    )
