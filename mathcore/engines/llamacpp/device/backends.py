"""What a backend of llama.cpp holds on a device beside weights, cache and compute buffer.

Measured as what is left of peaks (128 to 8192 tokens, thirteen models, ROCm and Vulkan on an
integrated Radeon, builds 5863 to 6118) after those three; it does not depend on the context.
"""

from typing import Literal, final

from mathcore.engines.footprint import GPU_OVERHEAD_BYTES
from mathcore.memo import Memo
from mathcore.model.spec import ModelSpec, Tensor
from mathcore.quant.weights import tensor_sizes
from mathcore.units import MIB

BackendName = Literal["cuda", "rocm", "vulkan", "metal", "cpu"]
BACKENDS: tuple[BackendName, ...] = ("cuda", "rocm", "vulkan", "metal", "cpu")

# The runtime's context, kernels and pools. 250 MiB is gguf-parser-go's for CUDA; no log of Metal's
# was seen, so it counts as much. What a processor's process holds is CPU_OVERHEAD_BYTES.
RUNTIME_BYTES: dict[str, int] = {
    "cuda": GPU_OVERHEAD_BYTES,
    "rocm": 165 * MIB,
    "vulkan": 60 * MIB,
    "metal": GPU_OVERHEAD_BYTES,
    "cpu": 0,
}
# rocBLAS beside a matrix it multiplies in 16 bits: the workspace seen with every such run.
ROCBLAS_BYTES = 80 * MIB
# It does so or not by how the library was built: half the runs did, so half of it is counted.
ROCBLAS_SHARE_PERCENT = 50

MAX_LARGEST = 256  # models at a quantisation: as many as one question tries, of a few models


@final
class Largest:
    """The largest tensors of a model at a quantisation, those a card holds."""

    __slots__ = ("matrix_numbers", "table_bytes", "tensor_bytes")

    def __init__(self, spec: ModelSpec, quant: str) -> None:
        sizes = tensor_sizes(spec, quant)
        self.tensor_bytes = 0  # of one tensor, a tied output's copy among them
        self.matrix_numbers = 0  # of one layer's matrix that every token goes through
        self.table_bytes = 0  # of the input table where its numbers have 16 bits
        for i, tensor in enumerate(spec.tensors):
            if _on_card(spec, tensor):
                self.tensor_bytes = max(self.tensor_bytes, sizes[i])
            if tensor.name == "token_embd.weight" and sizes[i] == 2 * tensor.columns * tensor.rows:
                self.table_bytes = sizes[i]
            if tensor.layer >= 0 and tensor.experts == 1:
                self.matrix_numbers = max(self.matrix_numbers, tensor.columns * tensor.rows)


_LARGEST: Memo[Largest] = Memo(MAX_LARGEST)


def _on_card(spec: ModelSpec, tensor: Tensor) -> bool:
    """Whether a card that takes every layer holds the tensor."""
    if tensor.name == "token_embd.weight":
        return spec.tied
    return tensor.layer >= 0 or tensor.name.startswith("output")


def beside_bytes(backend: str, largest: Largest) -> int:
    """Bytes a backend takes beside weights, cache and compute buffer.

    Vulkan uploads through a buffer as large as the largest tensor and keeps it, and was seen to
    hold an input table of 16 bits as well (two models, 36 peaks), never a quantised one. rocBLAS
    unpacks the widest matrix to 16 bits where ggml's own kernels do not take the product.
    """
    size = RUNTIME_BYTES[backend]
    if backend == "vulkan":
        size += largest.tensor_bytes + largest.table_bytes
    if backend == "rocm":
        unpacked = 2 * largest.matrix_numbers + ROCBLAS_BYTES
        size += unpacked * ROCBLAS_SHARE_PERCENT // 100
    return size


def backend_bytes(spec: ModelSpec, quant: str, backend: BackendName) -> int:
    """The same of a model; only Vulkan's and ROCm's depend on its tensors."""
    if backend not in ("vulkan", "rocm"):
        return RUNTIME_BYTES[backend]
    key = (id(spec), quant)
    found = _LARGEST.get(key, spec)
    if found is None:
        found = _LARGEST.put(key, Largest(spec, quant), spec)
    return beside_bytes(backend, found)
