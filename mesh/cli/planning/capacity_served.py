"""How `fleet capacity` shows server engines: users, contexts, and what the engine's log prints."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mesh.cli.exits import USAGE, stop
from mesh.cli.output import gib
from mesh.cli.planning.engine_log import log_text
from mesh.cli.table import Column, emit, emit_text

if TYPE_CHECKING:
    from mathcore.device import DeviceSpec
    from mathcore.engines.options import EngineOptions
    from mathcore.model.spec import ModelSpec
    from mathcore.planner.served.capacity import ServedCapacity


def engine_options(options: Mapping[str, Any], batch: int, engine: str) -> "EngineOptions":
    """The server engines' flags of a command, checked as a plan's are."""
    from mesh.api.engine_flags import options_of
    from mesh.api.requests import PlanRequest, convert
    from mesh.cli.options import SERVER_FLAGS

    flags = {name: options[name] for name in SERVER_FLAGS if options[name] is not None}
    asked = {"model": "-", "batch": batch, "engine": engine, **flags}
    return options_of(convert(asked, PlanRequest))


def answer(
    spec: "ModelSpec",
    device: "DeviceSpec",
    engine: str,
    options: Mapping[str, Any],
    batch: int,
    context: int,
    kv_type: str,
    quant: str,
) -> "ServedCapacity":
    """The most a device does with the model under a server engine."""
    from mathcore.model.spec import SpecError
    from mathcore.planner.served.capacity import Asked, served_capacity
    from mathcore.quant.families import CACHE_TYPES

    if kv_type not in CACHE_TYPES["safetensors"]:
        known = ", ".join(CACHE_TYPES["safetensors"])
        stop(USAGE, f"kv_type: {engine} has no cache of {kv_type}", f"known are {known}")
    asked = Asked(
        spec=spec,
        engine=engine,
        options=engine_options(options, batch, engine),
        context=context,
        batch=batch,
        kv_type=kv_type,
    )
    try:
        return served_capacity(asked, device, quant)
    except SpecError as error:
        stop(USAGE, f"{error.field}: {error.text}", "fleet capacity --help")


def row(found: "ServedCapacity", batch: int, context: int) -> dict[str, object]:
    """One device's answers; null where there is none."""
    from mathcore.planner.render import log_dict

    device = found.device
    return {
        "device": device.name,
        "engine": found.engine,
        "engine_build": found.build,
        "free_bytes": device.free_bytes,
        "usable_bytes": found.usable_bytes,
        "count": device.count,
        "cards": found.cards,
        "stages": found.stages,
        "quant": found.quant,
        "quality": round(found.quality, 4),
        "best_quant": found.best_quant or None,
        "batch": batch,
        "largest_context": found.context or None,
        "context": context,
        "most_sequences": found.sequences or None,
        "engine_log": log_dict(found.log),
    }


def show(found: "list[ServedCapacity]", batch: int, context: int) -> None:
    """A table of what each device does at most, then the figures each log would print."""
    emit(columns(batch, context), found)
    for one in found:
        emit_text(f"{one.device.name}, {one.build}: {log_text(one.engine, dict(one.log))}", "  ")


def columns(batch: int, context: int) -> "tuple[Column[ServedCapacity], ...]":
    """Users, contexts and cards."""
    from mesh.cli.planning.models import tokens

    return (
        Column(title="DEVICE", value=lambda one: one.device.name, least=8),
        Column(title="ENGINE", value=lambda one: one.engine, rank=35),
        Column(title="CARDS", value=_cards, rank=30),
        Column(
            title="MAY USE", value=lambda one: f"{gib(one.usable_bytes)} GiB", right=True, rank=25
        ),
        Column(title="WEIGHTS", value=lambda one: one.quant),
        Column(
            title="QUALITY",
            value=lambda one: f"{one.quality:.3f}",
            right=True,
            rank=40,
        ),
        Column(title=f"CONTEXT x {batch}", value=lambda one: one.context or "", right=True),
        Column(
            title=f"USERS x {tokens(context)}",
            value=lambda one: one.sequences or "does not fit",
            right=True,
        ),
    )


def _cards(one: "ServedCapacity") -> str:
    """ "4", or "2 x 3" for three stages of two cards that split every layer."""
    ranks = one.cards // one.stages
    return f"{ranks} x {one.stages}" if one.stages > 1 else str(ranks)
