"""The flags of server engines in a planning question, under the engines' own names."""

from typing import TYPE_CHECKING, Final

from mathcore.engines.options import VERSIONED, EngineOptions, release
from mathcore.quant.families import ENGINES
from mesh.api.fields import refuse, wrong_value

if TYPE_CHECKING:
    from mesh.api.requests import PlanRequest

SERVERS: Final = ("vllm", "sglang", "tgi")
# Which engines know a flag; none other is started with it.
KNOWN_BY: Final[dict[str, tuple[str, ...]]] = {
    "gpu_memory_utilization": ("vllm", "tgi"),
    "mem_fraction_static": ("sglang",),
    "max_num_seqs": SERVERS,
    "max_num_batched_tokens": SERVERS,
    "tensor_parallel": SERVERS,
    "pipeline_parallel": SERVERS,
    "prefix_caching": ("vllm", "tgi"),
    "mamba_ssm_cache_dtype": ("vllm",),
    "enforce_eager": ("vllm", "tgi"),
    "engine_build": VERSIONED,
}
# The smallest and largest share of a card anybody starts an engine with.
LEAST_SHARE, MOST_SHARE = 0.01, 1.0
STATE_BYTES: Final = {"auto": 0, "float32": 4, "float16": 2, "bfloat16": 2}


def share_permille(field: str, value: float | str | None) -> int:
    """A share of a card's memory in thousandths; 0 where none is given."""
    if value is None:
        return 0
    try:
        share = float(value)
    except ValueError:
        share = -1.0
    if not LEAST_SHARE <= share <= MOST_SHARE:
        wrong_value(field, value)
    return round(1000 * share)


def named_flags(request: "PlanRequest") -> tuple[str, ...]:
    """The flags of server engines the request names."""
    plain = {"enforce_eager": False}
    return tuple(name for name in KNOWN_BY if getattr(request, name) != plain.get(name))


def knowing(request: "PlanRequest") -> tuple[str, ...]:
    """Engines that know every flag the request names; () where it names none.

    RequestError for a flag that the engine named, or every engine that knows another, has not.
    """
    flags = named_flags(request)
    found = tuple(e for e in ENGINES if all(e in KNOWN_BY[flag] for flag in flags))
    for flag in flags:
        if request.engine is not None and request.engine not in KNOWN_BY[flag]:
            hint = f"it is of {', '.join(KNOWN_BY[flag])}"
            refuse(f"{flag}: {request.engine} has no such option", hint)
    if flags and not found:
        refuse(f"{flags[-1]}: no engine knows it and {flags[0]} too", "name one of the two")
    return found if flags else ()


def options_of(request: "PlanRequest") -> EngineOptions:
    """The request's flags as engines take them; RequestError for one that can't be."""
    shares = [
        share_permille("gpu_memory_utilization", request.gpu_memory_utilization),
        share_permille("mem_fraction_static", request.mem_fraction_static),
    ]
    if all(shares):
        refuse("mem_fraction_static: is SGLang's, and gpu_memory_utilization vLLM's", "name one")
    knowing(request)
    most = request.max_num_seqs or 0
    if 0 < most < request.batch:
        refuse(
            f"batch: {request.batch} sequences at once, but max_num_seqs {most} serves {most}",
            f"--max-num-seqs {request.batch}",
        )
    dtype = request.mamba_ssm_cache_dtype or "auto"
    return EngineOptions(
        memory_permille=max(shares),
        max_num_seqs=most,
        max_num_batched_tokens=request.max_num_batched_tokens or 0,
        tensor_parallel=request.tensor_parallel or 0,
        pipeline_parallel=request.pipeline_parallel or 0,
        prefix_caching=request.prefix_caching,
        state_bytes=STATE_BYTES[dtype],
        enforce_eager=request.enforce_eager,
        build=_build(request.engine, request.engine_build),
    )


def _build(engine: str | None, text: str | None) -> str:
    """The release asked about; "" = the newest known."""
    if text is None:
        return ""
    if engine not in VERSIONED:
        refuse(
            f"engine_build: releases of {engine or 'an engine nobody named'} are not told apart",
            f"name the engine: {' or '.join(VERSIONED)}",
        )
    try:
        release(text)
    except ValueError:
        wrong_value("engine_build", text)
    return text.strip().removeprefix("v")
