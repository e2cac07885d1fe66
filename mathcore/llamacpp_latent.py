"""Graph blocks of latent attention (MLA), plain or with a sparse-attention indexer (DSA)."""

from mathcore.llamacpp_graph import F32, Block, Builder, Inputs, attend, rope, store

TOP_K_MOST = 2048  # tokens a DSA indexer keeps where the model does not say


def _index_scores(b: Builder, block: Block, x: int, compressed: int, index: Inputs) -> int:
    """Which cached tokens each query may read: DSA's lightning indexer, fused."""
    graph, side = b.graph, block.layer.index_elements
    q = b.f32(block.width("indexer.attn_q_b.weight"), [compressed])
    q = rope(b, graph.view(q))
    k = b.f32(side, [x])
    k = b.same(b.same(b.copy(k)))  # layer norm with a bias
    k = rope(b, graph.view(k))
    q = b.f32(block.width("indexer.attn_q_b.weight"), [index.turn_k, q])
    k = b.f32(side, [index.turn_k, k])
    store(b, k, index.key_index)
    weights = b.f32(block.width("indexer.proj.weight"), [x])
    weights = b.same(b.part(weights, block.width("indexer.proj.weight")))
    q = graph.view(q, graph.size[q])
    scores = b.f32(index.cells, [q, weights, index.mask])
    kept = min(index.cells, TOP_K_MOST)
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


def latent_attention(
    b: Builder, block: Block, x: int, given: Inputs, index: Inputs, chosen: int
) -> tuple[int, int]:
    """One latent layer; also the tokens its indexer chose, which layers without one reuse."""
    graph, heads = b.graph, block.layer.heads
    latent = block.width("attn_kv_a_norm.weight")
    turned = block.width("attn_kv_a_mqa.weight") - latent  # the part rope turns
    values = block.width("attn_output.columns")
    lite = block.has("attn_q.weight")
    compressed = x
    if not lite:
        compressed = b.norm(b.f32(block.width("attn_q_a.weight"), [x]))
    if index.cells and block.has("indexer.attn_q_b.weight"):
        chosen = _index_scores(b, block, x, compressed, index)
    q = b.f32(block.width("attn_q.weight" if lite else "attn_q_b.weight"), [compressed])
    q = graph.view(q)
    both = b.f32(latent + turned, [x])
    k_rope = b.part(both, turned)
    q_rope = b.part(q, heads * turned)
    if b.rope:
        k_rope, q_rope = rope(b, k_rope), rope(b, q_rope)
    saved_norm = b.layer_norm
    b.layer_norm = False
    kv = b.norm(b.part(both, latent))
    b.layer_norm = saved_norm
    plain = b.part(q, graph.size[q] // (b.tokens * F32) - heads * turned)
    absorbed = b.f32(heads * latent, [plain])
    absorbed = graph.view(absorbed, graph.size[absorbed])
    query = b.f32(heads * (latent + turned), [absorbed, q_rope])
    kv = graph.view(kv)
    key = b.f32(latent + turned, [kv, k_rope])
    graph.expand(query)
    graph.expand(kv)
    graph.expand(key)
    store(b, key, given.key_index)
    use = given
    if chosen >= 0:
        use = Inputs(given.cells, _sparse_mask(b, given, chosen), -1, -1)
    extra: list[int] = []
    if not b.flash:
        # The values are the first part of the keys; unfused attention wants them transposed.
        extra = [graph.node(given.cells * latent * b.value_bytes * b.streams, [])]
    out = attend(b, query, heads, latent, use, extra)
    if b.flash:
        out = b.f32(values, [graph.view(out, graph.size[out])])
        out = graph.view(b.copy(graph.view(out, graph.size[out])))
    else:
        out = b.f32(values, [out])
        out = b.copy(graph.view(out, graph.size[out]))
    graph.expand(out)
    return b.f32(b.hidden, [out]), chosen
