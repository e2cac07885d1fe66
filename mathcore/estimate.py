"""How long a layout takes on a device, and what for: the speed model put to a plan's question."""

from dataclasses import dataclass
from typing import final

from mathcore.answer import Layout
from mathcore.device import DeviceSpec
from mathcore.fleet import Query
from mathcore.roofline import Band, decode_step_s, prefill_s, prior_of, time_band
from mathcore.weights import Weights

# A cold start: process and backend, then the weights from disk. Assumed, not measured.
START_S = 0.5
LOAD_BYTES_PER_S = 2_000_000_000


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """Times of one run in seconds: loading, the prompts, and the generated tokens."""

    load_s: Band
    first_s: Band  # from loaded to the first token
    rest_s: Band  # all generated tokens
    terms: tuple[tuple[str, float], ...]
    basis: str


def estimate(query: Query, device: DeviceSpec, layout: Layout, weights: Weights) -> Estimate:
    """The times of a layout that fits."""
    prior, spec = prior_of(device), query.model
    layers = len(spec.layers)
    # Half the answer is in the cache on average; the embedding table is read one row at a time.
    depth = query.prompt_tokens + query.tokens // 2
    cache = layout.footprint.kv_bytes * depth // query.context
    step = decode_step_s(
        device, prior, weights.active_bytes, cache, layers, spec.active_parameters, query.batch
    )
    prompt_total = query.prompt_tokens * query.batch
    first = prefill_s(device, prior, spec.active_parameters, prompt_total, layers)
    load = START_S + weights.total_bytes / LOAD_BYTES_PER_S
    return Estimate(
        load_s=time_band(load, 1.0),
        first_s=time_band(first, prior.prefill_spread),
        rest_s=time_band(step * query.tokens, prior.spread),
        terms=(("load", load), ("prompt", first), ("tokens", step * query.tokens)),
        basis=f"prior: {prior.name}, bandwidth {device.bandwidth_basis}",
    )
