"""What a llama.cpp graph depends on: the model's layers, once, and the batch it is made for."""

from typing import final

from mathcore.engines.llamacpp.graph import GraphLayer
from mathcore.model.spec import Layer, ModelSpec

# Layer norm without a bias to show for it; elsewhere output_norm.bias tells.
LAYER_NORM = ("command-r", "cohere2", "dbrx", "mpt", "olmo", "gptj")
# Equal layers in a row reach a steady state; of longer runs this many are placed.
REPEATS = 4
MAX_PERIOD = 12


@final
class GraphModel:
    """A model's graph in the making: what does not depend on the context's shape."""

    __slots__ = (
        "architecture",
        "layers",
        "head_dim",
        "hidden",
        "inputs_width",
        "kinds",
        "layer_norm",
        "names",
        "swa_head_dim",
        "streams",
        "trained",
        "max_value_width",
        "vocab",
    )

    def __init__(self, spec: ModelSpec) -> None:
        self.architecture = spec.architecture
        self.hidden = spec.hidden
        self.vocab = spec.vocab
        self.names = {tensor.name for tensor in spec.tensors if tensor.layer < 0}
        bias = "output_norm.bias" in self.names
        self.layer_norm = bias or spec.architecture in LAYER_NORM
        count = len(spec.layers) - spec.draft_layers
        layers = graph_layers(spec, count)
        self.max_value_width = max((layer.spec.v_elements for layer in layers), default=0)
        self.head_dim = _head_dim(layers, sliding=False)
        self.swa_head_dim = _head_dim(layers, sliding=True)
        self.layers = shortened(layers)
        self.trained = spec.context_length
        self.streams = _streams(layers, spec.hidden)
        # Vision models with deep stacks hand in their picture beside every embedding.
        self.inputs_width = spec.hidden * (1 + _deep_stacks(spec))


def _head_dim(layers: list[GraphLayer], *, sliding: bool) -> int:
    """Head size of the layers of one cache; 0 when it has none."""
    for layer in layers:
        if layer.spec.k_elements > 0 and is_sliding(layer.spec) == sliding:
            return layer.spec.head_dim
    return 0


def _streams(layers: list[GraphLayer], hidden: int) -> int:
    """Streams of the residual: a hyper-connection reads them all at once."""
    for layer in layers:
        if layer.has("hc_attn_fn.columns"):
            return layer.width("hc_attn_fn.columns") // hidden
    return 1


def _deep_stacks(spec: ModelSpec) -> int:
    return 3 if spec.architecture in ("qwen3vl", "qwen3vlmoe") else 0


def graph_layers(spec: ModelSpec, count: int) -> list[GraphLayer]:
    """The first `count` layers with the rows of their tensors."""
    rows: list[dict[str, int]] = [{} for _ in range(count)]
    for tensor in spec.tensors:
        if 0 <= tensor.layer < count:
            if tensor.name.startswith("enc."):
                continue  # another graph
            base = tensor.name.removeprefix("dec.").split(".", 2)[2]
            rows[tensor.layer][base] = (
                tensor.columns if tensor.dims < 2 else tensor.rows // tensor.experts
            )
            if base in ("attn_output.weight", "hc_attn_fn.weight"):
                rows[tensor.layer][base.replace("weight", "columns")] = tensor.columns
    return [GraphLayer(spec.layers[i], rows[i]) for i in range(count)]


def _equal(a: GraphLayer, b: GraphLayer) -> bool:
    return a.spec == b.spec and a.rows == b.rows


def shortened(layers: list[GraphLayer]) -> list[GraphLayer]:
    """The same layers with long repeats cut, an even number of periods at a time.

    Even, because a layer's output may move between two places from one layer to the next.
    """
    if any("indexer.attn_q_b.weight" in layer.rows for layer in layers):
        return layers  # each of them keeps an input of its own
    out = layers
    for period in range(1, MAX_PERIOD + 1):
        kept: list[GraphLayer] = []
        run = 0
        for i, layer in enumerate(out):
            same = i >= period and _equal(layer, out[i - period])
            run = run + 1 if same else 0
            kept.append(layer)
            if run >= (REPEATS + 2) * period:
                del kept[len(kept) - 2 * period :]
                run -= 2 * period
        out = kept
    return out


@final
class Staged:
    """Weights and cache rows in host memory that a GPU computes with all the same.

    llama.cpp copies each there for as long as it is read, when a batch has 32 tokens or more.
    """

    __slots__ = ("cache", "key", "weights")

    def __init__(self, weights: dict[str, int], *, cache: bool) -> None:
        self.key = (cache, tuple(sorted(weights.items())))
        self.weights = weights  # bytes by a tensor's name without "blk.N.", the largest layer's
        self.cache = cache  # layers' caches lie there, too


NOTHING_STAGED = Staged({}, cache=False)


@final
class MicroBatch:
    """The part of a context's shape its graph depends on."""

    __slots__ = (
        "card",
        "cast_mask",
        "cells",
        "flash",
        "from_file",
        "indexed",
        "mixed",
        "swa_cells",
        "rows",
        "sequences",
        "staged",
        "streams",
        "tokens",
        "hadamard_k",
        "hadamard_v",
        "row_blocks",
        "value_bytes",
    )

    def __init__(self, tokens: int, rows: int, cells: int, swa_cells: int) -> None:
        self.tokens = tokens  # of one micro batch
        self.rows = rows  # whose logits are wanted
        self.cells = cells  # readable by one token
        self.swa_cells = swa_cells  # of the sliding layers
        self.sequences = 1
        self.streams = 1
        self.flash = True
        self.hadamard_k = False  # quantised keys, values are rotated first
        self.hadamard_v = False
        self.value_bytes = 2
        self.row_blocks = ((1, 2), (1, 2))  # (numbers, bytes) of a block of K and of V
        self.from_file = True  # else made by the library itself: Q, K and V never fused
        self.card = False  # on a GPU: what reads tables and mixes embeddings stays with the host
        self.staged = NOTHING_STAGED
        self.mixed = False  # tokens and embeddings in one batch, as builds of late 2026 allow
        self.indexed = True  # where to write in the cache is an input of its own (set_rows)
        self.cast_mask = False  # flash attention's mask comes in 32 bits and is cast on the card


def is_sliding(layer: Layer) -> bool:
    """Whether a layer lies in the sliding-window cache (llama.cpp: swa)."""
    return layer.kind in ("sliding", "chunked")
