"""The compute buffer of a llama.cpp context: its whole graph, built and placed as llama.cpp does.

Layers are told apart by the tensors they have. Equal to the byte on recorded contexts of dense,
expert, latent and hybrid models (docs/accuracy.md); what a tensor name cannot tell is listed here.
"""

from typing import final

from mathcore.engines.llamacpp.allocator import Graph
from mathcore.engines.llamacpp.graph import (
    F32,
    Builder,
    GraphLayer,
    Inputs,
    attention,
)
from mathcore.engines.llamacpp.graph_cross import biased_attention, cross_attention
from mathcore.engines.llamacpp.graph_inner import experts_or_dense, has_inner, inner_of, is_parallel
from mathcore.engines.llamacpp.graph_input import (
    GraphModel,
    MicroBatch,
    Stretch,
    is_sliding,
)
from mathcore.engines.llamacpp.graph_latent import (
    CompressedRows,
    compressed_attention,
    latent_attention,
)
from mathcore.engines.llamacpp.graph_recurrent import remember
from mathcore.engines.llamacpp.graph_sparse import BlockInputs, block_attention
from mathcore.model.spec import Layer

# The rows whose logits are wanted are picked after the last layer, not inside it.
LATE_ROWS = (
    "bailingmoe3",
    "cohere2moe",
    "deepseek4",
    "gemma4",
    "glm4moe",
    "gpt-oss",
    "hy-v3",
    "mimo2",
    "nemotron_h",
    "nemotron_h_moe",
    "phi3",
    "qwen35",
    "qwen35moe",
    "qwen3next",
    "step35",
)
# These take no batch of tokens and embeddings mixed (llama-arch.cpp).
NOT_MIXED = ("cogvlm", "deepseek4", "granite-switch")
NO_ROPE = (
    "bloom",
    "gpt2",
    "granitehybrid",
    "jamba",
    "kimi-linear",
    "mpt",
    "nemotron_h",
    "nemotron_h_moe",
    "starcoder",
)
SWA_ROPE = ("cohere2",)  # only their sliding layers rotate Q and K
SCALED_QUERY = ("gemma2", "gemma3", "gemma3n", "phi3")
# Sums whose first term is the residual: an operation takes the place of its first free source.
RESIDUAL_FIRST = ("jamba", "lfm2", "lfm2moe", "openelm")
INNER_RESIDUAL_FIRST = ("jamba", "phi3", "phimoe")
# Attention and feed-forward side by side, summed before the residual.
SIDES_FIRST = ("gptj", "gptneox", "phi2")


def _given(b: Builder, model: GraphModel, batch: MicroBatch, cells: int, head_dim: int) -> Inputs:
    graph, tokens = b.graph, b.tokens
    mask = graph.leaf(cells * tokens * (2 if batch.flash and not batch.cast_mask else 4))
    if batch.flash and batch.cast_mask:
        mask = graph.node(cells * tokens * 2, [mask])
    index = 8 * tokens if batch.indexed else 0
    values = graph.leaf(index * (1 if batch.flash else model.max_value_width))
    given = Inputs(cells, mask, graph.leaf(index), values)
    if head_dim > 0 and head_dim % 64 == 0:
        side = 64
        while head_dim % (2 * side) == 0:
            side *= 2
        if batch.hadamard_k:
            given.hadamard_k = graph.leaf(side * side * F32)
        if batch.hadamard_v:
            given.hadamard_v = graph.leaf(64 * 64 * F32)
    return given


def _index_inputs(b: Builder, model: GraphModel, batch: MicroBatch) -> Inputs:
    graph = b.graph
    side = max(layer.spec.index_elements for layer in model.layers)
    if side == 0:
        return Inputs(0, -1, -1, -1)
    mask = graph.leaf(batch.cells * b.tokens * 2)
    index = Inputs(batch.cells, mask, graph.leaf(8 * b.tokens), -1)
    index.hadamard_k = graph.leaf(side * side * F32)
    return index


@final
class Assembly:
    """The layers put one after another."""

    __slots__ = (
        "b",
        "sparse",
        "buckets",
        "chosen",
        "cross_mask",
        "encoded",
        "compressed",
        "full",
        "index",
        "late",
        "mixed",
        "swa",
        "model",
        "rows",
        "separate",
        "spare_table",
    )

    def __init__(self, model: GraphModel, batch: MicroBatch) -> None:
        b = Builder(batch.tokens, model.hidden)
        self.b = b
        self.model = model
        self.rows = batch.rows
        self.chosen = -1
        self.compressed: dict[int, CompressedRows] = {}
        self.sparse: BlockInputs | None = None
        self.separate = batch.flash and batch.streams == batch.sequences
        self.late = model.architecture in LATE_ROWS and not batch.mixed
        b.layer_norm = model.layer_norm
        b.rope = model.architecture not in NO_ROPE
        b.scale_q = model.architecture in SCALED_QUERY
        b.flash = batch.flash
        b.sequences = batch.sequences
        b.streams = batch.streams
        b.value_bytes = batch.value_bytes
        b.staged = batch.staged.weights
        b.staged_rows = batch.row_blocks if batch.staged.cache else None
        self.spare_table = batch.spare_table
        self.mixed = batch.mixed and model.architecture not in NOT_MIXED
        b.fused = batch.from_file
        b.value_first = not any(is_sliding(layer.spec) for layer in model.layers)
        b.positions = b.graph.leaf(F32 * batch.tokens)
        b.wanted = b.graph.leaf(F32 * batch.rows)
        b.copies = b.graph.leaf(F32 * batch.sequences)
        self.buckets = b.graph.leaf(batch.cells * batch.tokens * F32)
        self.encoded = b.graph.leaf(model.trained * model.hidden * F32)
        mask_number = 2 if batch.flash else F32
        self.cross_mask = b.graph.leaf(model.trained * batch.tokens * mask_number)
        self.full = _given(b, model, batch, batch.cells, model.head_dim)
        self.swa = _given(b, model, batch, batch.swa_cells, model.swa_head_dim)
        self.index = _index_inputs(b, model, batch)

    def compressed_rows(self, spec: Layer) -> CompressedRows:
        """What all layers of one compression ratio share."""
        found = self.compressed.get(spec.ratio)
        if found is None:
            found = CompressedRows(self.b, self.full.cells, spec.ratio, spec.index_elements)
            self.compressed[spec.ratio] = found
        return found

    def attend(self, layer: GraphLayer, x: int) -> int:
        """The layer's mixing of tokens: attention, a state, or both."""
        b, spec = self.b, layer.spec
        if spec.kind == "latent":
            out, self.chosen = latent_attention(b, layer, x, self.full, self.index, self.chosen)
            return out
        if spec.kind == "none":
            return remember(b, layer, x)
        if spec.ratio > 0:
            return compressed_attention(b, layer, x, self.swa, self.compressed_rows(spec))
        if spec.cross:
            return biased_attention(b, layer, x, self.full, self.buckets)
        # llama.cpp picks blocks only with flash attention and streams of their own.
        if layer.has("indexer.q_proj.weight") and self.separate:
            if self.sparse is None:
                self.sparse = BlockInputs(b, self.full)
            return block_attention(b, layer, x, self.full, self.sparse)
        if self.model.architecture in SWA_ROPE:
            b.rope = is_sliding(spec)
        return attention(b, layer, x, self.swa if is_sliding(spec) else self.full)

    def narrow(self, x: int) -> int:
        """Hyper-connections: one stream of the hidden state out of several, by a norm of all."""
        mixes = self.b.f32(self.model.streams, [self.b.same(self.b.graph.view(x))])
        return self.b.f32(self.model.hidden, [x, mixes])

    def widen(self, out: int, x: int) -> int:
        """A sub-layer's result spread over all streams again."""
        return self.b.graph.node(self.b.graph.size[x], [out, x])

    def streamed(self, layer: GraphLayer, x: int, *, last: bool) -> int:
        """A layer of a model whose residual has several streams (DeepSeek V4)."""
        b = self.b
        x = self.widen(self.attend(layer, b.norm(self.narrow(x))), x)
        if last and not self.late:
            x = b.pick(x, self.rows)
            b.tokens = self.rows
        return self.widen(inner_of(b, layer, self.narrow(x)), x)

    def add_layer(self, layer: GraphLayer, x: int, *, last: bool) -> int:
        """One layer: what mixes tokens and its residual, the feed-forward and its residual."""
        b, spec = self.b, layer.spec
        if self.model.streams > 1:
            return self.streamed(layer, x, last=last)
        normed = b.norm(x, bias=layer.has("attn_norm.bias")) if layer.has("attn_norm.weight") else x
        if spec.kind == "none" and spec.state is None:  # nothing mixes tokens here
            return b.add(experts_or_dense(b, layer, normed), x)
        if spec.heads == 0 and spec.state is None:  # Nemotron-NAS: no attention here
            return b.add(inner_of(b, layer, x), x) if has_inner(layer) else x
        cur, residual = self.attend(layer, normed), x
        if spec.cross:
            residual = b.add(cur, residual)
            cur = self.attend_encoder(layer, residual)
        if spec.kind != "none" and spec.state is not None:
            return self.hybrid(layer, cur, x, last=last)
        if last and not self.late:
            cur, residual = b.pick(cur, self.rows), b.pick(residual, self.rows)
            if is_parallel(layer):
                normed = b.pick(normed, self.rows)
            b.tokens = self.rows
        if not has_inner(layer):
            return b.add(cur, residual)
        if is_parallel(layer):
            return self.parallel(layer, normed, cur, residual)
        return self.sequential(layer, cur, residual)

    def attend_encoder(self, layer: GraphLayer, x: int) -> int:
        """Attention to what T5's encoder said."""
        b, model = self.b, self.model
        normed = b.norm(x)
        return cross_attention(b, layer, normed, self.encoded, self.cross_mask, model.trained)

    def hybrid(self, layer: GraphLayer, cur: int, x: int, *, last: bool) -> int:
        """Falcon-H1: attention and state side by side, summed before rows are picked."""
        b = self.b
        inside = b.add(b.add(cur, remember(b, layer, b.norm(x))), x)
        if last:
            inside = b.pick(inside, self.rows)
            b.tokens = self.rows
        return b.add(inner_of(b, layer, inside), inside)

    def parallel(self, layer: GraphLayer, normed: int, cur: int, residual: int) -> int:
        """Attention and feed-forward of one norm, and the residual."""
        b = self.b
        out = experts_or_dense(b, layer, normed)
        if self.model.architecture in SIDES_FIRST:
            return b.add(b.add(cur, out), residual)
        return b.add(b.add(out, residual), cur)

    def sequential(self, layer: GraphLayer, cur: int, residual: int) -> int:
        """Attention's residual, then the feed-forward and its own."""
        b = self.b
        if layer.has("post_attention_norm.weight") and (
            layer.has("ffn_norm.weight") or not layer.has("attn_norm.weight")
        ):
            cur = b.norm(cur)
        first = self.model.architecture in RESIDUAL_FIRST
        inside = b.add(residual, cur) if first else b.add(cur, residual)
        out = inner_of(b, layer, inside)
        first = self.model.architecture in INNER_RESIDUAL_FIRST
        return b.add(inside, out) if first else b.add(out, inside)

    def start(self) -> int:
        """Embeddings: from tokens, with room for ones handed in."""
        b, model, graph = self.b, self.model, self.b.graph
        x = b.f32(model.hidden, [graph.leaf(F32 * b.tokens)])
        graph.expand(x)
        mixed = -1
        if self.mixed:
            mixed = b.f32(model.hidden, [graph.leaf(F32 * b.tokens)])
            graph.expand(mixed)
        wide = model.inputs_width * b.tokens * F32
        if model.inputs_width != model.hidden:
            x = b.f32(model.inputs_width, [x])
            mixed = b.f32(model.inputs_width, [mixed]) if self.mixed else mixed
        graph.expand(x)
        graph.expand(graph.leaf(wide, kept=True))
        if self.mixed:
            # Tokens written among embeddings handed in: laid out in every graph, used in few.
            slots, given = graph.leaf(8 * b.tokens), graph.leaf(wide)
            copy = graph.node(wide, [given])
            graph.expand(graph.view_of(copy, [mixed, slots, copy]))
        if model.inputs_width != model.hidden:
            x = b.part(x, model.hidden)
        if "position_embd.weight" in model.names:
            x = b.add(x, b.f32(model.hidden, [b.positions]))
        return x

    def received(self, part: Stretch) -> int:
        """What a GPU is handed: embeddings the host looked up, or what the card before it made.

        One table of embeddings more than the graph reads was seen on a card (gguf-parser-go#45,
        llama.cpp of August 2026 on ROCm), but not where experts are copied from the host.
        """
        b, model, graph = self.b, self.model, self.b.graph
        if not part.begins:
            if not part.layers and not self.late:  # the card before has picked the rows
                b.tokens = self.rows
            x = graph.leaf(model.streams * model.hidden * b.tokens * F32)
            graph.expand(x)
            return x
        wide = model.inputs_width * b.tokens * F32
        if self.spare_table and not b.staged:
            graph.expand(graph.leaf(wide, kept=True))
        elif self.spare_table and "ffn_down.weight" in b.staged:
            graph.always.append(graph.leaf(wide, kept=True))
        x = graph.leaf(wide)
        graph.expand(x)
        if model.inputs_width != model.hidden:
            x = b.part(x, model.hidden)
        return x

    def hand_on(self, x: int) -> Graph:
        """What the next card is handed."""
        self.b.graph.kept[x] = True
        self.b.graph.expand(x)
        return self.b.graph

    def finish(self, x: int) -> Graph:
        """The final norm, the wanted rows and their logits."""
        b, bias = self.b, "output_norm.bias" in self.model.names
        if self.model.streams > 1:
            x = self.narrow(x)
        first = self.model.architecture == "gpt-oss"  # picks, then norms
        if self.late and first:
            b.graph.kept[x] = True  # for a draft model that may read it
            x = b.pick(x, self.rows)
        x = b.norm(x, bias=bias)
        if self.late and not first:
            b.graph.kept[x] = True
            x = b.pick(x, self.rows)
        b.tokens = self.rows
        logits = b.f32(self.model.vocab, [x])
        b.graph.kept[logits] = True
        b.graph.expand(logits)
        return b.graph


def compute_graph(model: GraphModel, batch: MicroBatch, part: Stretch | None = None) -> Graph:
    """The graph of all layers, or of those a card holds, ready to be laid out."""
    made = Assembly(model, batch)
    part = part if part is not None else model.stretch(0, len(model.every) + 1)
    x = made.received(part) if batch.card else made.start()
    deep = model.inputs_width // model.hidden - 1 if part.begins else 0
    last = len(part.layers) - 1 if part.picks else -1
    embedded = x
    if model.streams > 1 and part.begins:
        x = made.b.f32(model.streams * model.hidden, [x])
    for i, layer in enumerate(part.layers):
        x = made.add_layer(layer, x, last=i == last)
        if i < deep:
            x = made.b.add(x, made.b.part(embedded, model.hidden))
    graph = made.finish(x) if part.ends else made.hand_on(x)
    if batch.copies > 1:
        graph.copy_inputs(batch.copies)
    return graph


def buffer_bytes(model: GraphModel, batch: MicroBatch, part: Stretch | None = None) -> int:
    """Bytes of the compute buffer of all layers, or of those a card holds."""
    return compute_graph(model, batch, part).peak_bytes()


def host_bytes(model: GraphModel, batch: MicroBatch, copies: int = 1) -> int:
    """Bytes the host prepares for cards that hold every layer: embeddings, tokens, all inputs.

    It keeps as many copies of what it is given as the cards do, and one of what it makes.
    """
    graph = compute_graph(model, batch)
    tables = 2 if graph.kept[graph.inputs[0]] else 1
    size = F32 * batch.tokens * copies
    for i, t in enumerate(graph.inputs):
        size += graph.size[t] * (1 if i < tables else copies)
    return size
