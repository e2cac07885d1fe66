"""Scores of attention that MLX holds in memory while it reads a prompt, where no kernel is fused.

Follows mlx's dispatch (backend/metal/scaled_dot_product_attention.cpp, v0.20 to August 2026) and
mlx-lm's own attention: heads x chunk x context numbers of 16 bits, one layer at a time. Measured:
Qwen3.6-27B, head size 256: +3.2 GB at 32k, +12.9 at 128k, +24.2 at 240k (omlx#2025, rMLX#337).
"""

from dataclasses import dataclass
from typing import final

from mathcore.engines.options import release
from mathcore.model.spec import Layer, ModelSpec, SpecError

BUILD = "0.32.1"  # the mlx a question without one is about: the newest released in August 2026
PREFILL_CHUNK = 2048  # tokens of one prefill step
NUMBER = 2  # bytes: scores have the model's own 16 bits
# Head sizes whose prompts have a fused kernel, from each release on. Before 0.24 any mask, and a
# prompt in chunks has one, kept the kernel from being used.
_FUSED: tuple[tuple[tuple[int, ...], tuple[int, ...]], ...] = (
    ((0, 24, 0), (64, 80, 128)),
    ((0, 32, 1), (64, 72, 80, 96, 128)),
)
# 256 is fused on GPUs with neural accelerators (M5, macOS 26.2), for chunks of 1024 and more.
_NEURAL_SINCE = (0, 32, 2)
_NEURAL_HEAD = 256
NEURAL_CHIP = 5  # M5
_NEURAL_CHUNK = 1024


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class MlxShape:
    """What mlx-lm is asked: `kv_bits` 0 keeps the cache in 16 bits."""

    context: int
    sequences: int = 1
    kv_bits: int = 0
    prefill_chunk: int = PREFILL_CHUNK
    build: str = BUILD  # of mlx
    neural: bool = False  # its GPU has neural accelerators and a macOS that lets MLX use them


def has_neural(chip: str) -> bool:
    """Whether a chip's GPU has neural accelerators: Apple's M5 and later."""
    for word in chip.lower().split():
        if word.startswith("m") and word[1:].isdigit():
            return int(word[1:]) >= NEURAL_CHIP
    return False


def parse_build(text: str) -> tuple[int, int, int]:
    """The numbers of a release of mlx; SpecError for anything else."""
    try:
        return release(text)
    except ValueError as error:
        raise SpecError("build", str(error)) from error


def fused(layer: Layer, shape: MlxShape) -> bool:
    """Whether a layer's prompt is read without its scores ever being whole in memory."""
    if layer.kind == "latent" or shape.kv_bits > 0:
        return False  # mlx-lm makes the rotary half's scores itself, and a quantised cache's
    build, value = parse_build(shape.build), layer.v_head_dim or layer.head_dim
    if value != layer.head_dim:
        return False
    if layer.head_dim == _NEURAL_HEAD:
        big = min(shape.prefill_chunk, shape.context) >= _NEURAL_CHUNK
        return shape.neural and build >= _NEURAL_SINCE and big
    known: tuple[int, ...] = ()
    for since, sizes in _FUSED:
        if build >= since:
            known = sizes
    return layer.head_dim in known


def _seen(layer: Layer, shape: MlxShape) -> int:
    """Keys a chunk's last token is compared with."""
    if layer.kind in ("sliding", "chunked") and layer.window > 0:
        return min(shape.context, layer.window - 1 + shape.prefill_chunk)
    return shape.context


def score_bytes(layer: Layer, shape: MlxShape) -> int:
    """Scores of one layer at the prompt's last chunk, all sequences; 0 where they are fused."""
    if layer.kind == "none" or fused(layer, shape):
        return 0
    chunk = min(shape.prefill_chunk, shape.context)
    return layer.heads * chunk * _seen(layer, shape) * NUMBER * shape.sequences


def _expanded(spec: ModelSpec) -> int:
    """Numbers a latent layer's keys and values have per token once they are expanded."""
    most = 0
    for i, layer in enumerate(spec.layers):
        if layer.kind != "latent":
            continue
        rank, numbers = 0, 0
        for tensor in spec.tensors:
            if tensor.layer != i:
                continue
            if tensor.name.endswith("attn_kv_a_norm.weight"):
                rank = tensor.columns
            if tensor.name.endswith(("attn_k_b.weight", "attn_v_b.weight", "attn_kv_b.weight")):
                numbers += tensor.columns * tensor.rows
        most = max(most, numbers // rank if rank > 0 else 0)
        break  # one layer's are alive at a time, and latent layers are alike
    return most


def attention_bytes(spec: ModelSpec, shape: MlxShape) -> int:
    """The most one layer's attention holds beside its cache: scores, and latents expanded."""
    scores = 0
    for layer in spec.layers:
        scores = max(scores, score_bytes(layer, shape))
    return scores + _expanded(spec) * shape.context * NUMBER * shape.sequences
