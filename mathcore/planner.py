"""Where a query can run, best first, and for every other device why not.

One device at a time: memory decides first, then the deadline, then cost and speed.
"""

from dataclasses import dataclass
from typing import final

from mathcore.device import DeviceSpec
from mathcore.fleet import Query
from mathcore.footprint import ContextShape, Footprint
from mathcore.llamacpp import footprint
from mathcore.llamacpp_cache import cache_refusal
from mathcore.price import cost_nusd
from mathcore.roofline import (
    Band,
    decode_step_s,
    prefill_s,
    prior_of,
    rate_band,
    time_band,
)
from mathcore.units import GIB, show_bytes, show_ms
from mathcore.weights import GGUF_QUANTS, LADDER, Weights, quant_fault, weigh

ENGINE = "llama.cpp"  # the one whose memory we know exactly so far
# llama.cpp's own --fit-target leaves 1 GiB; on a small device that would call everything tight,
# and what grows beside us (graphs, a desktop) grows with the device, so at most 5 % of it.
MARGIN_BYTES = GIB
MARGIN_SHARE = 20
# A cold start: process and backend, then the weights from disk. Assumed, not measured.
START_S = 0.5
LOAD_BYTES_PER_S = 2_000_000_000


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """One device that can do it. Rates are of the whole batch; a p90 is the promise."""

    device_id: str
    name: str
    provider: str
    engine: str
    quant: str
    fit: str  # "fit" | "tight"
    footprint: Footprint
    free_bytes: int
    tokens_per_s: Band
    prefill_tokens_per_s: Band
    duration_ms: Band
    cost_nusd: Band
    basis: str


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """One device that cannot, and why."""

    device_id: str
    name: str
    code: str
    text: str
    missing_bytes: int = 0


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The answer: placements best first, refusals by device."""

    query: Query
    placements: tuple[Placement, ...]
    refusals: tuple[Refusal, ...]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A quantisation to try, weighed once for all devices."""

    quant: str
    weights: Weights


def _candidates(query: Query) -> list[Candidate]:
    spec = query.model
    if spec.quant:
        names = [spec.quant] if query.quant in (None, spec.quant) else []
    elif query.quant is not None:
        names = [query.quant] if query.quant in GGUF_QUANTS else []
    else:
        names = list(LADDER)
    return [Candidate(quant=name, weights=weigh(spec, name)) for name in names]


def _query_refusal(query: Query) -> tuple[str, str]:
    """(code, text) when no device at all could run the query, else two empty texts."""
    engine, spec = query.engine, query.model
    if query.batch < 1 or query.context < 1 or query.tokens < 1 or query.prompt_tokens < 0:
        return "NoFit(ctx)", "batch, context and tokens must be at least 1"
    if engine is not None and engine != ENGINE:
        return "NoFit(backend)", f"memory of {engine} cannot be planned yet, only of {ENGINE}"
    if query.prompt_tokens + query.tokens > query.context:
        need = query.prompt_tokens + query.tokens
        return "NoFit(ctx)", f"{need} tokens do not fit a context of {query.context}"
    if 0 < spec.context_length < query.context:
        return "NoFit(ctx)", f"{spec.name} was trained for {spec.context_length} tokens at most"
    if spec.quant and query.quant not in (None, spec.quant):
        return "NoFit(quant)", f"the file holds {spec.quant}, not {query.quant}"
    if query.quant is not None and not spec.quant:
        fault = quant_fault(spec, query.quant, "gguf")
        if fault:
            return "NoFit(quant)", fault
    refusal = cache_refusal(spec, query.kv_type or "f16")
    return ("NoFit(backend)", refusal) if refusal else ("", "")


def _device_refusal(query: Query, device: DeviceSpec) -> tuple[str, str]:
    if query.on is not None and query.on not in (device.device_id, device.name):
        return "NotChosen", f"the job was asked to run on {query.on}"
    if ENGINE not in device.engines:
        have = ", ".join(device.engines) if device.engines else "none"
        return "NoFit(backend)", f"{ENGINE} is not available here (engines: {have})"
    if device.bandwidth_bytes_per_s < 1 or device.count < 1:
        return "NoFit(backend)", "its memory bandwidth is unknown, so its speed cannot be planned"
    return "", ""


def _refuse(device: DeviceSpec, code: str, text: str, missing: int = 0) -> Refusal:
    return Refusal(
        device_id=device.device_id, name=device.name, code=code, text=text, missing_bytes=missing
    )


def margin_bytes(free_bytes: int) -> int:
    """What must remain free for the verdict "fit"."""
    return min(MARGIN_BYTES, free_bytes // MARGIN_SHARE)


def _memory_refusal(device: DeviceSpec, need: Footprint) -> Refusal | None:
    missing = need.card_bytes - device.free_bytes
    each = " per card" if device.count > 1 else ""
    if missing > 0:
        text = (
            f"needs {show_bytes(need.card_bytes)}{each}, {show_bytes(device.free_bytes)} free: "
            f"{show_bytes(missing)} missing"
        )
        return _refuse(device, "NoFit(mem)", text, missing * device.count)
    beside = need.host_bytes - device.ram_free_bytes
    if device.kind == "gpu" and device.ram_free_bytes > 0 and beside > 0:
        text = (
            f"needs {show_bytes(need.host_bytes)} of host memory, "
            f"{show_bytes(device.ram_free_bytes)} free: {show_bytes(beside)} missing"
        )
        return _refuse(device, "NoFit(mem)", text, beside)
    return None


def _shape(query: Query) -> ContextShape:
    kv_type = query.kv_type or "f16"
    return ContextShape(context=query.context, sequences=query.batch, kv_type=kv_type)


def _place(query: Query, device: DeviceSpec, option: Candidate, need: Footprint) -> Placement:
    prior, spec = prior_of(device), query.model
    layers, weights = len(spec.layers), option.weights
    # Half the answer is in the cache on average; the embedding table is read one row at a time.
    depth = query.prompt_tokens + query.tokens // 2
    cache = need.kv_bytes * depth // query.context
    read = weights.total_bytes - (0 if weights.tied else weights.embedding_bytes)
    step = decode_step_s(device, prior, read, cache, layers, spec.active_parameters, query.batch)
    prompt_total = query.prompt_tokens * query.batch
    first = time_band(
        prefill_s(device, prior, spec.active_parameters, prompt_total, layers),
        prior.prefill_spread,
    )
    rest = time_band(step * query.tokens, prior.spread)
    start = time_band(START_S + weights.total_bytes / LOAD_BYTES_PER_S, 1.0)
    duration = Band(
        p10=1000.0 * (first.p10 + rest.p10 + start.p10),
        p50=1000.0 * (first.p50 + rest.p50 + start.p50),
        p90=1000.0 * (first.p90 + rest.p90 + start.p90),
    )
    remains = device.free_bytes - need.card_bytes
    return Placement(
        device_id=device.device_id,
        name=device.name,
        provider=device.provider,
        engine=ENGINE,
        quant=option.quant,
        fit="fit" if remains >= margin_bytes(device.free_bytes) else "tight",
        footprint=need,
        free_bytes=device.free_bytes * device.count,
        tokens_per_s=rate_band(float(query.tokens * query.batch), rest),
        prefill_tokens_per_s=rate_band(float(prompt_total), first),
        duration_ms=duration,
        cost_nusd=Band(
            p10=float(cost_nusd(device.rate, int(duration.p10))),
            p50=float(cost_nusd(device.rate, int(duration.p50))),
            p90=float(cost_nusd(device.rate, int(duration.p90))),
        ),
        basis=f"prior: {prior.name}, bandwidth {device.bandwidth_basis}",
    )


def _late(query: Query, device: DeviceSpec, placed: Placement) -> Refusal | None:
    """The deadline is held against p90: a promise kept nine times in ten."""
    limit = query.limits.max_latency_ms
    if limit is None or placed.duration_ms.p90 <= float(limit):
        return None
    late = show_ms(int(placed.duration_ms.p90))
    return _refuse(device, "TooSlow", f"takes up to {late} (p90), {show_ms(limit)} allowed")


def _try(query: Query, device: DeviceSpec, options: list[Candidate]) -> Placement | Refusal:
    """The best quantisation that fits, else the best that is tight, else the last refusal."""
    tight: Placement | None = None
    refusal = _refuse(device, "NoFit(backend)", "nothing to try")
    for option in options:
        need = footprint(query.model, option.weights, _shape(query), device.kind, device.count)
        no = _memory_refusal(device, need)
        if no is not None:
            refusal = no
            continue
        placed = _place(query, device, option, need)
        no = _late(query, device, placed)
        if no is not None:
            refusal = no
            continue
        if placed.fit == "fit":
            return placed
        if tight is None:
            tight = placed
    return tight if tight is not None else refusal


def _rank(placed: Placement) -> tuple[float, float, str]:
    return (placed.cost_nusd.p50, placed.duration_ms.p50, placed.device_id)


def _refusal_order(refusal: Refusal) -> str:
    return refusal.device_id


def plan(query: Query, devices: list[DeviceSpec]) -> Plan:
    """Cheapest first, then fastest, then by id; the order of `devices` does not matter."""
    code, text = _query_refusal(query)
    options = _candidates(query) if not code else []
    placements: list[Placement] = []
    refusals: list[Refusal] = []
    for device in devices:
        here, why = _device_refusal(query, device)
        if here or code:
            refusals.append(_refuse(device, here or code, why or text))
            continue
        answer = _try(query, device, options)
        if isinstance(answer, Placement):
            placements.append(answer)
        else:
            refusals.append(answer)
    placements.sort(key=_rank)
    refusals.sort(key=_refusal_order)
    return Plan(query=query, placements=tuple(placements), refusals=tuple(refusals))
