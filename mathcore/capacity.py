"""The inverse questions: what is the most that fits, answered by bisection.

Every function here grows with what it is asked for; an answer of 0, "" or -1 means nothing fits.
"""

from typing import final

from mathcore.footprint import ContextShape, Footprint
from mathcore.llamacpp import footprint
from mathcore.llamacpp_cache import CELL_PAD
from mathcore.llamacpp_offload import Placing, placed_footprint
from mathcore.mlx import MlxShape, mlx_footprint
from mathcore.model import ModelSpec
from mathcore.vllm import VllmShape, block_count, pages
from mathcore.weights import Weights, weigh

CONTEXT_MOST = 1 << 24  # tokens; no model is trained for more
SEQUENCES_MOST = 1 << 16
LLAMACPP = "llama.cpp"
MLX = "mlx"


def with_context(shape: ContextShape, context: int, sequences: int) -> ContextShape:
    """The same question for another length and number of sequences."""
    return ContextShape(
        context=context, sequences=sequences, kv_type=shape.kv_type, v_type=shape.v_type,
        micro_batch=shape.micro_batch, flash=shape.flash, unified=shape.unified,
        full_window=shape.full_window,
    )  # fmt: skip


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
    most = trained if trained > 0 else CONTEXT_MOST
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
    while high <= SEQUENCES_MOST and room.fits(with_context(shape, shape.context, high)):
        low, high = high, high * 2
    while high - low > 1:
        middle = (low + high) // 2
        if room.fits(with_context(shape, shape.context, middle)):
            low = middle
        else:
            high = middle
    return low


def best_quant(
    spec: ModelSpec, shape: ContextShape, kind: str, free_bytes: int, count: int,
    quants: tuple[str, ...],
) -> str:  # fmt: skip
    """The first of `quants` (best first) whose llama.cpp run fits; "" when none does."""
    for quant in quants:
        room = Room(spec, weigh(spec, quant), LLAMACPP, kind, free_bytes, count)
        if room.fits(shape):
            return quant
    return ""


def _fits_placed(need: Footprint, free_bytes: tuple[int, ...], host_free_bytes: int) -> bool:
    for i, size in enumerate(need.cards):
        if size > free_bytes[i]:
            return False
    return need.host_bytes <= host_free_bytes


def gpu_layers(
    spec: ModelSpec, weights: Weights, shape: ContextShape,
    free_bytes: tuple[int, ...], host_free_bytes: int,
) -> int:  # fmt: skip
    """The most layers cards with these free bytes take (llama.cpp's -ngl), -1 when none works.

    The output layer counts as one; each card's share is its free memory, as llama.cpp deals.
    """
    for layers in range(len(spec.layers) + 1, -1, -1):
        placing = Placing(gpu_layers=layers, split=free_bytes)
        need = placed_footprint(spec, weights, shape, placing)
        if _fits_placed(need, free_bytes, host_free_bytes):
            return layers
    return -1


def cpu_experts(
    spec: ModelSpec, weights: Weights, shape: ContextShape,
    free_bytes: tuple[int, ...], host_free_bytes: int,
) -> int:  # fmt: skip
    """The fewest layers whose experts must stay on the host (--n-cpu-moe), -1 when none works."""
    for layers in range(len(spec.layers) + 1):
        placing = Placing(cpu_experts=layers, split=free_bytes)
        need = placed_footprint(spec, weights, shape, placing)
        if _fits_placed(need, free_bytes, host_free_bytes):
            return layers
    return -1


def vllm_sequences(spec: ModelSpec, shape: VllmShape, cache_bytes: int) -> int:
    """Full-length requests a vLLM cache of this size serves at once: closed form."""
    cut = pages(spec, shape)
    return block_count(cut, cache_bytes) // cut.blocks_per_request
