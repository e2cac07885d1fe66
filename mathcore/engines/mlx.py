"""Memory of one mlx-lm run: weights, caches that grow in steps, and the prefill's working set.

Follows mlx_lm/models/cache.py. Checked against the eleven peaks mlx-lm publishes (BENCHMARKS.md):
within 0.1 GB. The limit is what Metal reports for the device, never a share of its memory.
"""

from mathcore.engines.footprint import Footprint, pad
from mathcore.engines.mlx_scores import MlxShape, attention_bytes
from mathcore.model.spec import Layer, ModelSpec, SpecError

STEP = 256  # tokens a KV cache grows by
ELEMENT = 2  # bytes of a 16-bit number
# Bits of a quantised cache by our names of it; 0 = the model's own 16.
KV_BITS: dict[str, int] = {"f16": 0, "bf16": 0, "q8": 8, "q8_0": 8, "q4": 4, "q4_0": 4}
KV_GROUP = 64  # numbers of a quantised cache that share a scale and a bias
STATE_ELEMENT = 4  # recurrent states are 32-bit, convolutions the model's own 16


def quantised_bits(elements: int, bits: int, group: int) -> int:
    """Bits of numbers stored with a 16-bit scale and bias per group."""
    return elements * bits + elements // group * 32


def _kept_tokens(layer: Layer, shape: MlxShape) -> int:
    """Tokens a layer's cache has room for at its largest."""
    if layer.kind in ("sliding", "chunked") and layer.window > 0:
        # While a prompt is read the window and one more chunk are kept, less the token both share.
        peak = layer.window + min(shape.prefill_chunk, shape.context) - 1
        return min(pad(shape.context, STEP), max(layer.window, peak))
    return pad(shape.context, STEP)


def layer_bytes(layer: Layer, shape: MlxShape) -> int:
    """Cache and state of one layer, one sequence."""
    if layer.ratio > 0:
        raise SpecError("compress_ratios", "mlx-lm's compressed caches are not known")
    numbers = layer.k_elements + layer.v_elements + layer.index_elements
    tokens = _kept_tokens(layer, shape)
    if shape.kv_bits > 0 and layer.kind == "full":
        held = tokens * quantised_bits(numbers, shape.kv_bits, KV_GROUP) // 8
    else:
        held = tokens * numbers * ELEMENT
    state = layer.state
    if state is not None:
        held += state.conv_elements * ELEMENT + state.state_elements * STATE_ELEMENT
    return held


def growth_bytes(spec: ModelSpec, shape: MlxShape) -> int:
    """Old and new cache of one layer while it grows: the widest layer's, once more."""
    most = 0
    for layer in spec.layers:
        if layer.kind == "full" and shape.context > STEP:
            most = max(most, (layer.k_elements + layer.v_elements) * ELEMENT)
    return most * max(0, pad(shape.context, STEP) - STEP) if shape.context > STEP else 0


def workspace_bytes(spec: ModelSpec, shape: MlxShape) -> int:
    """The prefill of one chunk, all 16-bit: four embeddings, and the larger of a layer's scores and
    of the end's logits with a feed-forward; the one is gone when the other comes."""
    tokens = min(shape.prefill_chunk, shape.context) * shape.sequences
    inner = 0
    for layer in spec.layers:
        experts = layer.experts_used * (layer.expert_feed_forward + spec.hidden)
        inner = max(inner, layer.feed_forward, experts + layer.shared_feed_forward)
    end = tokens * ELEMENT * (spec.vocab + inner)
    return max(end, attention_bytes(spec, shape)) + tokens * ELEMENT * 4 * spec.hidden


def mlx_footprint(spec: ModelSpec, weights_bytes: int, shape: MlxShape) -> Footprint:
    """Peak of one run; unified memory, so nothing is beside it."""
    kv, state = 0, 0
    for layer in spec.layers[: len(spec.layers) - spec.draft_layers]:
        held = layer_bytes(layer, shape) * shape.sequences
        if layer.k_elements > 0:
            kv += held
        else:
            state += held
    compute = workspace_bytes(spec, shape) + growth_bytes(spec, shape)
    total = weights_bytes + kv + state + compute
    return Footprint(
        weights_bytes=weights_bytes,
        kv_bytes=kv,
        state_bytes=state,
        compute_bytes=compute,
        overhead_bytes=0,
        host_bytes=0,
        card_bytes=total,
    )
