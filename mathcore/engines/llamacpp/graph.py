"""Parts of llama.cpp's graphs as tensors of a `Graph`: their sizes and order, no numbers.

What a part consists of, and in which order, follows llama-graph.cpp (llama.cpp 0.5).
"""

from typing import final

from mathcore.engines.llamacpp.allocator import Graph
from mathcore.model.spec import Layer

F32 = 4


@final
class GraphLayer:
    """One layer as its graph sees it: the layer, and rows of its tensors named without "blk.N."."""

    __slots__ = ("rows", "spec")

    def __init__(self, spec: Layer, rows: dict[str, int]) -> None:
        self.spec = spec
        self.rows = rows

    def has(self, name: str) -> bool:
        """Whether the layer has a tensor of this name, "blk.N." left out."""
        return name in self.rows

    def width(self, name: str) -> int:
        """Rows of a weight, of one expert: numbers per token it puts out; 0 without it."""
        return self.rows.get(name, 0)


@final
class Inputs:
    """What one kind of cache is given with each batch: where to write, what may be read."""

    __slots__ = ("cells", "hadamard_k", "hadamard_v", "key_index", "mask", "value_index")

    def __init__(self, cells: int, mask: int, key_index: int, value_index: int) -> None:
        self.cells = cells
        self.mask = mask
        self.key_index = key_index
        self.value_index = value_index
        self.hadamard_k = -1  # Hadamard matrices of a quantised cache
        self.hadamard_v = -1


@final
class Builder:
    """A graph under construction, and the sizes all its layers share."""

    __slots__ = (
        "copies",
        "flash",
        "fused",
        "graph",
        "hidden",
        "layer_norm",
        "positions",
        "reader",
        "rope",
        "scale_q",
        "sequences",
        "staged",
        "staged_rows",
        "streams",
        "tokens",
        "value_bytes",
        "value_first",
        "wanted",
    )

    def __init__(self, tokens: int, hidden: int) -> None:
        self.graph = Graph()
        self.tokens = tokens  # of one micro batch; later only those whose logits are wanted
        self.hidden = hidden
        self.sequences = 1
        self.streams = 1
        self.value_bytes = 2  # of one cached number
        self.value_first = True  # values are stored before keys, except beside a sliding window
        self.flash = True
        self.fused = True  # Q, K and V in one matrix stay together
        self.layer_norm = False
        self.rope = True
        self.scale_q = False
        self.positions = -1
        self.wanted = -1  # numbers of the rows whose logits are wanted
        self.copies = -1  # which recurrent state each sequence reads
        self.reader = -1  # the attention that last read rows of another device
        self.staged: dict[str, int] = {}  # weights of other devices, by name: their bytes
        # (numbers, bytes) of a block of K and of V that lie with another device.
        self.staged_rows: tuple[tuple[int, int], tuple[int, int]] | None = None

    def is_fused(self, layer: GraphLayer) -> bool:
        """Whether Q, K and V come from one matrix."""
        return self.fused and layer.has("attn_qkv.weight")

    def f32(self, width: int, sources: list[int]) -> int:
        """`width` numbers per token."""
        return self.graph.node(width * self.tokens * F32, sources)

    def multiply(self, weight: str, width: int, sources: list[int]) -> int:
        """`width` numbers per token, made with a weight that may have to be copied here first."""
        out = self.f32(width, sources)
        if self.staged:
            self.graph.stage(out, self.staged.get(weight, 0))
        return out

    def read_rows(self, reader: int, cells: int, numbers: int, *, of_v: bool) -> None:
        """Notes that `reader` reads K or V of every stream: copied here from where they lie."""
        if self.staged_rows is not None:
            self.reader = reader
            block, size = self.staged_rows[1 if of_v else 0]
            self.graph.stage(reader, cells * self.streams * numbers // block * size)

    def same(self, source: int) -> int:
        """An element-wise operation, in place where possible."""
        return self.graph.over(self.graph.size[source], [source])

    def add(self, first: int, second: int) -> int:
        """A sum in the place of its first free term."""
        return self.graph.over(self.graph.size[first], [first, second])

    def part(self, of: int, width: int) -> int:
        """`width` of each token's numbers."""
        return self.graph.view(of, width * self.tokens * F32)

    def copy(self, of: int) -> int:
        """A view written out in a row."""
        return self.graph.node(self.graph.size[of], [of])

    def norm(self, source: int, *, bias: bool = False, width: int = 0) -> int:
        """RMS norm works in place, layer norm does not; then the weight, then the bias.

        `width` is the weight's where it is not as wide as a token: of each head.
        """
        first = self.copy(source) if self.layer_norm else self.same(source)
        done = self.same(first)
        if self.staged:
            self.graph.stage(done, F32 * width or self.graph.size[done] // self.tokens)
        return self.same(done) if bias else done

    def hadamard(self, source: int, matrix: int) -> int:
        """Q, K or V rotated by a quantised cache's Hadamard matrix; -1 = as they are."""
        if matrix < 0:
            return source
        graph = self.graph
        return graph.view(graph.node(graph.size[source], [matrix, graph.view(source)]))

    def pick(self, source: int, rows: int) -> int:
        """Only the rows whose logits are wanted."""
        size = self.graph.size[source] // self.tokens * rows
        return self.graph.node(size, [source, self.wanted])


def store(b: Builder, what: int, index: int) -> None:
    """Writes this batch's keys or values into the cache."""
    b.graph.expand(b.graph.sink([b.graph.view(what, b.graph.size[what]), index]))


def attend(
    b: Builder,
    q: int,
    heads: int,
    v_dim: int,
    given: Inputs,
    values: list[int],
    kept: tuple[int, int] = (0, 0),
) -> int:
    """Attention of a query over the cache; `values` is what an unfused one must copy first.

    `kept` are the numbers of K and of V that a cached token has.
    """
    graph = b.graph
    q = graph.view(graph.view(q, graph.size[q]), graph.size[q])
    if b.flash:
        out = b.f32(heads * v_dim, [q, given.mask])
        b.read_rows(out, given.cells, kept[0], of_v=False)
        b.read_rows(out, given.cells, kept[1], of_v=True)
        return out
    scores = b.f32(heads * given.cells, [q])
    b.read_rows(scores, given.cells, kept[0], of_v=False)
    scores = graph.over(graph.size[scores], [scores, given.mask])
    out = b.f32(heads * v_dim, [*values, scores])
    b.read_rows(out, given.cells, kept[1], of_v=True)
    return out


def queries(b: Builder, layer: GraphLayer, x: int) -> tuple[int, int, int]:
    """Query, key and value as projected: three tensors, or three views of a fused one."""
    spec = layer.spec
    q_width = spec.heads * spec.head_dim
    if b.is_fused(layer):
        fused = b.multiply("attn_qkv.weight", layer.width("attn_qkv.weight"), [x])
        if layer.has("attn_qkv.bias"):
            fused = b.same(fused)
        return (
            b.part(fused, q_width),
            b.part(fused, spec.k_elements),
            b.part(fused, spec.v_elements),
        )
    q = b.multiply("attn_q.weight", q_width, [x])
    k = b.multiply("attn_k.weight", spec.k_elements, [x])
    v = b.multiply("attn_v.weight", spec.v_elements, [x])
    if layer.has("attn_q.bias") or layer.has("attn_qkv.bias"):
        q, k, v = b.same(q), b.same(k), b.same(v)
    return q, k, v


def rope(b: Builder, source: int) -> int:
    """Rotary positions, in place where possible."""
    return b.graph.over(b.graph.size[source], [source, b.positions])


def projected_heads(
    b: Builder, layer: GraphLayer, x: int, given: Inputs
) -> tuple[int, int, int, int]:
    """Q, K and V as attention reads and stores them, and a gate for its output or -1."""
    graph, spec = b.graph, layer.spec
    wide_q = spec.heads * spec.head_dim
    gate = -1
    if layer.width("attn_q.weight") == 2 * wide_q:
        full = b.multiply("attn_q.weight", 2 * wide_q, [x])
        q, gate = b.part(full, wide_q), b.copy(b.part(full, wide_q))
        k = b.multiply("attn_k.weight", spec.k_elements, [x])
        v = b.multiply("attn_v.weight", spec.v_elements, [x])
    else:
        q, k, v = queries(b, layer, x)
    normed = layer.has("attn_q_norm.weight")
    # Heads are a reshape; a norm over the whole width comes before it, one over each head after.
    wide = layer.width("attn_q_norm.weight") > spec.head_dim
    if normed and wide:
        q, k = b.norm(q), b.norm(k)
    if not b.is_fused(layer):
        q = graph.view(q) if gate < 0 else q
        k, v = graph.view(k), graph.view(v)
    if normed and not wide:
        q, k = b.norm(q, width=spec.head_dim), b.norm(k, width=spec.head_dim)
    if b.rope:
        q, k = rope(b, q), rope(b, k)
    if b.scale_q:
        q = b.same(q)
    q = b.hadamard(q, given.hadamard_k)
    return q, b.hadamard(k, given.hadamard_k), b.hadamard(v, given.hadamard_v), gate


def keep(b: Builder, q: int, k: int, v: int, given: Inputs) -> None:
    """Computes the three and writes keys and values into the cache."""
    b.graph.expand(q)
    b.graph.expand(v if b.value_first else k)
    b.graph.expand(k if b.value_first else v)
    store(b, k, given.key_index)
    store(b, v, given.value_index)


def attention(b: Builder, layer: GraphLayer, x: int, given: Inputs) -> int:
    """Projections, norms and rope, the cache, attention, the output projection."""
    graph, spec = b.graph, layer.spec
    q, k, v, gate = projected_heads(b, layer, x, given)
    if spec.reads < 0:
        keep(b, q, k, v, given)
    graph.expand(q)
    kept = (spec.k_elements, spec.v_elements)
    out = attend(b, q, spec.heads, spec.v_head_dim, given, [], kept)
    if not b.flash:
        out = b.copy(graph.view(out, graph.size[out]))
    out = graph.view(out)
    graph.expand(out)
    out = b.hadamard(out, given.hadamard_v)
    if gate >= 0:
        out = b.add(out, b.same(gate))
    out = b.multiply("attn_output.weight", b.hidden, [out])
    return b.same(out) if layer.has("attn_output.bias") else out


def feed_forward(b: Builder, layer: GraphLayer, x: int, kind: str = "") -> int:
    """The dense layer, or with `kind` "_shexp" the shared experts."""
    up_width = layer.width(f"ffn_up{kind}.weight")
    up = b.multiply(f"ffn_up{kind}.weight", up_width, [x])
    if layer.has(f"ffn_up{kind}.bias"):
        up = b.same(up)
    if layer.has(f"ffn_gate{kind}.weight"):
        gate = b.multiply(f"ffn_gate{kind}.weight", up_width, [x])
        if layer.has(f"ffn_gate{kind}.bias"):
            gate = b.same(gate)
        inside = b.f32(up_width, [gate, up])
    elif up_width == 2 * layer.spec.feed_forward and not kind:
        inside = b.f32(layer.spec.feed_forward, [up])  # gate and up in one matrix
    else:
        inside = b.same(up)
    out = b.multiply(f"ffn_down{kind}.weight", b.hidden, [inside])
    if not kind and b.reader >= 0:
        b.graph.until[b.reader] = out  # as seen, of dense layers alone
    return b.same(out) if layer.has(f"ffn_down{kind}.bias") else out


def routing(b: Builder, layer: GraphLayer, logits: int) -> tuple[int, int]:
    """Which experts each token goes to, and their weights."""
    graph, used = b.graph, layer.spec.experts_used
    if layer.has("ffn_gate_inp.bias"):
        logits = b.same(logits)
    probs = b.same(logits)
    chosen_by = probs
    if layer.has("exp_probs_b.bias"):
        chosen_by = b.same(probs)
    chosen = b.part(b.f32(layer.spec.experts, [chosen_by]), used)
    weights = b.f32(used, [graph.view(probs), chosen])
    weights = graph.view(weights)
    total = b.same(b.f32(1, [weights]))
    weights = graph.view(graph.over(graph.size[weights], [weights, total]))
    graph.expand(weights)
    return chosen, weights


def _expert_inner(b: Builder, layer: GraphLayer, x: int, chosen: int) -> int:
    """Up and gate of the chosen experts, activated."""
    used, inner = layer.spec.experts_used, layer.spec.expert_feed_forward
    if layer.has("ffn_gate_up_exps.weight"):
        both = b.multiply("ffn_gate_up_exps.weight", 2 * inner * used, [x, chosen])
        gate, up = b.part(both, inner * used), b.part(both, inner * used)
        return b.f32(inner * used, [gate, up])
    up = b.multiply("ffn_up_exps.weight", inner * used, [x, chosen])
    if layer.has("ffn_up_exps.bias"):
        up = b.same(up)
    if not layer.has("ffn_gate_exps.weight"):
        return b.same(b.same(up))
    gate = b.multiply("ffn_gate_exps.weight", inner * used, [x, chosen])
    if layer.has("ffn_gate_exps.bias"):
        gate = b.same(gate)
    return b.f32(inner * used, [gate, up])


def _sum_of_experts(b: Builder, out: int, wide: int, used: int) -> int:
    """Each expert's part of `out`, added up one after another."""
    graph = b.graph
    parts: list[int] = []
    for _ in range(used):
        parts.append(b.part(out, wide))
        graph.expand(parts[-1])
    total = parts[0]
    for one in parts[1:]:
        total = graph.over(wide * b.tokens * F32, [total, one])
        graph.expand(total)
    return b.copy(total) if used == 1 else total


def experts(b: Builder, layer: GraphLayer, x: int, logits: int = -1, wide: int = 0) -> int:
    """The chosen experts, weighted and summed; `wide` is their hidden size if not the model's."""
    graph, used = b.graph, layer.spec.experts_used
    wide = wide if wide else b.hidden
    if logits < 0:
        logits = b.multiply("ffn_gate_inp.weight", layer.spec.experts, [x])
    chosen, weights = routing(b, layer, logits)
    inside = _expert_inner(b, layer, graph.view(x), chosen)
    out = b.multiply("ffn_down_exps.weight", wide * used, [inside, chosen])
    if layer.has("ffn_down_exps.bias"):
        out = b.same(out)
    out = graph.over(graph.size[out], [out, weights])
    graph.expand(out)
    return _sum_of_experts(b, out, wide, used)
