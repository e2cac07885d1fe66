"""llama.cpp on several cards, or partly in host memory: bytes of every card and of the host.

Which layer goes where follows llama-model.cpp: the last `gpu_layers` of the layers and the output
layer, dealt to the cards in proportion to `split`; a layer's cache goes with it.
"""

from dataclasses import dataclass
from typing import final

from mathcore.engines.footprint import (
    CPU_OVERHEAD_BYTES,
    GPU_OVERHEAD_BYTES,
    ContextShape,
    Footprint,
)
from mathcore.engines.llamacpp.cache import kv_bytes, layer_cache_bytes, state_bytes
from mathcore.engines.llamacpp.graph_input import Staged
from mathcore.engines.llamacpp.memory import (
    PIPELINE_COPIES,
    cache_groups,
    compute_bytes,
    host_compute_bytes,
    output_bytes,
)
from mathcore.model.spec import ModelSpec, SpecError
from mathcore.quant.weights import Weights, is_input, read_bytes, tensor_sizes

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


def bounds_of(count: int, gpu_layers: int, split: tuple[int, ...]) -> list[int]:
    """Where each card's layers begin, and the end (`count` + 1: the output layer is one more).

    Card c takes layer i when (i - first) x all shares lies below its cumulated share x taken.
    """
    wanted = count + 1 if gpu_layers == ALL_LAYERS else gpu_layers
    taken = min(wanted, count + 1)
    first = count + 1 - taken
    total = sum(split)
    out, before = [first], 0
    for share in split:
        before += share
        out.append(first + (before * taken + total - 1) // total)
    out[-1] = count + 1
    return out


@final
class Moved:
    """Tensors that overrides keep in host memory: bytes by layer, and of no layer."""

    __slots__ = ("active_bytes", "largest", "layer_bytes", "outside_bytes")

    def __init__(self, spec: ModelSpec, quant: str, names: frozenset[str]) -> None:
        sizes = tensor_sizes(spec, quant)
        layers, outside, active = [0] * len(spec.layers), 0, 0
        largest: dict[str, int] = {}
        for i, tensor in enumerate(spec.tensors):
            if tensor.name not in names or is_input(tensor):
                continue  # input tables lie there anyway
            active += read_bytes(spec, tensor, sizes[i])
            if 0 <= tensor.layer < len(layers):
                layers[tensor.layer] += sizes[i]
                base = tensor.name.split(".", 2)[-1]
                largest[base] = max(sizes[i], largest.get(base, 0))
            else:
                outside += sizes[i]
        self.layer_bytes = tuple(layers)
        self.outside_bytes = outside
        self.active_bytes = active  # read for each generated token
        self.largest = tuple(largest.items())


@final
class Sums:
    """Bytes of the first layers, added up once, so that any range of them costs a subtraction; and
    what a card or the host holds beside layers."""

    __slots__ = (
        "caches",
        "experts",
        "host_computes",
        "inside",
        "kept",
        "layers",
        "logits",
        "compute",
        "moved",
        "moved_outside",
        "pipelined",
        "spec",
        "states",
        "shape",
        "staged",
        "weights",
        "weights_sum",
    )

    def __init__(
        self,
        spec: ModelSpec,
        weights: Weights,
        shape: ContextShape,
        moved: Moved | None = None,
    ) -> None:
        """`moved`: tensors that overrides keep in host memory, instead of a layer's experts."""
        cache = cache_groups(spec)
        away = weights.expert_bytes if moved is None else moved.layer_bytes
        self.moved = moved
        self.moved_outside = 0 if moved is None else moved.outside_bytes
        caches = layer_cache_bytes(cache, shape)
        self.spec = spec
        self.shape = shape
        self.weights = weights
        self.staged: dict[str, int] = {}  # compute buffers where the host holds some layers
        self.layers = len(spec.layers)
        self.weights_sum = [0]
        self.experts = [0]
        self.caches = [0]
        for i in range(self.layers):
            self.weights_sum.append(self.weights_sum[i] + weights.layer_bytes[i])
            self.experts.append(self.experts[i] + away[i])
            self.caches.append(self.caches[i] + (caches[i] if i < len(caches) else 0))
        self.inside = self.weights_sum[self.layers]
        self.compute = compute_bytes(spec, shape, card=True)
        self.pipelined: dict[tuple[int, int], int] = {}  # compute buffers of cards in a pipeline
        self.host_computes: dict[int, int] = {}  # by copies
        self.logits = output_bytes(spec, shape)
        self.states = state_bytes(cache, shape)
        self.kept = kv_bytes(cache, shape) + self.states

    def bytes_outside_layers(self, *, on_card: bool) -> int:
        """What lies in no layer and in no input table; a tied output is a copy on a card."""
        size = self.weights.total_bytes - self.inside - self.weights.host_bytes
        if on_card:
            size += self.shape.beside.total_bytes - self.moved_outside
        return size + (self.weights.output_bytes if on_card and self.weights.tied else 0)

    def first_compute(self, gpu_layers: int, off: int) -> int:
        """The compute buffer of the first card: what the host holds is copied there to compute."""
        away = gpu_layers != ALL_LAYERS and gpu_layers <= self.layers
        if not away and off <= 0:
            return self.compute
        part = "layers" if away else "experts"
        found = self.staged.get(part)
        if found is None:
            staged = Staged(self._largest(experts=not away), cache=away)
            found = compute_bytes(self.spec, self.shape, card=True, staged=staged)
            self.staged[part] = found
        return found

    def _largest(self, *, experts: bool) -> dict[str, int]:
        """Bytes of each tensor of a layer by its name, the largest layer's; of the moved alone."""
        if experts and self.moved is not None:
            return dict(self.moved.largest)
        return {name: size for name, size in self.weights.largest if not experts or "exps." in name}

    def in_pipeline(self, low: int, high: int) -> int:
        """The compute buffer of a card in a pipeline with layers low to high."""
        if low >= high:
            return 0
        found = self.pipelined.get((low, high))
        if found is None:
            own = self.in_graph(low, high)
            found = compute_bytes(
                self.spec, self.shape, card=True, layers=own, copies=PIPELINE_COPIES
            )
            self.pipelined[(low, high)] = found
        return found

    def in_graph(self, low: int, high: int) -> tuple[int, int]:
        """Layers as the graph counts them: those that draft are another's."""
        top = self.layers - self.spec.draft_layers
        return (min(low, top), top + 1 if high > self.layers else min(high, top))

    def computes(self, bounds: list[int], gpu_layers: int, off: int) -> list[int]:
        """Each card's compute buffer; where the host holds something, as if of the whole graph."""
        cards = len(bounds) - 1
        if self.copies(cards, gpu_layers, off) > 1:
            return [self.in_pipeline(bounds[i], bounds[i + 1]) for i in range(cards)]
        out = [0] * cards
        compute = self.first_compute(gpu_layers, off)
        for i in range(cards):
            if bounds[i] < bounds[i + 1]:
                out[i], compute = compute, self.compute
        return out

    def copies(self, cards: int, gpu_layers: int, off: int) -> int:
        """Copies of each input: cards that hold everything are a pipeline (llama-context.cpp)."""
        whole = gpu_layers == ALL_LAYERS or gpu_layers > self.layers
        return PIPELINE_COPIES if whole and cards > 1 and off <= 0 else 1

    def on_card(self, low: int, high: int, off: int, beside: int) -> int:
        """Bytes of layers low to high and their caches, without the experts of those below `off`.

        `beside` is the compute buffer and what the back end holds. The output layer counts as one
        more; a card without layers holds nothing.
        """
        if low >= high:
            return 0
        a, b = min(low, self.layers), min(high, self.layers)
        moved = max(a, min(b, off))
        size = self.weights_sum[b] - self.weights_sum[a] + self.caches[b] - self.caches[a]
        size -= self.experts[moved] - self.experts[a]
        if high > self.layers:
            size += self.bytes_outside_layers(on_card=True)
        return size + beside

    def on_host(self, gpu_layers: int, off: int, copies: int = 1) -> int:
        """Bytes of host memory beside the cards, which keep `copies` of each input."""
        wanted = self.layers + 1 if gpu_layers == ALL_LAYERS else gpu_layers
        first = max(0, self.layers + 1 - wanted)
        below = min(first, self.layers)
        moved = max(below, min(self.layers, off))
        weights = self.weights_sum[below] + self.experts[moved] - self.experts[below]
        outside = self.bytes_outside_layers(on_card=False)
        weights += outside if first > self.layers else self.moved_outside
        caches = self.caches[below]
        # States of layers in host memory are few; they are counted with its caches. Large batches
        # are computed on the card, whatever the layer; without any card layer the host needs all.
        compute = self.compute if wanted == 0 else self.host_compute(copies)
        return weights + self.weights.host_bytes + caches + self.logits + compute

    def host_compute(self, copies: int) -> int:
        """What the host prepares for the cards."""
        found = self.host_computes.get(copies)
        if found is None:
            found = host_compute_bytes(self.spec, self.shape, copies)
            self.host_computes[copies] = found
        return found


def lacking_bytes(
    sums: Sums,
    free: tuple[int, ...],
    gpu_layers: int,
    off: int,
    backend_bytes: int = GPU_OVERHEAD_BYTES,
) -> int:
    """Bytes the fullest card lacks of its share of `free`, as llama.cpp deals; 0 or less fits."""
    total = 0
    for room in free:
        total += room
    if total <= 0:
        raise SpecError("split", "needs a share above 0 for at least one card")
    bounds = bounds_of(sums.layers, gpu_layers, free)
    computes = sums.computes(bounds, gpu_layers, off)
    worst = -max(free)
    for i, room in enumerate(free):
        beside = computes[i] + backend_bytes
        worst = max(worst, sums.on_card(bounds[i], bounds[i + 1], off, beside) - room)
    return worst


def placed_footprint(
    spec: ModelSpec,
    weights: Weights,
    shape: ContextShape,
    placing: Placing,
    sums: Sums | None = None,
    backend_bytes: tuple[int, ...] = (),
) -> Footprint:
    """Terms over all cards, bytes of each card in `cards`, and what host memory holds.

    `sums` spares adding the layers up again for another placing of the same; `backend_bytes` are
    what each card's back end holds (`device.backends`), CUDA's where nobody says.
    """
    _check(placing)
    backends = backend_bytes or (GPU_OVERHEAD_BYTES,) * len(placing.split)
    return _placed(Sums(spec, weights, shape) if sums is None else sums, placing, backends)


def _check(placing: Placing) -> None:
    if not placing.split or min(placing.split) < 0 or max(placing.split) == 0:
        raise SpecError("split", "needs a share above 0 for at least one card")
    if placing.gpu_layers < ALL_LAYERS or placing.cpu_experts < 0:
        raise SpecError("gpu_layers", "and cpu_experts must not be negative")


def _placed(sums: Sums, placing: Placing, backends: tuple[int, ...]) -> Footprint:
    off, wanted = placing.cpu_experts, placing.gpu_layers
    bounds = bounds_of(sums.layers, wanted, placing.split)
    computes = sums.computes(bounds, wanted, off)
    cards, overhead = [0] * len(backends), 0
    for i, backend in enumerate(backends):
        cards[i] = sums.on_card(bounds[i], bounds[i + 1], off, computes[i] + backend)
        overhead += backend if cards[i] > 0 else 0
    if max(cards) == 0:  # a card without layers still computes large batches for the host
        computes[0], overhead = sums.first_compute(wanted, off), backends[0]
        cards[0] = computes[0] + overhead + sums.shape.beside.total_bytes
    caches = sums.caches[sums.layers] - sums.caches[min(bounds[0], sums.layers)]
    on_host = sums.on_host(wanted, off, sums.copies(len(backends), wanted, off))
    return _terms(sums, cards, caches, sum(computes), overhead, on_host + CPU_OVERHEAD_BYTES)


def _terms(
    sums: Sums, cards: list[int], caches: int, compute: int, overhead: int, on_host: int
) -> Footprint:
    """What the cards hold by term: weights are what is none of the others."""
    beside = sums.shape.beside
    state = sums.states * caches // sums.kept if sums.kept > 0 else 0
    return Footprint(
        weights_bytes=sum(cards) - compute - overhead - caches - beside.total_bytes,
        kv_bytes=caches - state,
        state_bytes=state,
        compute_bytes=compute,
        overhead_bytes=overhead,
        host_bytes=on_host,
        card_bytes=max(cards),
        projector_bytes=beside.projector_bytes + beside.projector_compute_bytes,
        draft_bytes=beside.draft_bytes,
        adapter_bytes=beside.adapter_bytes,
        cards=tuple(cards),
    )
