"""What we say of rows from ik_llama.cpp, a fork with caches of its own kind: its cache's bytes."""

import re
from pathlib import Path

from mathcore.engines.llamacpp.cache import cells_per_stream, kv_bytes
from mathcore.engines.llamacpp.memory import cache_groups
from mathcore.model.spec import ModelSpec
from mathcore.quant.ggml import BLOCKS
from scripts.lab.device.models import spec_of
from scripts.lab.device.rows import Answer, Refused, Row, shape_of

# What the fork does not do: a window's cache holds the whole context.
FULL_WINDOW = "1"
_KEYS = re.compile(r"(?:c\^KV|K) \((\w+)\)")
_VALUES = re.compile(r"V \((\w+)\)")
_COMPRESSED = "c^KV"


def _expanded(spec: ModelSpec, cells: int, kv_type: str) -> int:
    """Keys and values of latent layers where the fork keeps every head's (mla=0)."""
    block, size = BLOCKS[kv_type.upper()]
    total = 0
    for i, layer in enumerate(spec.layers[: len(spec.layers) - spec.draft_layers]):
        rank, low, numbers = layer.head_dim, 0, 0
        for tensor in spec.tensors:
            if tensor.layer != i:
                continue
            if tensor.name.endswith("attn_kv_a_norm.weight"):
                low = tensor.columns
            if tensor.name.endswith(("attn_k_b.weight", "attn_v_b.weight", "attn_kv_b.weight")):
                numbers += tensor.columns * tensor.rows
        rotary = rank - low
        total += cells * ((numbers // low + layer.heads * rotary) // block * size)
    return total


# CUDA ends a quantised tensor on a whole number of these numbers, and tensors on 128 bytes.
ROW_NUMBERS = 512
ALIGN = 128


def _padding(spec: ModelSpec, kv_type: str) -> int:
    """Bytes CUDA adds behind each layer's quantised keys, a head or a latent row wide here."""
    block, size = BLOCKS[kv_type.upper()]
    total = 0
    for layer in spec.layers[: len(spec.layers) - spec.draft_layers]:
        side = layer.head_dim % ROW_NUMBERS
        if block > 1 and layer.k_elements > 0 and side:
            added = (ROW_NUMBERS - side) // block * size
            total += -(-added // ALIGN) * ALIGN
    return total


def kv_row(row: Row, configs: Path | None, declared: str, *, shared: bool) -> Answer:
    """A cache, its types as the log's own total names them (`declared`); `shared` over buffers."""
    spec = spec_of(row["model"], configs)
    if spec is None:
        raise Refused("a model we do not know")
    keys, values = _KEYS.search(declared), _VALUES.search(declared)
    if keys is None:
        raise Refused("the cache's type is not in the log")
    if shared:
        raise Refused("a cache shared out over buffers as the row does not say")
    types = {"kv_type_k": keys.group(1), "kv_type_v": values.group(1) if values else ""}
    shape = shape_of({**row, **types, "swa_full": FULL_WINDOW})
    latent = any(layer.kind == "latent" for layer in spec.layers)
    if latent and _COMPRESSED not in declared:
        return Answer("kv, fork", _expanded(spec, cells_per_stream(shape), shape.kv_type))
    if latent and "kv^T: not used" not in declared:
        raise Refused("a second, transposed cache of the fork's")
    padding = _padding(spec, shape.kv_type) if row["buffer"].startswith("CUDA") else 0
    return Answer("kv, fork", kv_bytes(cache_groups(spec), shape) + padding)
