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
        "every",
        "layers",
        "head_dim",
        "hidden",
        "inputs_width",
        "kinds",
        "layer_norm",
        "names",
        "swa_head_dim",
        "streams",
        "stretches",
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
        self.every = layers
        self.kinds = _kinds(layers)
        self.stretches: dict[tuple[int, int], Stretch] = {}
        self.max_value_width = max((layer.spec.v_elements for layer in layers), default=0)
        self.head_dim = _head_dim(layers, sliding=False)
        self.swa_head_dim = _head_dim(layers, sliding=True)
        self.trained = spec.context_length
        self.streams = _streams(layers, spec.hidden)
        # Vision models with deep stacks hand in their picture beside every embedding.
        self.inputs_width = spec.hidden * (1 + _deep_stacks(spec))
        self.layers = self.stretch(0, count + 1).layers  # of the whole, long repeats cut

    def stretch(self, low: int, high: int) -> "Stretch":
        """Layers low to high; the output layer counts as one more, the last."""
        found = self.stretches.get((low, high))
        if found is None:
            found = Stretch(self.every, self.kinds, low, high)
            self.stretches[(low, high)] = found
        return found


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


def _kinds(layers: list[GraphLayer]) -> list[int]:
    """Each layer's first equal one."""
    firsts: list[int] = []
    out: list[int] = []
    for i, layer in enumerate(layers):
        same = [first for first in firsts if _equal(layers[first], layer)]
        if not same:
            firsts.append(i)
        out.append(same[0] if same else i)
    return out


def shortened(kinds: list[int]) -> list[int]:
    """The same kinds with long repeats cut, an even number of periods at a time.

    Even, because a layer's output may move between two places from one layer to the next.
    """
    out = kinds
    for period in range(1, MAX_PERIOD + 1):
        kept: list[int] = []
        run = 0
        for i, kind in enumerate(out):
            run = run + 1 if i >= period and kind == out[i - period] else 0
            kept.append(kind)
            if run >= (REPEATS + 2) * period:
                del kept[len(kept) - 2 * period :]
                run -= 2 * period
        out = kept
    return out


@final
class Stretch:
    """Layers in a row on one card, long repeats cut; those of all cards together are the model."""

    __slots__ = ("begins", "ends", "key", "layers", "picks")

    def __init__(self, every: list[GraphLayer], kinds: list[int], low: int, high: int) -> None:
        count = len(every)
        own = kinds[low : min(high, count)]
        if not any(["indexer.attn_q_b.weight" in every[kind].rows for kind in own]):
            own = shortened(own)  # each of those keeps an input of its own
        self.layers = [every[kind] for kind in own]
        self.begins = low == 0  # with embeddings, not with what another card made
        self.picks = low < count <= high  # has the last layer, after which few rows go on
        self.ends = high > count  # has the output layer
        self.key = (self.begins, self.picks, self.ends, tuple(own))


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
        "copies",
        "flash",
        "from_file",
        "indexed",
        "mixed",
        "swa_cells",
        "rows",
        "sequences",
        "staged",
        "spare_table",
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
        self.copies = 1  # a card in a pipeline keeps of each input
        self.spare_table = True  # a card holds one table of embeddings more than its graph reads
        self.staged = NOTHING_STAGED
        self.mixed = False  # tokens and embeddings in one batch, as builds of late 2026 allow
        self.indexed = True  # where to write in the cache is an input of its own (set_rows)
        self.cast_mask = False  # flash attention's mask comes in 32 bits and is cast on the card


def is_sliding(layer: Layer) -> bool:
    """Whether a layer lies in the sliding-window cache (llama.cpp: swa)."""
    return layer.kind in ("sliding", "chunked")
