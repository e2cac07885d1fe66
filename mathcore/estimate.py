"""How long a layout takes on a device, and what for: the speed model put to a plan's question."""

from dataclasses import dataclass
from typing import final

from mathcore.answer import Layout
from mathcore.chip import Chip, chip_of
from mathcore.device import DeviceSpec
from mathcore.fleet import Query
from mathcore.interval import Band, time_band
from mathcore.speed import Speed, prior_speed
from mathcore.terms import SERVERS, Run
from mathcore.weights import Weights
from mathcore.work import Work, work_of_weights

# A cold start: process and backend, then the weights from disk. Assumed, not measured.
START_S = 0.5
LOAD_BYTES_PER_S = 2_000_000_000
# Bytes per cached number against an f16 cache, payload and scales.
_CACHE_SCALE: dict[str, float] = {
    "f32": 2.0, "q8_0": 0.53, "q8": 0.53, "fp8": 0.5, "q5_1": 0.375, "q5_0": 0.344,
    "q4_1": 0.313, "q4_0": 0.281, "iq4_nl": 0.281,
}  # fmt: skip


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """Times of one run in seconds: loading, the prompts, and the generated tokens."""

    load_s: Band
    first_s: Band  # from loaded to the first token
    rest_s: Band  # all generated tokens
    terms: tuple[tuple[str, float], ...]
    basis: str


def _away(layout: Layout, weights: Weights, work: Work, tokens: int) -> float:
    """Share of the bytes of a step that is read from the host's memory."""
    count = len(weights.layer_bytes)
    on_host, touched = 0.0, work.touched(float(tokens))
    for i in range(count):
        routed = weights.expert_bytes[i] * touched
        if i < count - layout.gpu_layers:
            on_host += weights.layer_bytes[i] - weights.expert_bytes[i] + routed
        elif i < layout.cpu_experts:
            on_host += routed
    return float(min(1.0, on_host / max(1.0, work.weight_bytes(float(tokens)))))


def run_of(query: Query, device: DeviceSpec, layout: Layout, weights: Weights, work: Work) -> Run:
    """The layout as the speed model asks for it."""
    server = layout.engine in SERVERS
    return Run(
        engine=layout.engine,
        devices=max(1, layout.cards),
        split="tensor" if server else "layer",
        batch=query.batch,
        prompt=query.prompt_tokens,
        generated=query.tokens,
        # Half the answer is in the cache on average.
        depth=float(query.prompt_tokens + query.tokens // 2),
        bits=8.0 * work.weight_bytes(1.0) / work.active,
        kv_scale=_CACHE_SCALE.get(layout.kv_type, 1.0),
        away=_away(layout, weights, work, query.batch) if device.kind == "gpu" else 0.0,
        ram_bandwidth=float(device.ram_bandwidth_bytes_per_s),
    )


def speed_of(chip: Chip, run: Run, work: Work) -> Speed:
    """The speed of a layout on a device nobody has measured."""
    return prior_speed(chip, run, work)


def estimate(query: Query, device: DeviceSpec, layout: Layout, weights: Weights) -> Estimate:
    """The times of a layout that fits."""
    work = work_of_weights(query.model, weights)
    run = run_of(query, device, layout, weights, work)
    speed = speed_of(chip_of(device), run, work)
    load = START_S + weights.total_bytes / LOAD_BYTES_PER_S
    steps = float(query.tokens)
    named = [(name, seconds * steps) for name, seconds in speed.terms]
    return Estimate(
        load_s=time_band(load, 1.0),
        first_s=speed.first_s,
        rest_s=Band(
            p10=speed.step_s.p10 * steps, p50=speed.step_s.p50 * steps, p90=speed.step_s.p90 * steps
        ),
        terms=(("load", load), ("prompt", speed.first_s.p50), *named),
        basis=f"{speed.basis}, bandwidth {device.bandwidth_basis}",
    )
