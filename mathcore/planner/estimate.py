"""How long a layout takes on a device, and what for: the speed model put to a plan's question."""

from dataclasses import dataclass
from typing import final

from mathcore.band import Band
from mathcore.device import DeviceSpec
from mathcore.engines.llamacpp.offload import ALL_LAYERS
from mathcore.model.spec import ModelSpec
from mathcore.planner.answer import Layout
from mathcore.planner.loading import load_band, start_s, storage_of
from mathcore.planner.query import Query
from mathcore.quant.weights import Weights
from mathcore.speed.chip import Chip
from mathcore.speed.kernels import VULKAN
from mathcore.speed.learning import Observation, learned_speed
from mathcore.speed.predict import prior_speed
from mathcore.speed.releases import kind_of_model, release_flags
from mathcore.speed.terms import SERVERS, Run
from mathcore.speed.work import Work

# Numbers of a cache beside 16-bit ones.
_CACHE_SCALE: dict[str, float] = {
    "q8_0": 34.0 / 64.0,
    "q8": 36.0 / 64.0,
    "fp8": 0.5,
    "fp8_e4m3": 0.5,
    "fp8_e5m2": 0.5,
    "int8": 0.5,
    "q5_1": 24.0 / 64.0,
    "q5_0": 22.0 / 64.0,
    "q4_1": 20.0 / 64.0,
    "q4_0": 18.0 / 64.0,
    "iq4_nl": 18.0 / 64.0,
    "f32": 2.0,
}


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """Times of one run in seconds: loading, the prompts, and the generated tokens."""

    load_s: Band
    load_basis: str
    first_s: Band  # from loaded to the first token
    rest_s: Band  # all generated tokens
    terms: tuple[tuple[str, float], ...]  # of all generated tokens, by cause
    basis: str
    run: Run
    work: Work


def offloaded_share(spec: ModelSpec, layout: Layout, weights: Weights) -> float:
    """Share of the weights a token reads that lies in the host's RAM."""
    if layout.moved_share >= 0.0:
        return layout.moved_share
    if layout.cpu_experts == 0 and layout.gpu_layers == ALL_LAYERS:
        return 0.0
    count = len(spec.layers)
    below = 0 if layout.gpu_layers == ALL_LAYERS else count + 1 - layout.gpu_layers
    offloaded = 0.0
    for i, layer in enumerate(spec.layers):
        experts = float(weights.expert_bytes[i])
        used = experts * layer.experts_used / layer.experts if layer.experts > 0 else 0.0
        if i < below:
            offloaded += weights.layer_bytes[i] - experts + used
        elif i < layout.cpu_experts:
            offloaded += used
    return min(1.0, offloaded / max(1, weights.active_bytes))


# 16-bit weights on llama.cpp run on kernels of their own; a file's mean bits tell them apart.
WIDE_BITS = 12.0
GPT_OSS = "gpt-oss"  # an architecture with kernels of its own in servers
# Formats of 4-bit weights multiplied as 16-bit numbers.
WIDENED: tuple[str, ...] = ("AWQ", "GPTQ-INT4", "W4A16")


def flags_of(engine: str, quant: str, bits: float) -> tuple[str, ...]:
    """The circumstances the speed model knows of that follow from the weights."""
    if engine in SERVERS:
        return ("w4a16",) if quant.startswith(WIDENED) else ()
    return ("wide",) if engine in ("llama.cpp", "ollama") and bits >= WIDE_BITS else ()


def told_flags(query: Query, engine: str, work: Work) -> tuple[str, ...]:
    """Those that follow from how the engine is started, built or released."""
    if engine in SERVERS:
        kind = kind_of_model(work, mxfp4=query.model.architecture == GPT_OSS)
        return release_flags(engine, query.options.build, kind)
    if engine not in ("llama.cpp", "ollama"):
        return ()
    plain = () if query.flags.flash else ("plain",)
    return (*plain, VULKAN) if query.flags.backend == VULKAN else plain


def run_of(query: Query, device: DeviceSpec, layout: Layout, weights: Weights, work: Work) -> Run:
    """The run as the speed model sees it."""
    bits = 8.0 * weights.total_bytes / max(1, query.model.parameters)
    return Run(
        engine=layout.engine,
        devices=layout.cards // layout.stages,
        split="tensor" if layout.engine in SERVERS else "layer",
        batch=query.batch,
        prompt=query.prompt_tokens,
        generated=query.tokens,
        depth=query.prompt_tokens + query.tokens / 2.0,
        bits=bits,
        kv_scale=_CACHE_SCALE.get(layout.kv_type, 1.0),
        ram_bandwidth=float(device.ram_bandwidth_bytes_per_s),
        offloaded_share=offloaded_share(query.model, layout, weights),
        flags=(
            *flags_of(layout.engine, layout.quant, bits),
            *told_flags(query, layout.engine, work),
        ),
    )


def key_of(model: str, quant: str) -> str:
    """Names what ran: jobs of the same key have measured this very thing."""
    return f"{model} {quant}"


def estimate(
    query: Query,
    device: DeviceSpec,
    chip: Chip,
    layout: Layout,
    weights: Weights,
    work: Work,
    seen: list[Observation],
) -> Estimate:
    """The times of a layout that fits; `chip` is the device's, `seen` its finished jobs."""
    run = run_of(query, device, layout, weights, work)
    if seen:
        speed = learned_speed(chip, run, work, key_of(query.model.name, layout.quant), seen)
    else:
        speed = prior_speed(chip, run, work)
    storage = storage_of(device, seen)
    load = start_s(layout.engine) + weights.total_bytes / storage.bytes_per_s
    tokens = float(query.tokens)
    step = speed.step_s
    shown = [(name, seconds * tokens) for name, seconds in speed.terms]
    return Estimate(
        load_s=load_band(load, storage),
        load_basis=storage.basis,
        first_s=speed.first_s,
        rest_s=Band(p10=step.p10 * tokens, p50=step.p50 * tokens, p90=step.p90 * tokens),
        terms=(("load", load), ("prompt", speed.first_s.p50), *shown),
        basis=f"{speed.basis}, bandwidth {device.bandwidth_basis}",
        run=run,
        work=work,
    )
