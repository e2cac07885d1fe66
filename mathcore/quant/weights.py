"""Weight bytes: exact from a file's own tensors, or by a quantisation's rules for one not yet made.

`weigh` serves every name of QUANTS; what each stands for is in `gguf_tables` (file types of
llama.cpp) and `formats` (safetensors engines and MLX).
"""

from dataclasses import dataclass
from typing import final

from mathcore.model.spec import ModelSpec, SpecError, Tensor
from mathcore.quant.formats import FORMATS, QUANTS, format_sizes
from mathcore.quant.ggml import BLOCKS
from mathcore.quant.gguf_rules import block_types, roles_of
from mathcore.quant.names import MAX_SHOWN, family_advice

__all__ = ["QUANTS", "Weights", "quant_fault", "tensor_sizes", "weigh"]

# Tables looked up a row at a time, which llama.cpp keeps in RAM with every layer on a GPU
# (LLM_TENSOR_LAYER_INPUT).
_INPUTS: tuple[str, ...] = (
    "token_embd.weight",
    "per_layer_token_embd.weight",
    "position_embd.weight",
    "token_types.weight",
)

# Encoders without an output layer: their embedding is never copied to a GPU, or read whole.
ENCODERS: tuple[str, ...] = (
    "bert",
    "eurobert",
    "jina-bert-v2",
    "jina-bert-v3",
    "modern-bert",
    "neo-bert",
    "nomic-bert",
    "nomic-bert-moe",
)


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """Bytes by place.

    total = embedding + (output unless tied) + layers + other. With a GPU the input tables stay on
    the host; a tied embedding is in both.
    """

    total_bytes: int
    embedding_bytes: int  # token_embd
    output_bytes: int  # of the output layer; the embedding's copy when tied; 0 = it has none
    layer_bytes: tuple[int, ...]
    expert_bytes: tuple[int, ...]  # per layer, of its routed experts; part of layer_bytes
    other_bytes: int  # of no layer: final norm, encoder, further input tables
    host_bytes: int  # input tables: what stays in RAM when a GPU takes every layer
    active_bytes: int  # read per generated token: no input table, of the experts those used
    tied: bool
    # Of a layer's tensors by their names without "blk.N.": bytes of the largest layer's.
    largest: tuple[tuple[str, int], ...] = ()

    @property
    def device_bytes(self) -> int:
        """What a GPU that takes every layer holds."""
        copied = self.output_bytes if self.tied else 0
        return self.total_bytes - self.host_bytes + copied


def _own_size(tensor: Tensor) -> int:
    """Bytes of a tensor of a file."""
    per_block, size = BLOCKS[tensor.type_name]
    return tensor.columns // per_block * size * tensor.rows


def tensor_sizes(spec: ModelSpec, quant: str) -> list[int]:
    """Bytes of each tensor of `spec`, in order: by its own type when it comes from a file.

    SpecError "quant" for a name not in QUANTS, or naming the tensor that cannot be stored so.
    """
    tensors = spec.tensors
    if tensors and tensors[0].type_name:
        return [_own_size(tensor) for tensor in tensors]
    if quant not in QUANTS:
        raise SpecError("quant", _unknown(quant))
    roles = roles_of(tensors)
    if quant in FORMATS:
        return format_sizes(spec, roles, quant)
    types = block_types(spec, quant, roles)
    out: list[int] = []
    for i in range(len(types)):
        per_block, size = BLOCKS[types[i]]
        tensor = tensors[i]
        out.append(tensor.columns // per_block * size * tensor.rows)
    return out


def _unknown(quant: str, family: str = "") -> str:
    """What is wrong with a name that is no type, or none of the family's; and what to write."""
    advice = family_advice(quant, family)
    if quant in QUANTS:
        return advice
    known = [name for name, served in QUANTS.items() if family in ("", served)]
    return f"unknown quantisation {quant[:MAX_SHOWN]}: {advice or 'known are ' + ', '.join(known)}"


def quant_fault(spec: ModelSpec, quant: str, family: str = "") -> str:
    """Why `spec` cannot be weighed at `quant` (served by `family`, when given); "" when it can."""
    if quant not in QUANTS or family not in ("", QUANTS[quant]):
        return _unknown(quant, family)
    try:
        tensor_sizes(spec, quant)
    except SpecError as error:
        return str(error)
    return ""


def is_input(tensor: Tensor) -> bool:
    """A table looked up a row at a time, which stays in RAM."""
    return tensor.name in _INPUTS


def read_bytes(spec: ModelSpec, tensor: Tensor, size: int) -> int:
    """Bytes of `size` read for one generated token."""
    name = tensor.name
    if name in _INPUTS:
        multiplied = spec.tied and spec.architecture not in ENCODERS
        return size if multiplied and name == "token_embd.weight" else 0
    if name.startswith("enc."):
        return 0  # once per prompt
    i = tensor.layer
    if i < 0 or i >= len(spec.layers):
        return size
    if i >= len(spec.layers) - spec.draft_layers:
        return 0
    layer = spec.layers[i]
    if layer.experts > 0 and _routed(tensor):
        return size // layer.experts * layer.experts_used
    return size


def _routed(tensor: Tensor) -> bool:
    """Of the experts a router chooses: what llama.cpp's --n-cpu-moe keeps in RAM."""
    return tensor.experts > 1 or "exps." in tensor.name


def weigh(spec: ModelSpec, quant: str) -> Weights:
    """Bytes of every tensor at `quant`, summed by place; SpecError as in `tensor_sizes`."""
    sizes = tensor_sizes(spec, quant)
    layers = [0] * len(spec.layers)
    experts = [0] * len(spec.layers)
    total, embedding, output, other, host, active = 0, 0, 0, 0, 0, 0
    largest: dict[str, int] = {}
    for i in range(len(sizes)):
        tensor, size = spec.tensors[i], sizes[i]
        total += size
        active += read_bytes(spec, tensor, size)
        if 0 <= tensor.layer < len(layers):
            layers[tensor.layer] += size
            base = tensor.name.split(".", 2)[-1]
            largest[base] = max(size, largest.get(base, 0))
            if _routed(tensor):
                experts[tensor.layer] += size
            continue
        if tensor.name in _INPUTS:
            host += size
        if tensor.name == "token_embd.weight":
            embedding = size
        elif tensor.name == "output.weight":
            output = size
        else:
            other += size
    if spec.tied and spec.architecture not in ENCODERS:
        output = embedding
    return Weights(
        total_bytes=total,
        embedding_bytes=embedding,
        output_bytes=output,
        layer_bytes=tuple(layers),
        expert_bytes=tuple(experts),
        other_bytes=other,
        host_bytes=host,
        active_bytes=active,
        tied=spec.tied,
        largest=tuple(largest.items()),
    )
