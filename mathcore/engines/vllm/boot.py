"""What a boot of vLLM prints of its memory, worked out before it: the cache left, blocks, tokens.

One card of each pipeline stage stands for its ranks; the stage with the fewest requests decides.
"""

from dataclasses import dataclass, replace
from typing import final

from mathcore.engines.footprint import CPU_OVERHEAD_BYTES, Footprint
from mathcore.engines.options import EngineOptions
from mathcore.engines.vllm.cache import (
    Pages,
    VllmShape,
    block_count,
    ceil_div,
    pages,
    shown_tokens,
    with_context,
)
from mathcore.engines.vllm.memory import (
    NCCL_BYTES,
    CardKind,
    activation_bytes,
    graph_bytes,
    non_torch_bytes,
)
from mathcore.engines.vllm.start import Start, even_layers, shape_of
from mathcore.model.spec import ModelSpec
from mathcore.quant.weights import Weights

MAX_LENGTH = 1 << 24  # tokens; no model is trained for more
# Of one card: weights, cache, compute, driver with NCCL and graphs.
RankBytes = tuple[int, int, int, int]


def stage_weights(spec: ModelSpec, weights: Weights, low: int, high: int) -> int:
    """Weights of layers low to high; the input table goes with the first, the output the last."""
    count = len(spec.layers) - spec.draft_layers
    size, inside = 0, 0
    for i, layer in enumerate(weights.layer_bytes):
        inside += layer
        if low <= i < high:
            size += layer
    if low == 0:
        size += weights.embedding_bytes
    if high == count:
        size += weights.total_bytes - inside - weights.embedding_bytes
        size += weights.output_bytes if weights.tied and low > 0 else 0
    return size


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One card of a stage: what it holds before the cache, and how the cache is cut there."""

    shape: VllmShape
    weights_bytes: int
    non_torch_bytes: int
    activation_bytes: int
    graph_bytes: int
    cut: Pages

    @property
    def held_bytes(self) -> int:
        """Everything but the cache."""
        return self.weights_bytes + self.non_torch_bytes + self.activation_bytes + self.graph_bytes


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Boot:
    """A start on cards of one kind; bytes are of the card with the least room for its cache."""

    start: Start
    stages: tuple[Stage, ...]
    requested_bytes: int  # of each card
    cache_bytes: int  # "Available KV cache memory"
    needed_bytes: int  # what one request of the full context takes there
    blocks: int
    shown_tokens: int  # "GPU KV cache size"; 0 when not one request fits
    concurrency: float  # "Maximum concurrency"
    sequences: int  # requests of the full context at once, as many as it serves

    @property
    def cards(self) -> int:
        """Of all stages together."""
        return self.start.tensor_parallel * self.start.pipeline_parallel

    @property
    def fits(self) -> bool:
        """Whether it would start: room for one request of the full context."""
        return self.sequences > 0


def stages_of(
    spec: ModelSpec, weights: Weights, start: Start, shape: VllmShape, card: CardKind
) -> tuple[Stage, ...]:
    """A card of each stage; SpecError where the cache cannot be cut."""
    count = len(spec.layers) - spec.draft_layers
    out: list[Stage] = []
    low = 0
    for layers in even_layers(count, start.pipeline_parallel):
        high = low + layers
        own = replace(shape, layers=(low, high)) if start.pipeline_parallel > 1 else shape
        beside = non_torch_bytes(own, card)
        if start.pipeline_parallel > 1 and start.tensor_parallel == 1:
            beside += NCCL_BYTES  # stages talk by it, too
        held = stage_weights(spec, weights, low, high)
        out.append(
            Stage(
                shape=own,
                weights_bytes=ceil_div(held, start.tensor_parallel),
                non_torch_bytes=beside,
                activation_bytes=activation_bytes(spec, own),
                graph_bytes=graph_bytes(spec, own, card),
                cut=pages(spec, own),
            )
        )
        low = high
    return tuple(out)


def boot(
    spec: ModelSpec,
    weights: Weights,
    start: Start,
    options: EngineOptions,
    context: int,
    kv_type: str,
    card: CardKind,
    card_bytes: int,
    extra_bytes: int = 0,
) -> Boot:
    """What vLLM prints when it starts so on cards of `card_bytes`.

    `extra_bytes` are weights beside the language model's, on every card of the first stage.
    """
    shape = shape_of(start, options, context, 1, kv_type)
    stages = stages_of(spec, weights, start, shape, card)
    if extra_bytes > 0:
        first = replace(stages[0], weights_bytes=stages[0].weights_bytes + extra_bytes)
        stages = (first, *stages[1:])
    requested = card_bytes * start.utilisation_permille // 1000
    least, room = stages[0], -1.0
    for stage in stages:
        blocks = block_count(stage.cut, requested - stage.held_bytes)
        own = blocks / stage.cut.blocks_per_request
        if room < 0.0 or own < room:
            least, room = stage, own
    cache = max(0, requested - least.held_bytes)
    blocks = block_count(least.cut, cache)
    served = start.max_num_seqs
    return Boot(
        start=start,
        stages=stages,
        requested_bytes=requested,
        cache_bytes=cache,
        needed_bytes=least.cut.request_bytes,
        blocks=blocks,
        shown_tokens=shown_tokens(least.cut, blocks, context) if room >= 1.0 else 0,
        concurrency=max(0.0, room),
        sequences=min(int(room), served),
    )


def longest(spec: ModelSpec, found: Boot, sequences: int = 1) -> int:
    """The longest context at which so many requests fit, as its own error would suggest for one."""

    def fits(context: int) -> bool:
        for stage in found.stages:
            cut = pages(spec, with_context(stage.shape, context))
            room = block_count(cut, found.requested_bytes - stage.held_bytes)
            if room < cut.blocks_per_request * sequences:
                return False
        return True

    low, high = 0, 1
    while high < MAX_LENGTH and fits(high):
        low, high = high, high * 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low


def boot_footprint(found: Boot, sequences: int) -> Footprint:
    """What the start needs for so many requests of the full context, on every card."""
    return ranks_footprint(
        [
            (
                stage.weights_bytes,
                stage.cut.request_bytes * sequences,
                stage.activation_bytes,
                stage.non_torch_bytes + stage.graph_bytes,
            )
            for stage in found.stages
        ],
        found.start.tensor_parallel,
    )


def ranks_footprint(stages: list[RankBytes], ranks: int) -> Footprint:
    """What stages need on all their cards, `ranks` like ones each."""
    weights, cache, compute, beside, cards = 0, 0, 0, 0, list[int]()
    for size in stages:
        weights, cache = weights + size[0] * ranks, cache + size[1] * ranks
        compute, beside = compute + size[2] * ranks, beside + size[3] * ranks
        cards += [size[0] + size[1] + size[2] + size[3]] * ranks
    return Footprint(
        weights_bytes=weights,
        kv_bytes=cache,
        state_bytes=0,
        compute_bytes=compute,
        overhead_bytes=beside,
        host_bytes=CPU_OVERHEAD_BYTES,
        card_bytes=max(cards),
        cards=tuple(cards) if len(cards) > 1 else (),
    )
