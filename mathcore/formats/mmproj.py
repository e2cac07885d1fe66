"""A projector from the file llama.cpp keeps it in: its bytes, and what decides its buffer."""

from mathcore.gguf.header import GgufHeader
from mathcore.model.fields import MAX_LAYERS, Fields
from mathcore.model.spec import Projector, SpecError, Tensor, parameter_count
from mathcore.quant.ggml import BLOCKS

MAX_SIDE = 65_536  # pixels of a picture


def is_projector(header: GgufHeader) -> bool:
    """Whether a file holds a projector and no language model."""
    return header.metadata.get("general.architecture") == "clip"


def projector_bytes(header: GgufHeader) -> int:
    """Bytes of its tensors."""
    total = 0
    for tensor in header.tensors:
        per_block, size = BLOCKS[tensor.type_name]
        total += tensor.columns // per_block * size * tensor.rows
    return total


def _deep_layers(tensors: tuple[Tensor, ...]) -> tuple[int, ...]:
    """Layers with a stack of their own, by its norm."""
    found: list[int] = []
    for tensor in tensors:
        name = tensor.name
        if name.startswith("v.deepstack.") and name.endswith(".norm.weight"):
            place = name.split(".")[2]
            if place.isdigit():
                found.append(int(place))
    return tuple(sorted(found))


def _out(tensors: tuple[Tensor, ...], hidden: int) -> int:
    """The language model's width: rows of the last matrix that is no part of the tower."""
    out = hidden
    for tensor in tensors:
        if tensor.name.startswith("mm.") and tensor.dims > 1:
            out = tensor.rows
    return out


def projector_from_gguf(header: GgufHeader) -> Projector:
    """The tower of a projector file; SpecError names the key that stops us."""
    if not is_projector(header):
        raise SpecError("general.architecture", "is not clip: this is no projector")
    fields, tensors = Fields(header.metadata), header.tensors
    names = {tensor.name for tensor in tensors}
    at = "clip.vision."
    hidden = fields.integer(at + "embedding_length")
    kind = fields.text("clip.projector_type")
    fused = "v.blk.0.attn_qkv.weight" in names
    dynamic = kind.startswith("qwen") or kind == "pixtral"
    merge = fields.integer_or(at + "spatial_merge_size", 2 if dynamic else 1, 1)
    return Projector(
        kind=kind,
        layers=fields.integer(at + "block_count", 1, MAX_LAYERS),
        hidden=hidden,
        patch=fields.integer(at + "patch_size", 1, 256),
        merge=merge,
        tensors=tensors,
        parameters=parameter_count(tensors),
        heads=fields.integer(at + "attention.head_count"),
        feed_forward=fields.integer(at + "feed_forward_length"),
        out=_out(tensors, hidden),
        image_size=0 if dynamic else fields.integer_or(at + "image_size", 0, 0, MAX_SIDE),
        frames=2 if "v.patch_embd.weight.1" in names else 1,
        gated="v.blk.0.ffn_gate.weight" in names,
        fused=fused,
        rotary=dynamic,
        biases="v.blk.0.attn_out.bias" in names,
        layer_norm="v.blk.0.ln1.bias" in names,
        resized="v.position_embd.weight" in names and dynamic,
        windowed=kind.startswith("qwen2.5"),
        deep=_deep_layers(tensors),
    )
