"""T5's decoder in the graph: attention with a position bias, and attention to an encoder."""

from mathcore.engines.llamacpp.graph import (
    F32,
    Builder,
    GraphLayer,
    Inputs,
    attend,
    keep,
    projected_heads,
)

F16 = 2


def biased_attention(b: Builder, layer: GraphLayer, x: int, given: Inputs, buckets: int) -> int:
    """Scores are laid out in full, whatever flash attention says: a bias is added to them."""
    graph, spec = b.graph, layer.spec
    q, k, v, _ = projected_heads(b, layer, x, given)
    bias = b.f32(spec.heads * given.cells, [buckets])
    bias = b.copy(graph.view(bias, graph.size[bias]))
    keep(b, q, k, v, given)
    q = graph.view(graph.view(q, graph.size[q]), graph.size[q])
    scores = b.add(b.f32(spec.heads * given.cells, [q]), bias)
    scores = graph.over(graph.size[scores], [scores, given.mask])
    values: list[int] = []
    if b.flash:  # values lie the way flash attention reads them, and are transposed here
        values = [graph.node(given.cells * b.streams * spec.v_elements * F16, [])]
    out = b.f32(spec.heads * spec.v_head_dim, [*values, scores])
    out = b.copy(graph.view(out, graph.size[out]))
    graph.expand(out)
    return b.f32(b.hidden, [out])


def cross_attention(
    b: Builder, layer: GraphLayer, x: int, encoded: int, mask: int, length: int
) -> int:
    """Keys and values are made anew from what the encoder said, `length` rows of it."""
    graph, spec = b.graph, layer.spec
    q = graph.view(b.f32(spec.heads * spec.head_dim, [x]))
    k = graph.view(graph.node(length * spec.k_elements * F32, [encoded]))
    v = graph.view(graph.node(length * spec.v_elements * F32, [encoded]))
    graph.expand(q)
    graph.expand(k)
    graph.expand(v)
    sources = [graph.view(k, graph.size[k]), graph.view(v, graph.size[v])]
    given = Inputs(length, mask, -1, -1)
    if b.flash:
        halves = [graph.node(graph.size[part] // 2, [part]) for part in sources]
        query = graph.view(q, graph.size[q])
        out = b.f32(spec.heads * spec.v_head_dim, [query, *halves, mask])
    else:
        values = [b.copy(sources[1])]
        out = attend(b, q, spec.heads, spec.v_head_dim, given, values)
        out = b.copy(graph.view(out, graph.size[out]))
    out = graph.view(out)
    graph.expand(out)
    return b.f32(b.hidden, [out])
