"""Cohere's Command-R: one norm, attention and feed-forward side by side, tied embeddings."""

from collections.abc import Callable

from mathcore.convert.build import Build
from mathcore.convert.checks import all_but_every, dense_only, sliding_layers
from mathcore.convert.conversion import Conversion
from mathcore.convert.mixture import Experts, feed_forward, find_experts, moe_keys
from mathcore.convert.sizes import sizes
from mathcore.model.fields import Fields


def _cohere(f: Fields) -> Conversion:
    """Command-R: one norm, attention and feed-forward side by side, always tied."""
    dense_only(f)
    b = Build("command-r", sizes(f))
    normed = f.flag_or("use_qk_norm", default=False)
    # llama.cpp tells the two kinds apart by their depth.
    if normed != (b.s.layers >= 64):
        raise f.fault("use_qk_norm", f"with {b.s.layers} layers is no model llama.cpp loads")
    bias = f.flag_or("attention_bias", default=False)
    for i in range(b.s.layers):
        b.norm(i, "attn_norm")
        b.attention(i, bias=bias, out_bias=bias)
        if normed:
            b.matrix(i, "attn_q_norm", b.s.head_dim, b.s.heads)
            b.matrix(i, "attn_k_norm", b.s.head_dim, b.s.kv_heads)
        b.gated_mlp(i)
    b.key("logit_scale", 1.0)
    return b.done(tied=True)


def _cohere2(f: Fields) -> Conversion:
    dense_only(f)
    b = Build("cohere2", sizes(f))
    period = f.integer_or("sliding_window_pattern", 4)
    b.key("attention.sliding_window", f.integer("sliding_window"))
    sliding = sliding_layers(f, b.s.layers, all_but_every(b.s.layers, period))
    b.key("attention.sliding_window_pattern", sliding)
    b.key("logit_scale", 1.0)
    for i in range(b.s.layers):
        b.norm(i, "attn_norm")
        b.attention(i)
        b.gated_mlp(i)
    return b.done(tied=True)


def _cohere2_moe(f: Fields) -> Conversion:
    """Command-R with experts: one norm, halves side by side, always tied."""
    s = sizes(f, need_kv=True, need_head_dim=True)
    b = Build("cohere2moe", s)
    e = find_experts(f, "num_experts", "intermediate_size")
    e = Experts(
        count=e.count,
        used=e.used,
        width=e.width,
        shared=f.integer_or("num_shared_experts", 0, 0) * e.width,
        dense=f.integer("first_k_dense_replace", 0, s.layers),
    )
    moe_keys(b, e)
    b.key("logit_scale", 1.0)
    b.key("attention.sliding_window", f.integer("sliding_window"))
    b.key("attention.sliding_window_pattern", sliding_layers(f, s.layers, None))
    for i in range(s.layers):
        b.norm(i, "attn_norm")
        b.attention(i)
        feed_forward(b, i, e)
    return b.done(tied=True)


CONVERTERS: dict[str, Callable[[Fields], Conversion]] = {
    "cohere": _cohere,
    "cohere2": _cohere2,
    "cohere2_moe": _cohere2_moe,
}
