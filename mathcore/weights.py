"""Weight bytes: exact from a file's own tensors, or by llama.cpp's rules for a type not yet made.

The rules are those of llama.cpp's quantiser without an importance matrix: which tensor of a
mixed file type gets more bits, and what a row that is no whole number of blocks falls back to.
"""

from dataclasses import dataclass
from typing import final

from mathcore.ggml import BLOCKS
from mathcore.model import ModelSpec, Tensor

_BASE: dict[str, str] = {
    "F32": "F32", "F16": "F16", "BF16": "BF16", "Q8_0": "Q8_0", "Q6_K": "Q6_K",
    "Q5_K_M": "Q5_K", "Q5_K_S": "Q5_K", "Q4_K_M": "Q4_K", "Q4_K_S": "Q4_K", "Q4_0": "Q4_0",
}  # fmt: skip
_FALLBACK: dict[str, str] = {"Q4_K": "Q5_0", "Q5_K": "Q5_1", "Q6_K": "Q8_0"}

QUANTS: tuple[str, ...] = tuple(_BASE)
# Best first; what a plan tries when nobody names a type. Below Q4_K_M answers degrade visibly.
LADDER: tuple[str, ...] = ("Q8_0", "Q6_K", "Q5_K_M", "Q4_K_M")


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """Bytes by place. With a GPU the embedding table stays on the host; a tied one is in both."""

    total_bytes: int
    embedding_bytes: int
    output_bytes: int  # of the output layer; the embedding's copy when tied
    layer_bytes: tuple[int, ...]
    tied: bool

    @property
    def device_bytes(self) -> int:
        """What a GPU that takes every layer holds."""
        copied = self.output_bytes if self.tied else 0
        return self.total_bytes - self.embedding_bytes + copied


def _more_bits(i: int, n: int) -> bool:
    """llama.cpp's use_more_bits: the first and last eighth, and every third between."""
    return i < n // 8 or i >= 7 * n // 8 or (i - n // 8) % 3 == 2


def _mixed(tensor: Tensor, quant: str, base: str, spec: ModelSpec) -> str:
    """The type a matrix of one layer gets under a mixed file type."""
    n = len(spec.layers)
    name = tensor.name
    more = _more_bits(tensor.layer, n)
    if name.endswith("attn_v.weight"):
        if quant in ("Q4_K_M", "Q5_K_M") and more:
            return "Q6_K"
        if quant == "Q4_K_S" and tensor.layer < 4:
            return "Q5_K"
        # 80 layers is llama.cpp's "70B": eight heads share each V, so it is cheap to keep better.
        if base == "Q4_K" and n == 80 and spec.architecture in ("llama", "qwen2"):
            return "Q5_K"
    elif name.endswith("attn_qkv.weight"):
        if quant == "Q4_K_M":
            return "Q5_K"
        if quant == "Q5_K_M":
            return "Q6_K"
    elif name.endswith("ffn_down.weight"):
        if quant in ("Q4_K_M", "Q5_K_M") and more:
            return "Q6_K"
        if quant == "Q4_K_S" and tensor.layer < n // 8:
            return "Q5_K"
    return base


def tensor_type(tensor: Tensor, quant: str, spec: ModelSpec) -> str:
    """Block type of one tensor under a file type."""
    base = _BASE[quant]
    if tensor.dims < 2:
        return "F32"
    if base in ("F32", "F16", "BF16"):
        return base
    chosen = base
    is_output = tensor.name == "output.weight" or (spec.tied and tensor.name == "token_embd.weight")
    if is_output:
        chosen = "Q8_0" if base == "Q8_0" or tensor.columns % 256 != 0 else "Q6_K"
    elif tensor.layer >= 0:
        chosen = _mixed(tensor, quant, base, spec)
    if tensor.columns % BLOCKS[chosen][0] != 0:
        chosen = _FALLBACK.get(chosen, "F16")
        if tensor.columns % BLOCKS[chosen][0] != 0:
            chosen = "F16"
    return chosen


def tensor_bytes(tensor: Tensor, quant: str, spec: ModelSpec) -> int:
    """Bytes of one tensor; its own type when it comes from a file."""
    name = tensor.type_name if tensor.type_name else tensor_type(tensor, quant, spec)
    per_block, size = BLOCKS[name]
    return tensor.columns // per_block * size * tensor.rows


def weigh(spec: ModelSpec, quant: str) -> Weights:
    """Bytes of every tensor at `quant`, summed by place."""
    layers = [0] * len(spec.layers)
    total, embedding, output = 0, 0, 0
    for tensor in spec.tensors:
        size = tensor_bytes(tensor, quant, spec)
        total += size
        if tensor.name == "token_embd.weight":
            embedding = size
        elif tensor.name == "output.weight":
            output = size
        elif 0 <= tensor.layer < len(layers):
            layers[tensor.layer] += size
    return Weights(
        total_bytes=total,
        embedding_bytes=embedding,
        output_bytes=embedding if spec.tied else output,
        layer_bytes=tuple(layers),
        tied=spec.tied,
    )
