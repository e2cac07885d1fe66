"""Why a question, or a device, is out whatever the layout: the codes, and the rules behind them.

What depends on the layout, and on the limits of the question, has its rules in `limits`.
"""

from dataclasses import dataclass
from typing import Literal, final

from mathcore.device import DeviceSpec
from mathcore.engines.llamacpp.cache import cache_refusal
from mathcore.hardware.makers import vendor_of
from mathcore.hardware.names import lookup_gpu
from mathcore.planner.query import Query
from mathcore.quant.families import AUTO, ENGINES, FAMILIES, family_of
from mathcore.quant.weights import quant_fault
from mathcore.speed.releases import known_releases, release_flags

RefusalCode = Literal[
    "NoFit(mem)",
    "NoFit(ctx)",
    "NoFit(quant)",
    "NoFit(backend)",
    "TooSlow",
    "PriceAboveCap",
    "CostAboveCap",
    "LowQuality",
    "Unreachable",
    "DependencyMissing",
    "Drained",
    "Reserved",
]
NO_MEMORY: RefusalCode = "NoFit(mem)"
NO_CONTEXT: RefusalCode = "NoFit(ctx)"
NO_QUANT: RefusalCode = "NoFit(quant)"
NO_ENGINE: RefusalCode = "NoFit(backend)"
TOO_SLOW: RefusalCode = "TooSlow"
PRICE_ABOVE_CAP: RefusalCode = "PriceAboveCap"
COST_ABOVE_CAP: RefusalCode = "CostAboveCap"
LOW_QUALITY: RefusalCode = "LowQuality"
UNREACHABLE: RefusalCode = "Unreachable"
DEPENDENCY_MISSING: RefusalCode = "DependencyMissing"
# Said by whoever asks the planner, for devices it does not hand in.
DRAINED: RefusalCode = "Drained"
RESERVED: RefusalCode = "Reserved"

MEANINGS: dict[RefusalCode, str] = {
    NO_MEMORY: "the model needs more memory than is free",
    NO_CONTEXT: "prompt and answer do not fit the context, or the model was trained for less",
    NO_QUANT: "the model cannot be had as the type asked for",
    NO_ENGINE: "no engine there can run it as asked",
    TOO_SLOW: "a time or a rate asked for is missed in one case of ten or more",
    PRICE_ABOVE_CAP: "an hour there costs more than allowed",
    COST_ABOVE_CAP: "the run may cost more than allowed",
    LOW_QUALITY: "more of the 16-bit model is lost than allowed",
    UNREACHABLE: "the device, or its driver, does not answer",
    DEPENDENCY_MISSING: "something it needs to run anything is missing or of another version",
    DRAINED: "its owner lets no new jobs start there",
    RESERVED: "it is kept for another peer's jobs",
}


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """One device that cannot, and why; what is missing where that can be counted."""

    device_id: str
    name: str
    code: RefusalCode
    text: str
    missing_bytes: int = 0
    missing_ms: int = 0


def refuse(
    device: DeviceSpec, code: RefusalCode, text: str, missing_bytes: int = 0, missing_ms: int = 0
) -> Refusal:
    """This device's refusal; what is missing where that can be counted."""
    return Refusal(
        device_id=device.device_id,
        name=device.name,
        code=code,
        text=text,
        missing_bytes=missing_bytes,
        missing_ms=missing_ms,
    )


def query_refusal(query: Query) -> tuple[RefusalCode, str] | None:
    """(code, text) when no device at all could run the query."""
    engine, spec = query.engine, query.model
    if query.batch < 1 or query.context < 1 or query.tokens < 1 or query.prompt_tokens < 0:
        return NO_CONTEXT, "batch, context and tokens must be at least 1"
    if engine is not None and engine not in FAMILIES:
        return NO_ENGINE, f"unknown engine {engine}: known are {', '.join(ENGINES)}"
    if query.prompt_tokens + query.tokens > query.context:
        need = query.prompt_tokens + query.tokens
        return NO_CONTEXT, f"{need} tokens do not fit a context of {query.context}"
    if 0 < query.longest < query.context:
        reach = f"{spec.name} was trained for {spec.longest} tokens at most"
        return NO_CONTEXT, f"{reach}; --allow-beyond plans for more all the same"
    if spec.quant and query.quant not in (None, spec.quant):
        return NO_QUANT, f"the file holds {spec.quant}, not {query.quant}"
    if query.quant is not None and not spec.quant:
        fault = quant_fault(spec, query.quant, FAMILIES[engine] if engine else "")
        if fault:
            return NO_QUANT, fault
    named = query.kv_type not in (None, AUTO) and engine in (None, "llama.cpp", "ollama")
    flags = query.flags
    named = named or bool(flags.v_type) or not flags.flash
    kept = "f16" if query.kv_type in (None, AUTO) else query.kv_type
    fault = cache_refusal(spec, kept or "f16", flags.v_type, flash=flags.flash) if named else ""
    return (NO_ENGINE, fault) if fault else None


def question_notes(query: Query, *, speeds: bool = True) -> tuple[str, ...]:
    """What the asker should know of an answer that is given all the same, and of its speeds."""
    found = (*query.model.notes, *_beyond(query))
    return (*found, *_unmeasured(query)) if speeds else found


def _unmeasured(query: Query) -> tuple[str, ...]:
    """What stands in for a back end or a release nobody measured as such."""
    out: list[str] = []
    engine, build = query.engine or "", query.options.build
    known = known_releases(engine)
    if build and known and not release_flags(engine, build, ""):
        out.append(
            f"no speed of {engine} {build} is published: it counts as a usual release (those "
            f"told apart: {', '.join(known)})"
        )
    return tuple(out)


def _beyond(query: Query) -> tuple[str, ...]:
    spec, asked = query.model, query.context
    if not 0 < spec.context_length < asked:
        return ()
    trained = f"{spec.name} was trained for {spec.context_length} tokens"
    if asked <= spec.longest:
        return (f"{trained}; the rope scaling it declares reaches {spec.longest}",)
    doubt = f"beyond {spec.longest} its answers may make no sense"
    return (f"{trained}; {doubt}, and vLLM wants VLLM_ALLOW_LONG_MAX_MODEL_LEN=1",)


def wanted_engines(query: Query) -> tuple[str, ...]:
    """The engines that could answer a query that is not refused as a whole."""
    wanted: tuple[str, ...] = ENGINES if query.engine is None else (query.engine,)
    family = family_of(query.model.quant or query.quant or "") or query.model.family
    return tuple([e for e in wanted if FAMILIES[e] == family]) if family else wanted


def is_able(device: DeviceSpec, wanted: frozenset[str], backend: str = "") -> bool:
    """Whether `device_refusal` has nothing to say, for the thousands of which that is true."""
    return (
        device.withheld is None
        and device.bandwidth_bytes_per_s > 0
        and device.count > 0
        and not wanted.isdisjoint(device.engines)
        and (backend == "" or backend_fault(device, backend) == "")
    )


# Whose accelerators a back end of llama.cpp runs on; Vulkan has drivers of all makers but Apple.
_MAKERS: dict[str, tuple[str, ...]] = {
    "cuda": ("nvidia",),
    "rocm": ("amd",),
    "metal": ("apple",),
    "vulkan": ("nvidia", "amd", "intel"),
}
BACKENDS: tuple[str, ...] = tuple(_MAKERS)


def backend_fault(device: DeviceSpec, backend: str) -> str:
    """Why a back end of llama.cpp does not run there; "" where it does, or nobody can say."""
    facts = lookup_gpu(device.model) if device.kind == "gpu" else None
    maker = "apple" if device.kind == "apple" else vendor_of(facts.arch) if facts else ""
    if device.kind == "cpu" or (maker and maker not in _MAKERS[backend]):
        return f"llama.cpp's {backend} back end does not run here"
    return ""


def device_refusal(query: Query, device: DeviceSpec) -> tuple[RefusalCode, str] | None:
    """(code, text) when this device is out whatever the layout."""
    if device.withheld is not None:
        code, text = device.withheld
        return code if code in MEANINGS else UNREACHABLE, text
    wanted = wanted_engines(query)
    if not any(engine in device.engines for engine in wanted):
        have = f"(engines: {', '.join(device.engines) if device.engines else 'none'})"
        names = " or ".join(wanted)
        stored = query.model.quant or query.quant or query.model.family.upper()
        if stored and query.engine is not None and not wanted:
            return NO_ENGINE, f"{query.engine} does not read {stored}"
        if query.engine is None and stored:
            return NO_ENGINE, f"{stored} needs {names}, which it lacks {have}"
        return NO_ENGINE, f"{names} is not available here {have}"
    fault = backend_fault(device, query.flags.backend) if query.flags.backend else ""
    if fault:
        return NO_ENGINE, fault
    if device.bandwidth_bytes_per_s < 1 or device.count < 1:
        return NO_ENGINE, "its memory bandwidth is unknown, so its speed cannot be planned"
    return None
