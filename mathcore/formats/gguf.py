"""GGUF metadata and tensors -> ModelSpec: of a file as it is, or of a config's conversion."""

from dataclasses import replace
from typing import Final

from mathcore.architectures.hparams import metadata_fields
from mathcore.architectures.registry import layers_from
from mathcore.convert.rope import MAX_FACTOR
from mathcore.gguf.header import GgufHeader
from mathcore.model.fields import Fields
from mathcore.model.spec import (
    Layer,
    ModelSpec,
    SpecError,
    Tensor,
    active_parameter_count,
    parameter_count,
)
from mathcore.quant.ggml import FILE_TYPES
from mathcore.quant.weights import ENCODERS

# Pooling types of llama.cpp: none, then mean, first and last token; a fourth ranks texts.
NOT_POOLED: Final = 0
POOLED: Final = (1, 2, 3)


def _file_type(header: GgufHeader) -> str:
    """The file type it says; a mix nobody named otherwise goes by its commonest block type."""
    code = header.metadata.get("general.file_type")
    if isinstance(code, int) and not isinstance(code, bool) and code in FILE_TYPES:
        return FILE_TYPES[code]
    sizes: dict[str, int] = {}
    best = "F32"
    for tensor in header.tensors:
        numbers = sizes.get(tensor.type_name, 0) + tensor.columns * tensor.rows
        sizes[tensor.type_name] = numbers
        if numbers > sizes.get(best, 0):
            best = tensor.type_name
    return best


def _vocabulary(tensors: tuple[Tensor, ...], hidden: int) -> int:
    for tensor in tensors:
        if tensor.name == "token_embd.weight":
            if tensor.columns != hidden:
                raise SpecError(tensor.name, f"has rows of {tensor.columns}, not {hidden}")
            return tensor.rows
    raise SpecError("token_embd.weight", "is missing")


def _stacked(name: str, fields: Fields) -> int:
    """How many experts a tensor of this name stacks; 1 for those that are none."""
    count = fields.integer_or("expert_count", 0, 0)
    if "_chexps." in name:  # one small expert for a group
        return count // fields.integer_or("experts_per_group", 1)
    return count if "_exps." in name else 1


def _with_experts(tensors: tuple[Tensor, ...], fields: Fields) -> tuple[Tensor, ...]:
    """Tensors of a file, those of stacked experts marked as such."""
    out: list[Tensor] = []
    for tensor in tensors:
        experts = _stacked(tensor.name, fields) if tensor.dims > 1 else 1
        if experts > 1:
            if tensor.rows % experts != 0:
                raise SpecError(tensor.name, f"its rows are no multiple of {experts} experts")
            tensor = Tensor(
                name=tensor.name,
                columns=tensor.columns,
                rows=tensor.rows,
                dims=tensor.dims,
                layer=tensor.layer,
                type_name=tensor.type_name,
                experts=experts,
            )
        out.append(tensor)
    return tuple(out)


def _encoder_layers(tensors: tuple[Tensor, ...]) -> int:
    seen: set[str] = set()
    for tensor in tensors:
        if tensor.name.startswith("enc.blk."):
            seen.add(tensor.name.split(".")[2])
    return len(seen)


def _widest(layers: tuple[Layer, ...]) -> tuple[int, int, int]:
    """Most query heads, widest dense feed-forward, most experts used, of any layer."""
    heads, wide, used = 0, 0, 0
    for layer in layers:
        heads = max(heads, layer.heads)
        wide = max(wide, layer.feed_forward)
        used = max(used, layer.experts_used)
    return heads, wide, used


def spec_from_parts(
    metadata: dict[str, object],
    tensors: tuple[Tensor, ...],
    name: str,
    source: str = "",
    quant: str = "",
    state_bytes: int = 0,
) -> ModelSpec:
    """A model from the metadata and tensors of its GGUF; SpecError names the key that stops us.

    A list longer than `mathcore.gguf.header` keeps is None in `metadata`.
    """
    layers = layers_from(metadata, tensors)
    fields = metadata_fields(metadata)
    hidden = fields.integer("embedding_length")
    heads, feed_forward, used = _widest(layers)
    return ModelSpec(
        name=name,
        architecture=Fields(metadata).text("general.architecture"),
        vocab=_vocabulary(tensors, hidden),
        hidden=hidden,
        heads=heads,
        feed_forward=feed_forward,
        context_length=fields.integer_or("context_length", 0, 0),
        layers=layers,
        tensors=tensors,
        tied="output.weight" not in [tensor.name for tensor in tensors],
        parameters=parameter_count(tensors),
        active_parameters=active_parameter_count(tensors, used),
        encoder_layers=_encoder_layers(tensors),
        draft_layers=fields.integer_or("nextn_predict_layers", 0, 0, len(layers)),
        state_bytes=state_bytes,
        quant=quant,
        source=source,
    )


def spec_from_gguf(header: GgufHeader, name: str, source: str = "") -> ModelSpec:
    """The model of one file, or of all parts of a split one put together."""
    fields = metadata_fields(header.metadata)
    if Fields(header.metadata).integer_or("split.count", 1, 0) > 1:
        raise SpecError("split.count", "one part of several: all of them are needed")
    given = header.metadata.get("general.name")
    spec = spec_from_parts(
        header.metadata,
        _with_experts(header.tensors, fields),
        given if isinstance(given, str) and given else name,
        source,
        _file_type(header),
    )
    return replace(spec, scaled_length=_scaled(fields, spec.context_length))


def makes_vectors(header: GgufHeader) -> bool:
    """Whether a file's model makes a vector of a text, and is no use for completing one.

    Its metadata says how the vectors of a text's tokens become one, or its architecture is such.
    """
    pooling = metadata_fields(header.metadata).values.get("pooling_type")
    if isinstance(pooling, int) and pooling != NOT_POOLED:
        return pooling in POOLED
    arch = Fields(header.metadata).text("general.architecture")
    return arch in ENCODERS or "bert" in arch or arch.endswith(("-embed", "-embedding"))


def _scaled(fields: Fields, trained: int) -> int:
    """Tokens the file's rope scaling reaches; 0 where it adds none."""
    if trained < 1 or not fields.has("rope.scaling.factor"):
        return 0
    kind = fields.text("rope.scaling.type") if fields.has("rope.scaling.type") else ""
    factor = fields.number("rope.scaling.factor")
    if kind != "yarn" or not 0.0 < factor <= MAX_FACTOR:  # what others reach is no rule
        return 0
    return int(fields.integer_or("rope.scaling.original_context_length", trained) * factor)
