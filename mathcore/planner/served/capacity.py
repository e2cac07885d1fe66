"""What a device can do with a model under a server engine, at most: users, context, cards."""

from dataclasses import dataclass
from typing import final

from mathcore.device import DeviceSpec
from mathcore.engines.options import EngineOptions, build_of
from mathcore.model.spec import ModelSpec, SpecError
from mathcore.planner.served.starts import Figures, Served, candidates, served, start_fault
from mathcore.quant.families import FAMILIES, LADDERS
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


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One question: `batch` requests of `context` tokens each."""

    spec: ModelSpec
    engine: str
    options: EngineOptions
    context: int
    batch: int = 1
    kv_type: str = SIXTEEN_BITS


def _starts(asked: Asked, device: DeviceSpec, weights: Weights) -> list[Served]:
    """Every split over the device's cards that the engine can keep the cache of."""
    out: list[Served] = []
    for split in candidates(asked.spec, asked.engine, asked.options, device.count):
        found = served(
            asked.spec,
            weights,
            device,
            asked.engine,
            asked.options,
            asked.context,
            asked.kv_type,
            split,
        )
        if found is not None:
            out.append(found)
    return out


def _holds(found: Served, batch: int) -> bool:
    return found.sequences() >= batch and found.need(batch).card_bytes <= found.usable_bytes


def _best(asked: Asked, device: DeviceSpec, weights: Weights) -> Served | None:
    """The start on the most cards that holds the requests asked about; else the roomiest.

    Of a number of cards it is the widest split there is, as one would start it.
    """
    best: Served | None = None
    for found in reversed(_starts(asked, device, weights)):
        if _holds(found, asked.batch):
            return found
        if best is None or found.sequences() > best.sequences():
            best = found
    return best


def _tried(spec: ModelSpec, engine: str) -> tuple[str, ...]:
    return (spec.quant,) if spec.quant else LADDERS[FAMILIES[engine]]


def best_quant(asked: Asked, device: DeviceSpec) -> str:
    """The best type whose start holds the requests asked about; "" where none does."""
    for quant in _tried(asked.spec, asked.engine):
        if not asked.spec.quant and quant_fault(asked.spec, quant, FAMILIES[asked.engine]):
            continue
        weights = weigh(asked.spec, quant)
        if any(_holds(found, asked.batch) for found in _starts(asked, device, weights)):
            return quant
    return ""


def served_capacity(asked: Asked, device: DeviceSpec, quant: str = "") -> ServedCapacity:
    """Every answer for one device, at `quant` or the best that fits.

    SpecError where the device does not run the engine, or the model cannot be stored or kept so.
    """
    spec, engine = asked.spec, asked.engine
    if engine not in device.engines or device.kind != "gpu":
        raise SpecError("engine", f"{device.name} does not run {engine}")
    best = best_quant(asked, device)
    chosen = quant or best or spec.quant or _tried(spec, engine)[-1]
    fault = "" if spec.quant else quant_fault(spec, chosen, FAMILIES[engine])
    if fault or (spec.quant and chosen != spec.quant):
        raise SpecError("quant", fault or f"the file holds {spec.quant}, not {chosen}")
    found = _best(asked, device, weigh(spec, chosen))
    if found is None:
        kept = start_fault(spec, engine, asked.options, asked.kv_type, device.count)
        raise SpecError("engine", kept or f"{engine} cannot serve {spec.name} on {device.name}")
    trained = spec.context_length
    context = found.longest(asked.batch)
    return ServedCapacity(
        device=device,
        engine=engine,
        build=build_of(engine, asked.options),
        quant=chosen,
        best_quant=best,
        quality=quality_of(chosen),
        context=min(context, trained) if trained else context,
        sequences=found.sequences(),
        cards=found.cards,
        stages=found.stages,
        need_bytes=found.need(asked.batch).card_bytes,
        usable_bytes=found.usable_bytes,
        log=found.figures(),
    )


def smallest(asked: Asked, devices: list[DeviceSpec], quant: str = "") -> DeviceSpec | None:
    """The first of `devices`, the smallest first, that holds the requests asked about."""
    for device in devices:
        if asked.engine not in device.engines or device.kind != "gpu":
            continue
        tried = (quant,) if quant else _tried(asked.spec, asked.engine)
        for name in tried:
            if not asked.spec.quant and quant_fault(asked.spec, name, FAMILIES[asked.engine]):
                continue
            weights = weigh(asked.spec, name)
            if any(_holds(found, asked.batch) for found in _starts(asked, device, weights)):
                return device
    return None
