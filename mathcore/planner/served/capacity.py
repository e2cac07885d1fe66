"""What a device can do with a model under a server engine, at most: users, context, cards."""

from dataclasses import dataclass
from typing import final

from mathcore.device import DeviceSpec
from mathcore.engines.options import build_of
from mathcore.model.spec import SpecError
from mathcore.planner.capacity import check
from mathcore.planner.query import Query
from mathcore.planner.served.starts import Figures, Served, candidates, served, start_fault
from mathcore.quant.families import CACHE_TYPES, FAMILIES, LADDERS
from mathcore.quant.quality import quality_of
from mathcore.quant.weights import Weights, quant_fault, weigh

SIXTEEN_BITS = "bf16"  # the cache type of a question that names none


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class ServedCapacity:
    """The most of each kind at `quant`; 0 or "" where nothing fits.

    `context` is of each of the `batch` requests asked about, `sequences` are requests of the
    context asked about at once, as many as the engine serves.
    """

    device: DeviceSpec
    engine: str
    build: str
    quant: str
    best_quant: str
    quality: float  # at `quant`: 1 = the 16-bit model
    context: int
    sequences: int
    cards: int
    stages: int
    need_bytes: int  # of a card, for the batch and context asked about
    usable_bytes: int  # of a card
    log: Figures  # what its log prints when started with the context asked about


def _starts(query: Query, device: DeviceSpec, weights: Weights) -> list[Served]:
    """Every split over the device's cards that the engine can keep the cache of."""
    out: list[Served] = []
    engine = query.engine or ""
    for split in candidates(query.model, engine, query.options, device.count):
        found = served(
            query.model,
            weights,
            device,
            engine,
            query.options,
            query.context,
            query.kv_type or SIXTEEN_BITS,
            split,
            query.beside.weights_bytes,
        )
        if found is not None:
            out.append(found)
    return out


def _holds(found: Served, batch: int) -> bool:
    return found.sequences() >= batch and found.need(batch).card_bytes <= found.usable_bytes


def _best(query: Query, device: DeviceSpec, weights: Weights) -> Served | None:
    """The start on the most cards that holds the requests asked about; else the roomiest.

    Of a number of cards it is the widest split there is, as one would start it.
    """
    best: Served | None = None
    for found in reversed(_starts(query, device, weights)):
        if _holds(found, query.batch):
            return found
        if best is None or found.sequences() > best.sequences():
            best = found
    return best


def _tried(query: Query) -> tuple[str, ...]:
    own = query.model.quant
    return (own,) if own else LADDERS[FAMILIES[query.engine or ""]]


def best_quant(query: Query, device: DeviceSpec) -> str:
    """The best type whose start holds the requests asked about; "" where none does."""
    spec = query.model
    for quant in _tried(query):
        if not spec.quant and quant_fault(spec, quant, FAMILIES[query.engine or ""]):
            continue
        if any(_holds(found, query.batch) for found in _starts(query, device, weigh(spec, quant))):
            return quant
    return ""


def served_capacity(query: Query, device: DeviceSpec) -> ServedCapacity:
    """Every answer for one device under the query's engine, at its type or the best that fits.

    SpecError names what is wrong: "engine", "quant", "kv_type" or "context".
    """
    spec, engine = query.model, query.engine or ""
    if engine not in device.engines or device.kind != "gpu":
        raise SpecError("engine", f"{device.name} does not run {engine}")
    kv_type, types = query.kv_type or SIXTEEN_BITS, CACHE_TYPES["safetensors"]
    if kv_type not in types:
        raise SpecError("kv_type", f"{engine} has no cache of {kv_type}: {', '.join(types)}")
    check(query)
    best = best_quant(query, device)
    chosen = query.quant or best or spec.quant or _tried(query)[-1]
    found = _best(query, device, weigh(spec, chosen))
    if found is None:
        kept = start_fault(spec, engine, query.options, kv_type, device.count)
        raise SpecError("engine", kept or f"{engine} cannot serve {spec.name} on {device.name}")
    context = found.longest(query.batch)
    return ServedCapacity(
        device=device,
        engine=engine,
        build=build_of(engine, query.options),
        quant=chosen,
        best_quant=best,
        quality=quality_of(chosen),
        context=min(context, query.longest) if query.longest else context,
        sequences=found.sequences(),
        cards=found.cards,
        stages=found.stages,
        need_bytes=found.need(query.batch).card_bytes,
        usable_bytes=found.usable_bytes,
        log=found.figures(),
    )
