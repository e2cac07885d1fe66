"""What llama.cpp keeps between batches: cells of K and V, states of recurrent layers.

Equal to the byte to its own allocation on every recorded context (docs/accuracy.md). A model's
layers are counted once into a `CacheGroups`; a question then costs one step per distinct layer.
"""

from typing import final

from mathcore.engines.footprint import ContextShape, pad
from mathcore.engines.llamacpp.graph_input import GraphModel
from mathcore.memo import Memo
from mathcore.model.spec import Layer, ModelSpec
from mathcore.quant.ggml import BLOCKS, CACHE_TYPES

CELL_PAD = 256  # llama.cpp rounds cells up to this
MAX_BUFFERS = 256  # shapes whose compute buffer is remembered, per model
STATE_BYTES = 4  # recurrent states are F32 whatever the cache type


@final
class CacheGroup:
    """Layers that keep the same: how many, and numbers per token or per sequence."""

    __slots__ = (
        "count",
        "compressed",
        "index",
        "index_v",
        "k",
        "padded",
        "ratio",
        "state",
        "v",
        "window",
    )

    def __init__(self, layer: Layer) -> None:
        self.count = 1
        self.k = layer.k_elements
        self.v = layer.v_elements
        self.index = layer.index_elements
        self.index_v = layer.index_v_elements
        self.window = layer.window if layer.kind in ("sliding", "chunked") else 0
        self.ratio = layer.ratio
        self.compressed = layer.compressed_elements
        # Layers without attention, in a model that is not hybrid, still get rows of transposed V.
        self.padded = layer.k_elements == 0 and layer.state is None and layer.reads < 0
        state = layer.state
        self.state = 0 if state is None else state.conv_elements + state.state_elements

    def alike(self, other: "CacheGroup") -> bool:
        """Whether layers of both keep the same."""
        return (
            self.k == other.k
            and self.v == other.v
            and self.index == other.index
            and self.index_v == other.index_v
            and self.window == other.window
            and self.state == other.state
            and self.ratio == other.ratio
            and self.compressed == other.compressed
            and self.padded == other.padded
        )


@final
class CacheGroups:
    """A model's layers counted by what they keep; draft layers belong to another context."""

    __slots__ = (
        "apart",
        "buffers",
        "graph_model",
        "groups",
        "max_v",
        "of_layer",
        "state",
    )

    def __init__(self, spec: ModelSpec) -> None:
        self.groups: list[CacheGroup] = []
        self.of_layer: list[int] = []  # each layer's group
        self.state = 0  # numbers per sequence, all layers
        self.apart = False  # sequences never share a pool, even when told to (DeepSeek V4)
        self.max_v = 0
        for layer in spec.layers[: len(spec.layers) - spec.draft_layers]:
            self._count(layer)
        self.graph_model = GraphModel(spec)
        self.buffers: Memo[int] = Memo(MAX_BUFFERS)  # bytes of compute buffers worked out

    def _count(self, layer: Layer) -> None:
        made = CacheGroup(layer)
        self.state += made.state
        self.apart = self.apart or made.ratio > 0
        self.max_v = max(self.max_v, made.v)
        for i, group in enumerate(self.groups):
            if group.alike(made):
                group.count += 1
                self.of_layer.append(i)
                return
        self.groups.append(made)
        self.of_layer.append(len(self.groups) - 1)


def v_type_of(shape: ContextShape) -> str:
    """The cache type of V: its own, else that of K."""
    return shape.v_type if shape.v_type else shape.kv_type


def cache_refusal(spec: ModelSpec, kv_type: str, v_type: str = "", *, flash: bool = True) -> str:
    """Why llama.cpp would refuse these cache types, or "" if it would not."""
    v_type = v_type if v_type else kv_type
    for name in (kv_type, v_type):
        if name not in CACHE_TYPES:
            return f"unknown cache type '{name}': known are {', '.join(CACHE_TYPES)}"
    if not flash and BLOCKS[v_type.upper()][0] > 1:
        return f"{v_type} values need flash attention: turn it on, or cache V as f16"
    for layer in spec.layers:
        for name, numbers, side in (
            (kv_type, layer.k_elements, layer.head_dim),
            (v_type, layer.v_elements, layer.v_head_dim if layer.v_head_dim else layer.head_dim),
        ):
            block = BLOCKS[name.upper()][0]
            if numbers > 0 and side % block != 0:
                return f"{name} cache needs head size divisible by {block}, not {side}"
    return ""


def cells_per_stream(shape: ContextShape) -> int:
    """Cells of each stream: the whole context padded; shared out and padded again if not shared."""
    step = shape.cell_pad or CELL_PAD
    whole = pad(shape.context * shape.sequences, step)
    return whole if shape.unified else pad(whole // shape.sequences, step)


def window_cells(shape: ContextShape, window: int, cells: int, *, apart: bool = False) -> int:
    """Cells a sliding layer keeps: its window and one micro batch, of all who share the pool."""
    if shape.full_window:
        return cells
    reach = window * (shape.sequences if shape.unified and not apart else 1)
    return pad(min(cells, reach + shape.micro_batch), shape.cell_pad or CELL_PAD)


def _group_bytes(cache: CacheGroups, group: CacheGroup, shape: ContextShape, cells: int) -> int:
    """Cache bytes of one layer of a group, all streams."""
    k_block, k_size = BLOCKS[shape.kv_type.upper()]
    v_block, v_size = BLOCKS[v_type_of(shape).upper()]
    kept = (
        cells if group.window == 0 else window_cells(shape, group.window, cells, apart=cache.apart)
    )
    # Without flash attention V is stored transposed, and every layer's row is the widest one's.
    padded = group.v > 0 or (group.padded and cache.state == 0)
    v = cache.max_v if padded and not shape.flash else group.v
    total = kept * (group.k // k_block * k_size + v // v_block * v_size)
    beside = group.index // k_block * k_size + group.index_v // v_block * v_size
    if group.ratio > 0:
        # One row for `ratio` tokens, an indexer's beside it (llama-kv-cache-dsv4.cpp).
        beside += group.compressed // k_block * k_size
        kept = pad(max(1, (cells + group.ratio - 1) // group.ratio), CELL_PAD)
    shared = shape.unified and not cache.apart
    return (total + kept * beside) * (1 if shared else shape.sequences)


def kv_bytes(cache: CacheGroups, shape: ContextShape) -> int:
    """K and V of every layer, all sequences."""
    cells = cells_per_stream(shape)
    total = 0
    for group in cache.groups:
        total += group.count * _group_bytes(cache, group, shape, cells)
    return total


def state_bytes(cache: CacheGroups, shape: ContextShape) -> int:
    """States of the recurrent layers, one per sequence."""
    return cache.state * STATE_BYTES * shape.sequences


def layer_cache_bytes(cache: CacheGroups, shape: ContextShape) -> list[int]:
    """Cache and state bytes of each layer, all sequences together."""
    cells = cells_per_stream(shape)
    held = STATE_BYTES * shape.sequences
    each = [_group_bytes(cache, g, shape, cells) + g.state * held for g in cache.groups]
    return [each[i] for i in cache.of_layer]
