"""The inverse questions: what is the most that fits, answered by bisection.

Every function here grows with what it is asked for; an answer of 0, "" or -1 means nothing fits.
"""

from typing import final

from mathcore.engines.footprint import CPU_OVERHEAD_BYTES, ContextShape, Footprint
from mathcore.engines.llamacpp.cache import CELL_PAD
from mathcore.engines.llamacpp.memory import footprint
from mathcore.engines.llamacpp.offload import (
    ALL_LAYERS,
    Placing,
    Sums,
    lacking_bytes,
    placed_footprint,
)
from mathcore.engines.mlx import MlxShape, mlx_footprint
from mathcore.engines.vllm.cache import VllmShape, block_count, pages
from mathcore.model.spec import ModelSpec
from mathcore.quant.weights import Weights, weigh

MAX_CONTEXT = 1 << 24  # tokens; no model is trained for more
MAX_SEQUENCES = 1 << 16
LLAMACPP = "llama.cpp"
MLX = "mlx"


def with_context(shape: ContextShape, context: int, sequences: int) -> ContextShape:
    """The same question for another length and number of sequences."""
    return ContextShape(
        context=context,
        sequences=sequences,
        kv_type=shape.kv_type,
        v_type=shape.v_type,
        micro_batch=shape.micro_batch,
        flash=shape.flash,
        unified=shape.unified,
        full_window=shape.full_window,
    )


@final
class Room:
    """A model at one precision on one device, and the bytes free there.

    `engine` is "llama.cpp" or "mlx"; `free_bytes` are of one card of `count`. vLLM's answers come
    from its pages (`vllm_sequences`, `vllm.largest_context`).
    """

    __slots__ = ("count", "engine", "free_bytes", "kind", "spec", "weights")

    def __init__(
        self, spec: ModelSpec, weights: Weights, engine: str, kind: str, free_bytes: int, count: int
    ) -> None:
        self.spec = spec
        self.weights = weights
        self.engine = engine
        self.kind = kind
        self.free_bytes = free_bytes
        self.count = count

    def need(self, shape: ContextShape) -> Footprint:
        if self.engine == MLX:
            asked = MlxShape(context=shape.context, sequences=shape.sequences)
            return mlx_footprint(self.spec, self.weights.total_bytes, asked)
        return footprint(self.spec, self.weights, shape, self.kind, self.count)

    def fits(self, shape: ContextShape) -> bool:
        return self.need(shape).card_bytes <= self.free_bytes


def largest_context(room: Room, shape: ContextShape) -> int:
    """The most tokens per sequence, in the engine's own steps, at most what the model knows."""
    trained = room.spec.context_length
    most = trained if trained > 0 else MAX_CONTEXT
    if room.fits(with_context(shape, most, shape.sequences)):
        return most
    low, high = 0, (most + CELL_PAD - 1) // CELL_PAD
    while high - low > 1:
        middle = (low + high) // 2
        if room.fits(with_context(shape, middle * CELL_PAD, shape.sequences)):
            low = middle
        else:
            high = middle
    return low * CELL_PAD


def largest_sequences(room: Room, shape: ContextShape) -> int:
    """The most sequences of `shape.context` tokens at once."""
    low, high = 0, 1
    while high <= MAX_SEQUENCES and room.fits(with_context(shape, shape.context, high)):
        low, high = high, high * 2
    while high - low > 1:
        middle = (low + high) // 2
        if room.fits(with_context(shape, shape.context, middle)):
            low = middle
        else:
            high = middle
    return low


def best_quant(
    spec: ModelSpec,
    shape: ContextShape,
    kind: str,
    free_bytes: int,
    count: int,
    quants: tuple[str, ...],
) -> str:
    """The first of `quants` (best first) whose llama.cpp run fits; "" when none does."""
    for quant in quants:
        room = Room(spec, weigh(spec, quant), LLAMACPP, kind, free_bytes, count)
        if room.fits(shape):
            return quant
    return ""


@final
class Split:
    """A llama.cpp run on cards with these free bytes, one above 0, and the rest in host memory.

    `sums` spares adding the layers up again.
    """

    __slots__ = ("free_bytes", "host_free_bytes", "shape", "spec", "sums", "weights")

    def __init__(
        self,
        spec: ModelSpec,
        weights: Weights,
        shape: ContextShape,
        free_bytes: tuple[int, ...],
        host_free_bytes: int,
        sums: Sums | None = None,
    ) -> None:
        self.spec = spec
        self.weights = weights
        self.shape = shape
        self.free_bytes = free_bytes
        self.host_free_bytes = host_free_bytes
        self.sums = Sums(spec, weights, shape) if sums is None else sums

    def need(self, on_gpu: int, off_experts: int) -> Footprint:
        placing = Placing(gpu_layers=on_gpu, cpu_experts=off_experts, split=self.free_bytes)
        return placed_footprint(self.spec, self.weights, self.shape, placing, self.sums)

    def over(self, on_gpu: int, off_experts: int) -> int:
        """Bytes the fullest card lacks; 0 or less when all have room."""
        return lacking_bytes(self.sums, self.free_bytes, on_gpu, off_experts)

    def host_fits(self, on_gpu: int, off_experts: int) -> bool:
        need = self.sums.on_host(on_gpu, off_experts) + CPU_OVERHEAD_BYTES
        return need <= self.host_free_bytes


def gpu_layers(split: Split) -> int:
    """The most layers the cards take (llama.cpp's -ngl), -1 when none works.

    The output layer counts as one; each card's share is its free memory, as llama.cpp deals. More
    layers need more on the cards and less beside them, so the answer is searched from both ends,
    where a straight line between them would fit and in the middle by turns.
    """
    low, high = 0, len(split.spec.layers) + 1
    over_low, over_high = split.over(low, 0), split.over(high, 0)
    if over_high <= 0:
        return high if split.host_fits(high, 0) else -1
    if over_low > 0:
        return -1
    straight = True
    while high - low > 1:
        middle = (low + high) // 2
        if straight:
            middle = low + (high - low) * -over_low // (over_high - over_low)
            middle = min(max(middle, low + 1), high - 1)
        straight = not straight
        over = split.over(middle, 0)
        if over <= 0:
            low, over_low = middle, over
        else:
            high, over_high = middle, over
    return low if split.host_fits(low, 0) else -1


def cpu_experts(split: Split) -> int:
    """The fewest layers whose experts must stay on the host (--n-cpu-moe), -1 when none works."""
    low, high = -1, len(split.spec.layers)
    if split.over(ALL_LAYERS, high) > 0:
        return -1
    while high - low > 1:
        middle = (low + high) // 2
        if split.over(ALL_LAYERS, middle) > 0:
            low = middle
        else:
            high = middle
    return high if split.host_fits(ALL_LAYERS, high) else -1


def vllm_sequences(spec: ModelSpec, shape: VllmShape, cache_bytes: int) -> int:
    """Full-length requests a vLLM cache of this size serves at once: closed form."""
    cut = pages(spec, shape)
    return block_count(cut, cache_bytes) // cut.blocks_per_request
