"""What vLLM holds besides the cache, and the cache that is left on a card.

Constants are Apron's, fitted on 28 boots of vLLM 0.29/0.30 (4090, L4, A6000, A100, H100): its
budgets were within 0.5 GiB on 27 of them. Bytes of one card; tensor parallel ranks are alike.
"""

from dataclasses import dataclass
from typing import final

from mathcore.engines.footprint import CPU_OVERHEAD_BYTES, Footprint
from mathcore.engines.vllm.cache import (
    Pages,
    VllmShape,
    block_count,
    ceil_div,
    largest_context,
    pages,
    shown_tokens,
)
from mathcore.model.spec import ModelSpec
from mathcore.units import KIB, MIB

UTILISATION_PERMILLE = 920  # vLLM's default share of the card's memory
ACTIVATION_BYTES = 2  # per number, 16-bit models
MAX_GRAPH_BATCH = 512  # batch sizes a graph is captured for end here
MIB_PER_LATENT_GRAPH = 1  # 0.63 to 1.39 MiB measured, per layer and graph
NCCL_BYTES = 342 * MIB  # aiconfigurator's table, two ranks; 392 MiB at eight


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class CardKind:
    """What differs by architecture: memory of the driver and kernels, and of one graph's layer."""

    name: str
    non_torch_bytes: int
    graph_bytes: int


AMPERE = CardKind(name="sm8x", non_torch_bytes=112 * MIB, graph_bytes=374 * KIB)
HOPPER = CardKind(name="sm90", non_torch_bytes=307 * MIB, graph_bytes=537 * KIB)


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class VllmBudget:
    """One card's memory as vLLM shares it out, and what the cache then holds."""

    requested_bytes: int
    weights_bytes: int
    non_torch_bytes: int
    activation_bytes: int
    graph_bytes: int
    cache_bytes: int
    blocks: int
    shown_tokens: int  # "GPU KV cache size", 0 when not even one request fits
    largest_context: int


def graph_count(sequences: int) -> int:
    """Batch sizes captured: 1, 2, 4, every 8 up to 256, every 16 above, at most 512."""
    most = min(sequences, MAX_GRAPH_BATCH)
    count = 0
    for size in (1, 2, 4):
        count += int(size <= most)
    count += min(most, 248) // 8
    if most >= 256:
        count += 1 + (most - 256) // 16
    return count


def graph_bytes(spec: ModelSpec, shape: VllmShape, card: CardKind) -> int:
    """CUDA graphs of the decode step."""
    if not shape.graphs:
        return 0
    latent = any(layer.kind == "latent" for layer in spec.layers)
    each = MIB_PER_LATENT_GRAPH * MIB if latent else card.graph_bytes
    low, high = shape.layers if shape.layers != (0, 0) else (0, len(spec.layers))
    return (high - low) * graph_count(shape.served) * each


def activation_bytes(spec: ModelSpec, shape: VllmShape) -> int:
    """The most a forward pass holds: compiling, experts' workspace, or sampling."""
    tokens, wide = shape.batched_tokens, spec.hidden * ACTIVATION_BYTES
    vocab = ceil_div(spec.vocab, shape.tensor_parallel)
    compiling = vocab * wide + 2 * tokens * wide
    workspace = 0
    for layer in spec.layers:
        if layer.experts > 0:
            inner = layer.expert_feed_forward
            each = max(inner, spec.hidden) + max(2 * inner, spec.hidden)
            workspace = max(workspace, tokens * layer.experts_used * each * ACTIVATION_BYTES)
    sampling = shape.served * (spec.vocab + 2 * ceil_div(spec.vocab, 32)) * 4
    return max(compiling, workspace + 2 * tokens * wide, sampling)


def non_torch_bytes(shape: VllmShape, card: CardKind) -> int:
    """Driver, kernels and, between ranks, NCCL's buffers."""
    return card.non_torch_bytes + (NCCL_BYTES if shape.tensor_parallel > 1 else 0)


def budget(
    spec: ModelSpec,
    weights_bytes: int,
    shape: VllmShape,
    card: CardKind,
    card_bytes: int,
    utilisation_permille: int = UTILISATION_PERMILLE,
) -> VllmBudget:
    """What a boot on cards of `card_bytes` would report; `weights_bytes` are of the whole model."""
    requested = card_bytes * utilisation_permille // 1000
    held = ceil_div(weights_bytes, shape.tensor_parallel)
    beside = non_torch_bytes(shape, card)
    active, graphs = activation_bytes(spec, shape), graph_bytes(spec, shape, card)
    cache = max(0, requested - held - beside - active - graphs)
    cut = pages(spec, shape)
    blocks = block_count(cut, cache)
    enough = blocks >= cut.blocks_per_request
    return VllmBudget(
        requested_bytes=requested,
        weights_bytes=held,
        non_torch_bytes=beside,
        activation_bytes=active,
        graph_bytes=graphs,
        cache_bytes=cache,
        blocks=blocks,
        shown_tokens=shown_tokens(cut, blocks, shape.context) if enough else 0,
        largest_context=largest_context(spec, shape, cache),
    )


def _needed(cut: Pages, shape: VllmShape) -> int:
    return cut.request_bytes * shape.sequences


def vllm_footprint(
    spec: ModelSpec, weights_bytes: int, shape: VllmShape, card: CardKind
) -> Footprint:
    """What vLLM needs for every sequence at full length, all ranks; it takes more when told to."""
    ranks = shape.tensor_parallel
    each = ceil_div(weights_bytes, ranks)
    kv = _needed(pages(spec, shape), shape)
    beside = non_torch_bytes(shape, card) + graph_bytes(spec, shape, card)
    active = activation_bytes(spec, shape)
    return Footprint(
        weights_bytes=each * ranks,
        kv_bytes=kv * ranks,
        state_bytes=0,
        compute_bytes=active * ranks,
        overhead_bytes=beside * ranks,
        host_bytes=CPU_OVERHEAD_BYTES,
        card_bytes=each + kv + active + beside,
        cards=(each + kv + active + beside,) * ranks if ranks > 1 else (),
    )
