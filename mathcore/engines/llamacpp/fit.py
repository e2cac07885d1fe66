"""How many layers go on the cards, and whose experts beside them (llama.cpp: --fit)."""

from typing import final

from mathcore.engines.footprint import (
    CPU_OVERHEAD_BYTES,
    GPU_OVERHEAD_BYTES,
    ContextShape,
    Footprint,
)
from mathcore.engines.llamacpp.offload import (
    ALL_LAYERS,
    Placing,
    Sums,
    lacking_bytes,
    placed_footprint,
)
from mathcore.model.spec import ModelSpec
from mathcore.quant.weights import Weights


@final
class Split:
    """A llama.cpp run on cards with these free bytes, one above 0, and the rest in host memory.

    `sums` spares adding the layers up again; `backend_bytes` is what each card's back end holds.
    """

    __slots__ = (
        "backend_bytes",
        "free_bytes",
        "host_free_bytes",
        "shape",
        "spec",
        "sums",
        "weights",
    )

    def __init__(
        self,
        spec: ModelSpec,
        weights: Weights,
        shape: ContextShape,
        free_bytes: tuple[int, ...],
        host_free_bytes: int,
        sums: Sums | None = None,
        backend_bytes: int = GPU_OVERHEAD_BYTES,
    ) -> None:
        self.backend_bytes = backend_bytes
        self.spec = spec
        self.weights = weights
        self.shape = shape
        self.free_bytes = free_bytes
        self.host_free_bytes = host_free_bytes
        self.sums = Sums(spec, weights, shape) if sums is None else sums

    def need(self, on_gpu: int, off_experts: int) -> Footprint:
        """The whole footprint with these layers and experts placed so."""
        placing = Placing(gpu_layers=on_gpu, cpu_experts=off_experts, split=self.free_bytes)
        backends = (self.backend_bytes,) * len(self.free_bytes)
        return placed_footprint(self.spec, self.weights, self.shape, placing, self.sums, backends)

    def over(self, on_gpu: int, off_experts: int) -> int:
        """Bytes the fullest card lacks; 0 or less when all have room."""
        return lacking_bytes(self.sums, self.free_bytes, on_gpu, off_experts, self.backend_bytes)

    def host_fits(self, on_gpu: int, off_experts: int) -> bool:
        """Whether host memory holds what the cards do not."""
        copies = self.sums.copies(len(self.free_bytes), on_gpu, off_experts)
        need = self.sums.on_host(on_gpu, off_experts, copies)
        return need + CPU_OVERHEAD_BYTES <= self.host_free_bytes


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
