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


def _bounds(count: int, placing: Placing) -> list[int]:
    """Where each card's layers begin, and the end (`count` + 1: the output layer is one more).

    Card c takes layer i when (i - first) x all shares lies below its cumulated share x taken.
    """
    wanted = count + 1 if placing.gpu_layers == ALL_LAYERS else placing.gpu_layers
    taken = min(wanted, count + 1)
    first = count + 1 - taken
    total = sum(placing.split)
    out, before = [first], 0
    for share in placing.split:
        before += share
        out.append(first + (before * taken + total - 1) // total)
    out[-1] = count + 1
    return out


def card_of(i: int, layers: int, placing: Placing) -> int:
    """The card of layer i (`layers` = the output layer), -1 for host memory."""
    bounds = _bounds(layers, placing)
    if i < bounds[0]:
        return -1
    for card in range(len(placing.split)):
        if i < bounds[card + 1]:
            return card
    return len(placing.split) - 1


@final
class Sums:
    """Bytes of the first layers, added up once, so that any range of them costs a subtraction."""

    __slots__ = ("caches", "experts", "inside", "layers", "spec", "weights", "weights_sum")

    def __init__(self, spec: ModelSpec, weights: Weights, shape: ContextShape) -> None:
        caches = layer_cache_bytes(plan_of(spec), shape)
        self.spec = spec
        self.weights = weights
        self.layers = len(spec.layers)
        self.weights_sum = [0]
        self.experts = [0]
        self.caches = [0]
        for i in range(self.layers):
            self.weights_sum.append(self.weights_sum[i] + weights.layer_bytes[i])
            self.experts.append(self.experts[i] + weights.expert_bytes[i])
            self.caches.append(self.caches[i] + (caches[i] if i < len(caches) else 0))
        self.inside = self.weights_sum[self.layers]

    def outside(self, on_card: bool) -> int:
        """What lies in no layer and in no input table; a tied output is a copy on a card."""
        size = self.weights.total_bytes - self.inside - self.weights.host_bytes
        return size + (self.weights.output_bytes if on_card and self.weights.tied else 0)


@final
class Shares:
    """Bytes by place: of each card, and of host memory."""

    __slots__ = ("caches", "host_caches", "host_weights", "layers", "weights")

    def __init__(self, cards: int) -> None:
        self.weights = [0] * cards
        self.caches = [0] * cards
        self.layers = [0] * cards
        self.host_weights = 0
        self.host_caches = 0

    def add(self, sums: Sums, card: int, low: int, high: int, off: int) -> None:
        """Layers low to high on a card, the experts of those below `off` in host memory."""
        moved = max(low, min(high, off))
        experts = sums.experts[moved] - sums.experts[low]
        self.weights[card] += sums.weights_sum[high] - sums.weights_sum[low] - experts
        self.host_weights += experts
        self.caches[card] += sums.caches[high] - sums.caches[low]
        self.layers[card] += high - low


def _shares(sums: Sums, placing: Placing) -> Shares:
    count = sums.layers
    out = Shares(len(placing.split))
    bounds = _bounds(count, placing)
    out.host_weights = sums.weights_sum[min(bounds[0], count)] + sums.weights.host_bytes
    out.host_caches = sums.caches[min(bounds[0], count)]
    for card in range(len(placing.split)):
        low, high = min(bounds[card], count), min(bounds[card + 1], count)
        out.add(sums, card, low, high, placing.cpu_experts)
        if bounds[card] <= count < bounds[card + 1]:  # the output layer's card
            out.weights[card] += sums.outside(True)
            out.layers[card] += 1
    if bounds[0] > count:
        out.host_weights += sums.outside(False)
    return out


def placed_footprint(
    spec: ModelSpec, weights: Weights, shape: ContextShape, placing: Placing,
    sums: Sums | None = None,
) -> Footprint:  # fmt: skip
    """Terms over all cards, bytes of each card in `cards`, and what host memory holds.

    `sums` spares adding the layers up again for another placing of the same.
    """
    if not placing.split or min(placing.split) < 0 or max(placing.split) == 0:
        raise CardError("split", "needs a share above 0 for at least one card")
    if placing.gpu_layers < ALL_LAYERS or placing.cpu_experts < 0:
        raise CardError("gpu_layers", "and cpu_experts must not be negative")
    shares = _shares(Sums(spec, weights, shape) if sums is None else sums, placing)
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
