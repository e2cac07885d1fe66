"""Memory one llama.cpp run needs, term by term, as llama.cpp itself allocates it.

Cache and weights are exact; compute is the graph allocator's closed form for dense decoders
(median error 0 % over 355 recorded contexts); overhead is a constant per backend.
"""

from dataclasses import dataclass
from typing import final

from mathcore.ggml import CACHE_TYPES, row_bytes
from mathcore.model import ModelSpec
from mathcore.units import MIB
from mathcore.weights import Weights

CELL_PAD = 256  # llama.cpp rounds cells up to this
MICRO_BATCH = 512  # llama.cpp --ubatch-size default
# gguf-parser-go's platform footprint: 250 MiB on the card (driver context, kernels),
# 150 MiB of RAM for the process. Peaks measured on ROCm agree (0.13 GiB median, short run).
GPU_OVERHEAD_BYTES = 250 * MIB
CPU_OVERHEAD_BYTES = 150 * MIB


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class ContextShape:
    """What the engine is asked to keep: `sequences` streams of `context` tokens."""

    context: int
    sequences: int = 1
    kv_type: str = "f16"
    micro_batch: int = MICRO_BATCH


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Footprint:
    """Bytes by term. `total_bytes` is what sits on the device; `host_bytes` is beside it."""

    weights_bytes: int
    kv_bytes: int
    state_bytes: int
    compute_bytes: int
    overhead_bytes: int
    host_bytes: int
    card_bytes: int  # the fullest card; equals the total for one card

    @property
    def total_bytes(self) -> int:
        return (
            self.weights_bytes
            + self.kv_bytes
            + self.state_bytes
            + self.compute_bytes
            + self.overhead_bytes
        )


def pad(n: int, step: int) -> int:
    """n rounded up to a multiple of step."""
    return (n + step - 1) // step * step


def cells_per_sequence(shape: ContextShape) -> int:
    """Cells of each stream: the whole context padded, shared out, padded again."""
    whole = pad(shape.context * shape.sequences, CELL_PAD)
    return pad(whole // shape.sequences, CELL_PAD)


def cache_refusal(spec: ModelSpec, kv_type: str) -> str:
    """Why llama.cpp would refuse this cache type, or "" if it would not."""
    if kv_type not in CACHE_TYPES:
        return f"unknown cache type '{kv_type}': known are {', '.join(CACHE_TYPES)}"
    for layer in spec.layers:
        block = 32 if kv_type[0] in "qi" else 1
        if layer.head_dim % block != 0:
            return f"{kv_type} cache needs head size divisible by {block}, not {layer.head_dim}"
    return ""


def layer_cache_bytes(spec: ModelSpec, shape: ContextShape) -> list[int]:
    """Cache bytes of each layer, all streams together."""
    cells = cells_per_sequence(shape)
    name = shape.kv_type.upper()
    out: list[int] = []
    for layer in spec.layers:
        kept = cells
        if layer.kind == "sliding":
            kept = pad(min(cells, layer.window + shape.micro_batch), CELL_PAD)
        row = row_bytes(name, layer.k_elements) + row_bytes(name, layer.v_elements)
        out.append(kept * row * shape.sequences)
    return out


def compute_bytes(spec: ModelSpec, shape: ContextShape) -> int:
    """The graph's scratch buffer with flash attention: logits, or feed-forward plus the mask."""
    tokens = shape.micro_batch
    logits = tokens * 4 * (spec.vocab + 2 * spec.hidden)
    mask = cells_per_sequence(shape) * tokens * 2
    inside = tokens * 4 * (3 * spec.feed_forward + 4 * spec.hidden) + mask
    return max(logits, inside)


def served_compute_bytes(spec: ModelSpec, shape: ContextShape) -> int:
    """The scratch of llama.cpp's server, which asks for one row of logits per sequence only.

    Mask, feed-forward and five embeddings at once, and 40 bytes of indices per token; equal to what
    the wheel of late 2026 logs for nine shapes with feed-forward of one to eight embeddings.
    """
    tokens = shape.micro_batch
    mask = cells_per_sequence(shape) * tokens * 2
    # A feed-forward no wider than an embedding fits the gaps two of them leave.
    beside = 5 if spec.feed_forward > spec.hidden else 3
    return mask + tokens * (4 * (3 * spec.feed_forward + beside * spec.hidden) + 40)


def output_bytes(spec: ModelSpec, shape: ContextShape) -> int:
    """Logits handed back to the program, one row per sequence; always in host memory."""
    return spec.vocab * shape.sequences * 4


def _card_share(sizes: list[int], count: int) -> int:
    """Bytes of the fullest card when layers are dealt out evenly and in order."""
    per_card = (len(sizes) + count - 1) // count
    worst = 0
    for start in range(0, len(sizes), max(1, per_card)):
        share = 0
        for size in sizes[start : start + per_card]:
            share += size
        worst = max(worst, share)
    return worst


def footprint(
    spec: ModelSpec, weights: Weights, shape: ContextShape, kind: str, count: int = 1
) -> Footprint:
    """What `count` cards of `kind` ("gpu", "apple", "cpu") need for every layer on the device."""
    caches = layer_cache_bytes(spec, shape)
    kv = 0
    for size in caches:
        kv += size
    compute = served_compute_bytes(spec, shape)
    logits = output_bytes(spec, shape)
    if kind == "cpu":
        overhead = CPU_OVERHEAD_BYTES
        total = weights.total_bytes + kv + compute + logits + overhead
        return Footprint(
            weights_bytes=weights.total_bytes, kv_bytes=kv, state_bytes=0,
            compute_bytes=compute + logits, overhead_bytes=overhead,
            host_bytes=0, card_bytes=total,
        )  # fmt: skip
    each = compute + GPU_OVERHEAD_BYTES
    held = weights.device_bytes
    card = held + kv + each
    if count > 1:
        sizes = [weights.layer_bytes[i] + caches[i] for i in range(len(caches))]
        inside = 0
        for size in weights.layer_bytes:
            inside += size
        # The last card also holds the output layer; which one is fullest depends on rounding.
        card = _card_share(sizes, count) + (held - inside) + each
    return Footprint(
        weights_bytes=held, kv_bytes=kv, state_bytes=0, compute_bytes=compute * count,
        overhead_bytes=GPU_OVERHEAD_BYTES * count,
        host_bytes=weights.embedding_bytes + logits + CPU_OVERHEAD_BYTES, card_bytes=card,
    )  # fmt: skip
