"""What `capacity` and `sweep` take of a plan's question, and how a capacity looks as JSON.

Both ask what a device can do at most, so limits, an objective and sets of devices say nothing
there; whoever names one is told so.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, final

import msgspec

from mathcore.planner.render import log_dict
from mathcore.quant.families import AUTO
from mesh.api.fields import MAX_CONTEXT, refuse, wrong_value
from mesh.api.requests import PlanRequest, convert, parse_plan

if TYPE_CHECKING:
    from mathcore.planner.capacity import Capacity
    from mathcore.planner.query import Query
    from mathcore.planner.served.capacity import ServedCapacity

Row = dict[str, object]

# Fields of a plan that say nothing of a grid, and those that say nothing of the most there can be.
NOT_OF_SWEEP: Final = (
    "max_latency",
    "max_latency_ms",
    "ttft",
    "deadline",
    "min_tps",
    "max_price",
    "max_cost",
    "min_quality",
    "objective",
    "sets",
    "ways_out",
)
NOT_OF_CAPACITY: Final = (*NOT_OF_SWEEP, "tokens", "prompt_tokens")
_AXES: Final = ("batch", "context", "quant", "prompt_tokens", "tokens")
LLAMACPP: Final = "llama.cpp"
DEFAULT_BATCH: Final = "1..64"
MAX_TYPES: Final = 64  # of weights in one sweep; all that llama.cpp has are fewer
_DEFAULTS: Final = {one.name: one.default for one in msgspec.structs.fields(PlanRequest)}


def parse_capacity(given: Mapping[str, object]) -> PlanRequest:
    """A question about the most a device can do; RequestError names the field that is wrong."""
    return _parsed(given, "capacity", NOT_OF_CAPACITY)


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Axes:
    """What varies in a sweep, and how long prompts and answers are.

    Nothing said of contexts is as far as the model was trained, of types the usual one, and of a
    prompt what the context holds.
    """

    batch: str = DEFAULT_BATCH
    context: str = ""
    quants: tuple[str, ...] = ()
    prompt_tokens: int | None = None
    tokens: int | None = None


def parse_sweep(given: Mapping[str, object]) -> tuple[PlanRequest, Axes]:
    """A sweep's question, of llama.cpp where it names no engine; RequestError names what is wrong.

    Its `batch`, `context` and `quant` are axes: "1..64", "2k,8k", a list of types.
    """
    if given.get("parallel") is not None:
        refuse("parallel: a sweep's sequences are an axis", "say -b 4, or -b 1..64")
    rest = {name: value for name, value in given.items() if name not in _AXES}
    request = _parsed({**rest, "engine": rest.get("engine") or LLAMACPP}, "sweep", NOT_OF_SWEEP)
    return request, _axes(given)


def _axes(given: Mapping[str, object]) -> Axes:
    numbers = ("prompt_tokens", "tokens")
    asked = {name: given[name] for name in numbers if given.get(name) is not None}
    counted = convert({"model": "-", "context": MAX_CONTEXT, **asked}, PlanRequest)
    quants = given.get("quant") or ()
    quants = [quants] if isinstance(quants, str) else quants
    if not isinstance(quants, list | tuple) or len(quants) > MAX_TYPES:
        wrong_value("quant", quants)
    return Axes(
        batch=_axis("batch", given) or DEFAULT_BATCH,
        context=_axis("context", given),
        quants=tuple(str(one) for one in quants),
        prompt_tokens=counted.prompt_tokens,
        tokens=counted.tokens,
    )


def _axis(name: str, given: Mapping[str, object]) -> str:
    value = given.get(name)
    if isinstance(value, bool) or not isinstance(value, str | int | None):
        wrong_value(name, value)
    return "" if value is None else str(value)


def _parsed(given: Mapping[str, object], what: str, unasked: tuple[str, ...]) -> PlanRequest:
    request = parse_plan(given)
    if what == "capacity" and request.backend is not None:
        refuse("backend: changes speeds alone, and a capacity has none", "fleet plan, fleet sweep")
    for name in unasked:
        if getattr(request, name) != _DEFAULTS[name]:
            refuse(f"{name}: a {what} knows no such option", f"fleet plan takes {name}")
    if request.kv_type == AUTO:
        refuse(f"kv_type: auto leaves a choice to a plan; a {what} is of one type", "f16 or q8_0")
    return request


def capacity_row(answer: "Capacity", query: "Query") -> Row:
    """One device's answers; null where there is none."""
    return {
        **_device(answer),
        "ram_free_bytes": answer.device.ram_free_bytes,
        **_most(answer, query),
        "layers": answer.layers,
        "gpu_layers": answer.gpu_layers if answer.gpu_layers >= 0 else None,
        "cpu_experts": answer.cpu_experts if answer.cpu_experts >= 0 else None,
        **_own_start(answer),
    }


def served_row(found: "ServedCapacity", query: "Query") -> Row:
    """One device's answers under a server engine; null where there is none."""
    return {
        **_device(found),
        "usable_bytes": found.usable_bytes,
        "cards": found.cards,
        "stages": found.stages,
        **_most(found, query),
        "engine_log": log_dict(found.log),
    }


def _device(answer: "Capacity | ServedCapacity") -> Row:
    device = answer.device
    return {
        "device": device.name,
        "engine": answer.engine,
        "engine_build": answer.build,
        "free_bytes": device.free_bytes,
        "count": device.count,
    }


def _most(answer: "Capacity | ServedCapacity", query: "Query") -> Row:
    """What both kinds of engine are asked, and their answers."""
    return {
        "quant": answer.quant,
        "quality": round(answer.quality, 4),
        "best_quant": answer.best_quant or None,
        "batch": query.batch,
        "largest_context": answer.context or None,
        "context": query.context,
        "most_sequences": answer.sequences or None,
    }


def _own_start(answer: "Capacity") -> dict[str, Any]:
    """What Ollama chooses where nobody does; nothing for other engines."""
    start = answer.chosen
    if start is None:
        return {}
    return {
        "engine_start": {
            "num_ctx": start.num_ctx,
            "num_parallel": start.num_parallel,
            "num_batch": start.num_batch,
        }
    }
