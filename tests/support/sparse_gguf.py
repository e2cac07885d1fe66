"""Writes a Conversion as a GGUF with real shapes and holes for weights.

The file has the model's own metadata, a vocabulary without tokens and every tensor's entry; its
data is one hole, so a model of any size takes a few hundred KiB of disk. `llamacpp_oracle` loads it
in real llama.cpp: together they prove a family (names, shapes, cache bytes).
"""

import struct
from pathlib import Path

from mathcore.convert.conversion import Conversion
from mathcore.model.spec import Tensor
from mathcore.quant.ggml import BLOCKS, TYPE_NAMES

_CODES = {name: code for code, name in TYPE_NAMES.items()}
# Kernels and state parameters llama.cpp computes with in F32 whatever the file's type.
_F32_PARTS = (
    "norm",
    "ssm_conv1d",
    "ssm_a",
    "ssm_d.",
    "ssm_dt.bias",
    "conv",
    "time_mix_",
    "ffn_gate_inp",
    ".bias",
)


# Lists that llama.cpp reads as 64 bits, and no other.
_WIDE = (".ple.layer_multipliers", ".ple.head_offsets", ".ple.head_vocab_sizes")


def _text(value: str) -> bytes:
    data = value.encode()
    return struct.pack("<Q", len(data)) + data


def _scalar(value: object) -> tuple[int, bytes]:
    if isinstance(value, bool):
        return 7, struct.pack("<?", value)
    if isinstance(value, int):
        return (5, struct.pack("<i", value)) if value < 0 else (4, struct.pack("<I", value))
    if isinstance(value, float):
        return 6, struct.pack("<f", value)
    assert isinstance(value, str), value
    return 8, _text(value)


def _pair(key: str, value: object) -> bytes:
    if isinstance(value, list) and key.endswith(_WIDE):
        body = struct.pack("<IIQ", 9, 10, len(value))
        return _text(key) + body + b"".join(struct.pack("<Q", item) for item in value)
    if isinstance(value, list):
        kind = _scalar(value[0])[0]
        body = struct.pack("<IIQ", 9, kind, len(value))
        return _text(key) + body + b"".join(_scalar(item)[1] for item in value)
    kind, data = _scalar(value)
    return _text(key) + struct.pack("<I", kind) + data


def type_of(tensor: Tensor, wanted: str) -> str:
    """The block type it is written in: its own, F32 for small parts, F16 where rows do not fit."""
    if tensor.type_name:
        return tensor.type_name
    if tensor.dims == 1 or any(part in tensor.name for part in _F32_PARTS):
        return "F32"
    return wanted if tensor.columns % BLOCKS[wanted][0] == 0 else "F16"


def _dims(tensor: Tensor, planes: dict[str, int]) -> list[int]:
    """`planes`: part of a name -> third dimension, where it is not the number of experts."""
    deep = tensor.planes if tensor.planes > 1 else tensor.experts
    for part, count in planes.items():
        if part in tensor.name:
            deep = count
    if tensor.dims == 1:
        return [tensor.columns]
    if tensor.dims == 2:
        return [tensor.columns, tensor.rows]
    if tensor.dims == 4:
        return [tensor.columns, 1, tensor.rows // deep, deep]
    return [tensor.columns, tensor.rows // deep, deep]


def write_gguf(
    path: Path, found: Conversion, wanted: str = "F16", planes: dict[str, int] | None = None
) -> int:
    """Writes the file; the bytes its tensors would have."""
    pairs = {**found.metadata, "tokenizer.ggml.model": "no_vocab"}
    head = [_pair(key, value) for key, value in pairs.items()]
    entries: list[bytes] = []
    at, total = 0, 0
    for tensor in found.tensors:
        kind = type_of(tensor, wanted)
        per_block, size = BLOCKS[kind]
        dims = _dims(tensor, planes or {})
        entries.append(
            _text(tensor.name)
            + struct.pack(f"<I{len(dims)}Q", len(dims), *dims)
            + struct.pack("<IQ", _CODES[kind], at)
        )
        held = tensor.columns // per_block * size * tensor.rows
        total += held
        at += -(-held // 32) * 32
    start = struct.pack("<4sIQQ", b"GGUF", 3, len(entries), len(pairs))
    data = start + b"".join(head) + b"".join(entries)
    with path.open("wb") as file:
        file.write(data)
        file.truncate(-(-len(data) // 32) * 32 + at)
    return total
