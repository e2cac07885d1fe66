"""llama.cpp on several cards, or partly in host memory: bytes of every card and of the host.

Which layer goes where follows llama-model.cpp: the last `gpu_layers` of the layers and the output
layer, dealt to the cards in proportion to `split`; a layer's cache goes with it.
"""

from dataclasses import dataclass
from typing import final

from mathcore.footprint import CPU_OVERHEAD_BYTES, GPU_OVERHEAD_BYTES, ContextShape, Footprint
from mathcore.llamacpp import compute_bytes, host_scratch_bytes, output_bytes, plan_of
from mathcore.llamacpp_cache import kv_bytes, layer_cache_bytes, state_bytes
from mathcore.model import CardError, ModelSpec
from mathcore.weights import Weights

ALL_LAYERS = -1


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Placing:
    """What llama.cpp is told: -ngl, --n-cpu-moe and --tensor-split.

    `split` has one share per card (their free bytes by default); one card needs none.
    """

    gpu_layers: int = ALL_LAYERS  # the output layer counts as one more
    cpu_experts: int = 0  # layers, from the first, whose experts stay in host memory
    split: tuple[int, ...] = (1,)


def card_of(i: int, layers: int, placing: Placing) -> int:
    """The card of layer i (`layers` = the output layer), -1 for host memory."""
    wanted = layers + 1 if placing.gpu_layers == ALL_LAYERS else placing.gpu_layers
    taken = min(wanted, layers + 1)
    first = layers + 1 - taken
    if i < first:
        return -1
    total, before = 0, 0
    for share in placing.split:
        total += share
    for card, share in enumerate(placing.split):
        before += share
        # The first card whose cumulated share lies beyond the layer's place.
        if (i - first) * total < before * taken:
            return card
    return len(placing.split) - 1


@final
class Shares:
    """Bytes by place while they are added up."""

    __slots__ = ("caches", "host_caches", "host_weights", "layers", "weights")

    def __init__(self, cards: int) -> None:
        self.weights = [0] * cards
        self.caches = [0] * cards
        self.layers = [0] * cards
        self.host_weights = 0
        self.host_caches = 0

    def add(self, card: int, weights: int, cache: int) -> None:
        if card < 0:
            self.host_weights += weights
            self.host_caches += cache
        else:
            self.weights[card] += weights
            self.caches[card] += cache
            self.layers[card] += 1


def _shares(spec: ModelSpec, weights: Weights, shape: ContextShape, placing: Placing) -> Shares:
    count = len(spec.layers)
    caches = layer_cache_bytes(plan_of(spec), shape)
    out = Shares(len(placing.split))
    for i in range(count):
        card = card_of(i, count, placing)
        size = weights.layer_bytes[i]
        if card >= 0 and i < placing.cpu_experts:
            out.host_weights += weights.expert_bytes[i]
            size -= weights.expert_bytes[i]
        out.add(card, size, caches[i] if i < len(caches) else 0)
    inside = 0
    for size in weights.layer_bytes:
        inside += size
    last = card_of(count, count, placing)
    outside = weights.total_bytes - inside - weights.host_bytes
    if last >= 0 and weights.tied:
        outside += weights.output_bytes  # a copy beside the host's table
    out.add(last, outside, 0)
    out.host_weights += weights.host_bytes
    return out


def placed_footprint(
    spec: ModelSpec, weights: Weights, shape: ContextShape, placing: Placing
) -> Footprint:
    """Terms over all cards, bytes of each card in `cards`, and what host memory holds."""
    if not placing.split or min(placing.split) < 0 or max(placing.split) == 0:
        raise CardError("split", "needs a share above 0 for at least one card")
    if placing.gpu_layers < ALL_LAYERS or placing.cpu_experts < 0:
        raise CardError("gpu_layers", "and cpu_experts must not be negative")
    shares = _shares(spec, weights, shape, placing)
    scratch = compute_bytes(spec, shape)
    cards: list[int] = []
    held, caches, used = 0, 0, 0
    for i in range(len(placing.split)):
        busy = shares.layers[i] > 0
        used += int(busy)
        beside = scratch + GPU_OVERHEAD_BYTES if busy else 0
        cards.append(shares.weights[i] + shares.caches[i] + beside)
        held += shares.weights[i]
        caches += shares.caches[i]
    plan = plan_of(spec)
    states = state_bytes(plan, shape)
    everything = kv_bytes(plan, shape) + states
    # States of layers in host memory are few; they are counted with its caches.
    state = states * caches // everything if everything > 0 else 0
    on_host = shares.host_caches > 0 or shares.host_weights > weights.host_bytes
    host = shares.host_weights + shares.host_caches + output_bytes(spec, shape)
    host += scratch if on_host else host_scratch_bytes(spec, shape)
    return Footprint(
        weights_bytes=held, kv_bytes=caches - state, state_bytes=state,
        compute_bytes=scratch * used, overhead_bytes=GPU_OVERHEAD_BYTES * used,
        host_bytes=host + CPU_OVERHEAD_BYTES, card_bytes=max(cards), cards=tuple(cards),
    )  # fmt: skip
