"""Latent attention (MLA) in the graph, plain or with a sparse-attention indexer (DSA)."""

from typing import final

from mathcore.engines.llamacpp.graph import F32, Builder, GraphLayer, Inputs, attend, rope, store

TOP_K = 2048  # tokens an indexer keeps: DeepSeek V3.2, GLM-5
COMPRESSED_TOP_K = 512  # and rows of a compressed cache: DeepSeek V4 Flash (Pro: 1024)


def _index_scores(b: Builder, layer: GraphLayer, x: int, low_rank: int, index: Inputs) -> int:
    """Which cached tokens each query may read: DSA's lightning indexer, fused."""
    graph, side = b.graph, layer.spec.index_elements
    q = b.f32(layer.width("indexer.attn_q_b.weight"), [low_rank])
    q = rope(b, graph.view(q))
    k = b.f32(side, [x])
    k = b.same(b.same(b.copy(k)))  # layer norm with a bias
    k = rope(b, graph.view(k))
    q = b.f32(layer.width("indexer.attn_q_b.weight"), [index.hadamard_k, q])
    k = b.f32(side, [index.hadamard_k, k])
    store(b, k, index.key_index)
    weights = b.f32(layer.width("indexer.proj.weight"), [x])
    weights = b.same(b.part(weights, layer.width("indexer.proj.weight")))
    q = graph.view(q, graph.size[q])
    scores = b.f32(index.cells, [q, weights, index.mask])
    kept = min(index.cells, COMPRESSED_TOP_K if layer.spec.ratio > 0 else TOP_K)
    return b.copy(b.f32(kept, [scores]))


def _sparse_mask(b: Builder, given: Inputs, chosen: int) -> int:
    """The mask with all but the chosen tokens shut."""
    graph = b.graph
    shut = graph.over(graph.size[given.mask], [given.mask])
    shut = graph.view(shut, graph.size[shut])
    # Zeros to open the mask with: made as an input, so every layer's are there from the start.
    zeros = b.same(graph.leaf(graph.size[chosen]))
    opened = graph.view_of(shut, [zeros, graph.view(chosen, graph.size[chosen]), shut])
    opened = graph.view(opened, graph.size[opened])
    return graph.over(graph.size[given.mask], [opened, given.mask])


def _latent_values(b: Builder, layer: GraphLayer, query: int, given: Inputs) -> int:
    """Attention over the compressed rows, its result spread to each head's values."""
    graph, heads = b.graph, layer.spec.heads
    latent = layer.width("attn_kv_a_norm.weight")
    values = layer.width("attn_output.columns")
    if b.flash:
        out = attend(b, query, heads, latent, given, [], (layer.spec.k_elements, 0))
        out = b.multiply("attn_v_b.weight", values, [graph.view(out, graph.size[out])])
        out = graph.view(b.copy(graph.view(out, graph.size[out])))
    else:
        # The values are the first part of the keys; unfused attention wants them transposed.
        transposed = graph.node(given.cells * latent * b.value_bytes * b.streams, [])
        out = b.f32(values, [attend(b, query, heads, latent, given, [transposed])])
        out = b.copy(graph.view(out, graph.size[out]))
    graph.expand(out)
    return out


def latent_attention(
    b: Builder, layer: GraphLayer, x: int, given: Inputs, index: Inputs, chosen: int
) -> tuple[int, int]:
    """One latent layer; also the tokens its indexer chose, which layers without one reuse."""
    graph, heads = b.graph, layer.spec.heads
    latent = layer.width("attn_kv_a_norm.weight")
    rotary = layer.width("attn_kv_a_mqa.weight") - latent  # numbers per head that rope rotates
    lite = layer.has("attn_q.weight")
    low_rank = x
    if not lite:
        low_rank = b.norm(b.multiply("attn_q_a.weight", layer.width("attn_q_a.weight"), [x]))
    if index.cells and layer.has("indexer.attn_q_b.weight"):
        chosen = _index_scores(b, layer, x, low_rank, index)
    name = "attn_q.weight" if lite else "attn_q_b.weight"
    q = b.multiply(name, layer.width(name), [low_rank])
    q = graph.view(q)
    both = b.multiply("attn_kv_a_mqa.weight", latent + rotary, [x])
    k_rope = b.part(both, rotary)
    q_rope = b.part(q, heads * rotary)
    if b.rope:
        k_rope, q_rope = rope(b, k_rope), rope(b, q_rope)
    saved_norm = b.layer_norm
    b.layer_norm = False
    kv = b.norm(b.part(both, latent))
    b.layer_norm = saved_norm
    plain = b.part(q, graph.size[q] // (b.tokens * F32) - heads * rotary)
    absorbed = b.multiply("attn_k_b.weight", heads * latent, [plain])
    absorbed = graph.view(absorbed, graph.size[absorbed])
    query = b.f32(heads * (latent + rotary), [absorbed, q_rope])
    kv = graph.view(kv)
    key = b.f32(latent + rotary, [kv, k_rope])
    graph.expand(query)
    graph.expand(kv)
    graph.expand(key)
    store(b, key, given.key_index)
    use = given
    if chosen >= 0:
        use = Inputs(given.cells, _sparse_mask(b, given, chosen), -1, -1)
    out = _latent_values(b, layer, query, use)
    return b.multiply("attn_output.weight", b.hidden, [out]), chosen


@final
class CompressedRows:
    """Masks of the rows a compressed cache keeps, and what its indexer is given."""

    __slots__ = ("index", "mask", "rows")

    def __init__(self, b: Builder, cells: int, ratio: int, side: int) -> None:
        self.rows = (cells // ratio + 255) // 256 * 256
        self.mask = b.graph.leaf(self.rows * b.tokens * 2)
        self.index = Inputs(0, -1, -1, -1)
        if side > 0:
            mask = b.graph.leaf(self.rows * b.tokens * 2)
            self.index = Inputs(self.rows, mask, b.graph.leaf(8 * b.tokens), -1)
            self.index.hadamard_k = b.graph.leaf(side * side * F32)


def compressed_attention(
    b: Builder, layer: GraphLayer, x: int, given: Inputs, compressed: CompressedRows
) -> int:
    """DeepSeek V4: queries of a low rank over a window of rows and the compressed ones."""
    graph, spec = b.graph, layer.spec
    low_rank = b.norm(b.multiply("attn_q_a.weight", layer.width("attn_q_a.weight"), [x]))
    mask = compressed.mask
    if layer.has("indexer.attn_q_b.weight"):
        chosen = _index_scores(b, layer, x, low_rank, compressed.index)
        mask = _sparse_mask(b, Inputs(compressed.rows, compressed.mask, -1, -1), chosen)
    q = graph.view(b.multiply("attn_q_b.weight", layer.width("attn_q_b.weight"), [low_rank]))
    q = rope(b, b.same(q))
    kv = rope(b, graph.view(b.norm(b.f32(spec.k_elements, [x]))))
    graph.expand(q)
    graph.expand(kv)
    store(b, kv, given.key_index)
    both = graph.node((given.cells + compressed.rows) * b.tokens * 2, [given.mask, mask])
    use = Inputs(given.cells + compressed.rows, both, -1, -1)
    out = attend(b, q, spec.heads, spec.head_dim, use, [], (spec.k_elements, 0))
    out = rope(b, graph.view(out))
    wide = layer.width("attn_output_a.weight")
    low = b.multiply("attn_output_a.weight", wide, [graph.view(out)])
    return b.multiply("attn_output_b.weight", b.hidden, [low])
