"""SGLang 0.5: the share of a card for weights and cache, and the tokens its pool then holds.

Follows server_args.py (mem_fraction_static, chunked prefill and graphs by the card's size) and
model_runner.py (profile_max_num_token). The pool has pages of one token; a window's layers keep
their own, smaller pool, which is counted at its share of 0.8 tokens a token of the others.
"""

from dataclasses import dataclass
from typing import final

from mathcore.engines.footprint import CPU_OVERHEAD_BYTES, Footprint
from mathcore.engines.options import EngineOptions
from mathcore.engines.vllm.cache import VllmShape, ceil_div, state_number_bytes, state_page_bytes
from mathcore.engines.vllm.cache import token_bytes as layer_token_bytes
from mathcore.engines.vllm.memory import NCCL_BYTES, CardKind
from mathcore.model.spec import ModelSpec, SpecError
from mathcore.quant.weights import Weights
from mathcore.units import GIB, MIB

# (a card below so many GiB, tokens of a prefill chunk, sequences graphs are made for: on fewer
# than four ranks and on more).
_BY_SIZE: tuple[tuple[int, int, int, int], ...] = (
    (20, 2048, 8, 8),
    (35, 2048, 24, 80),
    (60, 4096, 32, 160),
    (90, 8192, 256, 512),
    (160, 8192, 256, 512),
    (1 << 20, 16384, 512, 512),
)
META_MIB = 512  # of attention backends
MIB_PER_CHUNK_TOKEN = 1.5  # activations of a prefill
MIB_PER_GRAPH = 2  # and sequence
LARGE_CARD_BYTES, LARGE_RESERVE_MIB = 60 * GIB, 10 * 1024
SWA_RATIO_PERMILLE = 800  # --swa-full-tokens-ratio


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class SglangStart:
    """What SGLang chooses on a card, but for what it is told."""

    static_permille: int  # --mem-fraction-static
    chunk_tokens: int
    graph_sequences: int
    ranks: int


def sglang_start(options: EngineOptions, card_bytes: int, ranks: int) -> SglangStart:
    """The share, the chunk and the graphs of a card of this size."""
    chunk, graphs = 0, 0
    for below, tokens, few, many in _BY_SIZE:
        if card_bytes < below * GIB:
            chunk, graphs = tokens, few if ranks < 4 else many
            break
    chunk = options.max_num_batched_tokens or chunk
    graphs = min(graphs, options.max_num_seqs) if options.max_num_seqs else graphs
    reserve = META_MIB + max(chunk, 2048) * MIB_PER_CHUNK_TOKEN + graphs * MIB_PER_GRAPH
    reserve += ranks / 8 * 1024
    if card_bytes > LARGE_CARD_BYTES:
        reserve = max(reserve, LARGE_RESERVE_MIB)
    share = round(1000 * (1 - reserve * MIB / card_bytes))
    return SglangStart(
        static_permille=options.memory_permille or max(0, share),
        chunk_tokens=chunk,
        graph_sequences=graphs,
        ranks=ranks,
    )


def token_bytes(spec: ModelSpec, shape: VllmShape) -> int:
    """Bytes a token takes of the pools of one rank, windows at their smaller share."""
    full, near = 0, 0
    for layer in spec.layers[: len(spec.layers) - spec.draft_layers]:
        if layer.ratio > 0:
            raise SpecError("compress_ratios", "SGLang's compressed caches are not known")
        if layer.k_elements > 0:
            size = layer_token_bytes(layer, shape)
            if layer.kind in ("sliding", "chunked"):
                near += size
            else:
                full += size
    return full + near * SWA_RATIO_PERMILLE // 1000


def state_bytes(spec: ModelSpec, shape: VllmShape) -> int:
    """States of one sequence on one rank."""
    total = 0
    for layer in spec.layers[: len(spec.layers) - spec.draft_layers]:
        if layer.state is not None:
            number = state_number_bytes(spec, layer.state, shape)
            total += state_page_bytes(layer.state, shape, number)
    return total


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class SglangPool:
    """What SGLang prints when it has loaded: bytes of one card."""

    start: SglangStart
    weights_bytes: int
    static_bytes: int  # weights and pools together
    rest_bytes: int  # what is left of the card for activations, graphs and the driver
    pool_bytes: int
    token_bytes: int
    tokens: int  # max_total_num_tokens
    state_bytes: int  # of a sequence


def sglang_pool(
    spec: ModelSpec,
    weights: Weights,
    start: SglangStart,
    kv_type: str,
    card_bytes: int,
    extra_bytes: int = 0,
) -> SglangPool:
    """The pool left on each card; SpecError where a layer's cache is not known."""
    shape = VllmShape(context=1, tensor_parallel=start.ranks, kv_type=kv_type)
    each, states = token_bytes(spec, shape), state_bytes(spec, shape)
    held = ceil_div(weights.total_bytes, start.ranks) + extra_bytes
    static = card_bytes * start.static_permille // 1000
    pool = max(0, static - held)
    states_kept = states * start.graph_sequences
    tokens = max(0, pool - states_kept) // each if each > 0 else 0
    return SglangPool(
        start=start,
        weights_bytes=held,
        static_bytes=static,
        rest_bytes=max(0, card_bytes - static),
        pool_bytes=pool,
        token_bytes=each,
        tokens=tokens,
        state_bytes=states,
    )


def sglang_footprint(found: SglangPool, context: int, batch: int, card: CardKind) -> Footprint:
    """What `batch` requests of the full context need on every rank, reserve and all."""
    ranks = found.start.ranks
    kept = found.token_bytes * context * batch
    states = found.state_bytes * max(batch, found.start.graph_sequences)
    beside = card.non_torch_bytes + found.start.graph_sequences * MIB_PER_GRAPH * MIB
    beside = min(found.rest_bytes, beside + (NCCL_BYTES if ranks > 1 else 0))
    compute = int(found.start.chunk_tokens * MIB_PER_CHUNK_TOKEN * MIB)
    compute = min(found.rest_bytes - beside, compute)  # a larger share leaves less, and may not do
    card_bytes = found.weights_bytes + kept + states + compute + beside
    return Footprint(
        weights_bytes=found.weights_bytes * ranks,
        kv_bytes=kept * ranks,
        state_bytes=states * ranks,
        compute_bytes=compute * ranks,
        overhead_bytes=beside * ranks,
        host_bytes=CPU_OVERHEAD_BYTES,
        card_bytes=card_bytes,
        cards=(card_bytes,) * ranks if ranks > 1 else (),
    )
