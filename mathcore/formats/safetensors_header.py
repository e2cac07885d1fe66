"""A safetensors header, one file's or a whole folder's, as tensors with their exact bytes.

The format: eight bytes of length, that much JSON, then the data. Tensors keep their Hugging Face
names, except that the embedding table and the output layer take GGUF's, by which weights are
placed, and a layer's experts become one tensor ("experts.3." -> "experts.*.").
Any fault is a SpecError.
"""

import json
from dataclasses import dataclass
from typing import final

from mathcore.model.spec import SpecError, Tensor
from mathcore.quant.ggml import SAFETENSORS_TYPES

MAX_HEADER_BYTES = 4 << 20  # 32,768 entries of 120 bytes; the library's own limit is 100 MB
MAX_TENSORS = 32_768  # of one file; real ones have under 20,000
MAX_ALL_TENSORS = 1 << 18  # of all files; 384 experts in 61 layers, quantised, are 140,000
MAX_COMMAS = 1 << 19  # each is an item some list or object must hold in memory
MAX_DIMS = 8
MAX_ELEMENTS = 1 << 48  # of one tensor

# Where a layer's number stands, by the module that holds the layers.
_LAYERS: tuple[str, ...] = ("layers", "h", "blocks", "block", "layer")
# Parts that are not the language model: their layers are not its layers.
_OTHERS: tuple[str, ...] = (
    "visual",
    "vision_tower",
    "vision_model",
    "vision_encoder",
    "audio_tower",
    "audio_encoder",
    "multi_modal_projector",
    "mm_projector",
    "vision_embed_tokens",
    "embed_vision",
    "embed_audio",
    "vision",
    "audio",
    "mtp",
)
_EMBEDDINGS: tuple[str, ...] = (
    "embed_tokens",
    "wte",
    "word_embeddings",
    "tok_embeddings",
    "embedding",
    "embed_in",
    "embeddings",
    "shared",
)
_OUTPUTS: tuple[str, ...] = ("lm_head", "embed_out", "output")


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class SafetensorsHeader:
    """One file's tensors under their own names; `data_bytes` follow the header."""

    tensors: tuple[Tensor, ...]
    end: int
    data_bytes: int


def header_bytes(first: bytes) -> int:
    """How long the JSON is, from the file's first eight bytes."""
    if len(first) < 8:
        raise SpecError("header", "the file ends before its header")
    size = int.from_bytes(first[:8], "little")
    if size < 2 or size > MAX_HEADER_BYTES:
        raise SpecError("header", f"{size} bytes are not between 2 and {MAX_HEADER_BYTES}")
    return size


def parse_safetensors(data: bytes) -> SafetensorsHeader:
    """The header at the start of `data`."""
    size = header_bytes(data)
    if len(data) < 8 + size:
        raise SpecError("header", "the file ends in the middle of its header")
    entries = _entries(data[8 : 8 + size])
    tensors: list[Tensor] = []
    spans: list[tuple[int, int]] = []
    for name, entry in entries.items():
        if name == "__metadata__":
            continue
        if not isinstance(entry, dict):
            raise SpecError(name, "is not an object")
        tensor, begin, end = _tensor(name, entry)
        tensors.append(tensor)
        spans.append((begin, end))
    return SafetensorsHeader(tensors=tuple(tensors), end=8 + size, data_bytes=_covered(spans))


def _entries(text: bytes) -> dict[str, object]:
    """The JSON, once its punctuation shows that it cannot grow large in memory."""
    objects, lists = text.count(b"{"), text.count(b"[")
    if objects > MAX_TENSORS + 2 or lists > 2 * MAX_TENSORS or text.count(b",") > MAX_COMMAS:
        raise SpecError("header", f"holds more than the {MAX_TENSORS} tensors allowed")
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise SpecError("header", "is not JSON") from error
    if not isinstance(found, dict):
        raise SpecError("header", "is not a JSON object")
    return found


def _integers(entry: dict[str, object], field: str, name: str, most: int) -> list[int]:
    value = entry.get(field)
    if not isinstance(value, list) or len(value) > MAX_DIMS:
        raise SpecError(name, f"its {field} is not a short list")
    out: list[int] = []
    for item in value:
        if isinstance(item, bool) or not isinstance(item, int) or item < 0 or item > most:
            raise SpecError(name, f"its {field} holds '{str(item)[:40]}'")
        out.append(item)
    return out


def _tensor(name: str, entry: dict[str, object]) -> tuple[Tensor, int, int]:
    """One entry and the span of its data."""
    kind = entry.get("dtype")
    if not isinstance(kind, str) or kind not in SAFETENSORS_TYPES:
        raise SpecError(name, f"dtype '{str(kind)[:40]}' is not supported yet")
    shape = _integers(entry, "shape", name, MAX_ELEMENTS)
    span = _integers(entry, "data_offsets", name, MAX_ELEMENTS * 8)
    columns = shape[-1] if shape else 1
    rows = 1
    for size in shape[:-1]:
        rows *= size
        if rows > MAX_ELEMENTS:
            raise SpecError(name, "has more numbers than any tensor can")
    per, size = SAFETENSORS_TYPES[kind]
    if columns * rows % per != 0:
        raise SpecError(name, f"{columns * rows} numbers are no whole number of {kind} units")
    if len(span) != 2 or span[1] - span[0] != columns * rows // per * size:
        raise SpecError(name, f"its data_offsets do not hold {rows} x {columns} of {kind}")
    # One tensor for all experts, as gpt-oss and Llama 4 write them: the first size counts them.
    fused = len(shape) > 1 and ".experts." in name and not _stack_key(name)
    tensor = Tensor(
        name=name,
        columns=columns,
        rows=rows,
        dims=max(1, len(shape)),
        layer=layer_of(name),
        type_name=kind,
        experts=max(1, shape[0]) if fused else 1,
    )
    return tensor, span[0], span[1]


def _covered(spans: list[tuple[int, int]]) -> int:
    """The bytes of all tensors, which the format wants without a hole or an overlap."""
    place = 0
    for begin, end in sorted(spans):
        if begin != place:
            raise SpecError("data_offsets", f"leave a hole or overlap at byte {min(begin, place)}")
        place = end
    return place


def layer_of(name: str) -> int:
    """7 for "model.layers.7.mlp.up_proj.weight"; -1 for what is in no decoder layer."""
    parts = name.split(".")
    for part in parts:
        if part in _OTHERS:
            return -1
    for i in range(len(parts) - 1):
        number = parts[i + 1]
        if parts[i] in _LAYERS and number.isascii() and number.isdecimal() and len(number) < 6:
            return int(number)
    return -1


def placed_name(name: str) -> str:
    """GGUF's name for the embedding table and the output layer, else the name itself.

    A table's scales and biases (MLX, GPTQ) go with it: "token_embd.scales".
    """
    parts = name.split(".")
    if len(parts) < 2 or layer_of(name) >= 0:
        return name
    for part in parts:
        if part in _OTHERS:
            return name
    if parts[-2] in _EMBEDDINGS:
        return f"token_embd.{parts[-1]}"
    if parts[-2] in _OUTPUTS and len(parts) <= 3:
        return f"output.{parts[-1]}"
    return name


def _stack_key(name: str) -> str:
    """One name for all experts of a matrix, "….experts.*.up_proj.weight"; "" for anything else."""
    parts = name.split(".")
    for i in range(1, len(parts) - 1):
        if parts[i - 1] == "experts" and parts[i].isascii() and parts[i].isdecimal():
            return ".".join([*parts[:i], "*", *parts[i + 1 :]])
    return ""


def placed(tensors: list[Tensor]) -> tuple[Tensor, ...]:
    """All files' tensors, experts stacked, embedding and output under the names that place them."""
    if len(tensors) > MAX_ALL_TENSORS:
        raise SpecError("tensors", f"{len(tensors)} are more than the {MAX_ALL_TENSORS} allowed")
    names: set[str] = set()
    stacks: dict[str, list[Tensor]] = {}
    out: list[Tensor] = []
    for tensor in tensors:
        if tensor.name in names:
            raise SpecError(tensor.name, "appears twice")
        names.add(tensor.name)
        key = _stack_key(tensor.name)
        if key:
            # One more key for another shape or type, so that a stack's bytes stay exact.
            key = f"{key}|{tensor.type_name}|{tensor.columns}|{tensor.rows}"
            stacks.setdefault(key, []).append(tensor)
        else:
            out.append(_renamed(tensor, placed_name(tensor.name)))
    for key, members in stacks.items():
        out.append(_stacked(key.partition("|")[0], members))
    return tuple(out)


def _renamed(tensor: Tensor, name: str) -> Tensor:
    if name == tensor.name:
        return tensor
    return Tensor(
        name=name,
        columns=tensor.columns,
        rows=tensor.rows,
        dims=tensor.dims,
        layer=tensor.layer,
        type_name=tensor.type_name,
        experts=tensor.experts,
    )


def _stacked(name: str, members: list[Tensor]) -> Tensor:
    first = members[0]
    return Tensor(
        name=name,
        columns=first.columns,
        rows=first.rows * len(members),
        dims=first.dims + 1,
        layer=first.layer,
        type_name=first.type_name,
        experts=len(members),
    )
