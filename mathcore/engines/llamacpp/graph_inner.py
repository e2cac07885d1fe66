"""What follows attention in a layer's graph: a dense feed-forward, experts, or both."""

from mathcore.engines.llamacpp.graph import Builder, GraphLayer, experts, feed_forward


def mixture(b: Builder, layer: GraphLayer, x: int) -> int:
    """Experts, with the shared ones beside them."""
    graph = b.graph
    if layer.has("ffn_latent_down.weight"):
        wide = layer.width("ffn_latent_down.weight")
        low = b.f32(wide, [x])
        logits = b.multiply("ffn_gate_inp.weight", layer.spec.experts, [x])
        out = experts(b, layer, low, logits, wide)
        out = b.f32(b.hidden, [out])
    else:
        out = experts(b, layer, x)
    if layer.has("ffn_up_shexp.weight"):
        shared = feed_forward(b, layer, x, "_shexp")
        if layer.has("ffn_gate_inp_shexp.weight"):
            shared = graph.over(graph.size[shared], [shared, b.same(b.f32(1, [x]))])
        out = b.add(out, shared)
    return out


def experts_or_dense(b: Builder, layer: GraphLayer, x: int) -> int:
    """Whichever the layer has."""
    routed = layer.has("ffn_gate_inp.weight")
    return mixture(b, layer, x) if routed else feed_forward(b, layer, x)


def _both(b: Builder, layer: GraphLayer, inside: int) -> int:
    """Gemma 4: a dense layer and experts side by side, each with norms of its own."""
    dense = b.norm(feed_forward(b, layer, b.norm(inside)))
    own = b.norm(inside)
    logits = b.f32(layer.spec.experts, [b.same(b.same(b.same(inside)))])
    mixed = b.norm(experts(b, layer, own, logits))
    return b.add(dense, mixed)


def inner_of(b: Builder, layer: GraphLayer, inside: int) -> int:
    """What follows attention, before its residual."""
    if layer.has("ffn_gate_inp.weight") and layer.has("ffn_up.weight"):
        out = _both(b, layer, inside)
    else:
        named = layer.has("ffn_norm.weight") or layer.has("attn_output_norm.weight")
        pre = named or (layer.has("post_attention_norm.weight") and layer.has("attn_norm.weight"))
        cur = b.norm(inside, bias=layer.has("ffn_norm.bias")) if pre else inside
        out = experts_or_dense(b, layer, cur)
    return b.norm(out) if layer.has("post_ffw_norm.weight") else out


def has_inner(layer: GraphLayer) -> bool:
    """Whether anything follows attention."""
    return layer.has("ffn_up.weight") or layer.has("ffn_gate_inp.weight")


def is_parallel(layer: GraphLayer) -> bool:
    """Attention and feed-forward read the same norm."""
    return (
        layer.has("attn_norm.weight")
        and has_inner(layer)
        and not layer.has("ffn_norm.weight")
        and not layer.has("post_attention_norm.weight")
        and not layer.has("attn_output_norm.weight")
    )
