"""What an engine is asked to keep, and the memory it needs for it, term by term.

Shared by the allocators of all engines: `llamacpp`, `vllm`, `mlx`.
"""

from dataclasses import dataclass
from typing import final

from mathcore.units import MIB

MICRO_BATCH = 512  # llama.cpp --ubatch-size default
MAX_CONTEXT = 1 << 24  # tokens; no model is trained for more
MAX_SEQUENCES = 1 << 16
# gguf-parser-go's platform footprint: 250 MiB on the card (driver context, kernels),
# 150 MiB of RAM for the process. Peaks measured on ROCm agree (0.13 GiB median, short run).
GPU_OVERHEAD_BYTES = 250 * MIB
CPU_OVERHEAD_BYTES = 150 * MIB


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Beside:
    """Bytes of what is loaded beside a model, on the device of its output layer."""

    projector_bytes: int = 0  # a vision or audio encoder's weights
    projector_compute_bytes: int = 0  # and what it computes in
    draft_bytes: int = 0  # a model or heads that draft tokens: weights, cache, compute
    adapter_bytes: int = 0  # LoRA

    @property
    def total_bytes(self) -> int:
        """All of it."""
        return self.weights_bytes + self.projector_compute_bytes + self.draft_bytes

    @property
    def weights_bytes(self) -> int:
        """What an engine with buffers of its own loads as weights."""
        return self.projector_bytes + self.adapter_bytes


NOTHING = Beside()


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class ContextShape:
    """What the engine is asked to keep: `sequences` sequences of `context` tokens each.

    What only llama.cpp knows: V cached in another type than K, flash attention off, one pool of
    cells for all sequences (`unified`), sliding layers that keep everything (`full_window`), what
    an old build rounds cells up to (`cell_pad`; 0 = as builds of today), and the `build` (0 = the
    newest; `llamacpp.device.builds`).
    """

    context: int
    sequences: int = 1
    kv_type: str = "f16"
    micro_batch: int = MICRO_BATCH
    v_type: str = ""  # "" = as K
    flash: bool = True
    unified: bool = False
    full_window: bool = False
    beside: Beside = NOTHING
    cell_pad: int = 0
    build: int = 0


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Footprint:
    """Bytes by term. `total_bytes` is what sits on the devices; `host_bytes` is beside it."""

    weights_bytes: int
    kv_bytes: int
    state_bytes: int
    compute_bytes: int
    overhead_bytes: int
    host_bytes: int
    card_bytes: int  # the fullest card; equals the total for one card
    output_bytes: int = 0  # logits handed to the program
    projector_bytes: int = 0  # a vision or audio encoder, and what it computes in
    draft_bytes: int = 0
    adapter_bytes: int = 0
    cards: tuple[int, ...] = ()  # bytes of each card, in order; empty for one

    @property
    def total_bytes(self) -> int:
        """Bytes of all terms on all cards; what lies in host memory is beside them."""
        return (
            self.weights_bytes
            + self.kv_bytes
            + self.state_bytes
            + self.compute_bytes
            + self.overhead_bytes
            + self.output_bytes
            + self.projector_bytes
            + self.draft_bytes
            + self.adapter_bytes
        )


def pad(n: int, step: int) -> int:
    """n rounded up to a multiple of step."""
    return (n + step - 1) // step * step
