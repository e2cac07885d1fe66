"""Arcee's AFM with experts: gated attention and a norm before and after each half."""

from collections.abc import Callable

from mathcore.convert.build import Build
from mathcore.convert.checks import all_but_every, sliding_layers, tied
from mathcore.convert.conversion import Conversion
from mathcore.convert.mixture import Experts, feed_forward, find_experts, moe_keys
from mathcore.convert.sizes import sizes
from mathcore.model.fields import Fields


def _afmoe(f: Fields) -> Conversion:
    s = sizes(f, need_kv=True, need_head_dim=True)
    b = Build("afmoe", s)
    e = find_experts(f, "num_experts", "moe_intermediate_size")
    e = Experts(
        count=e.count,
        used=e.used,
        width=e.width,
        shared=f.integer("num_shared_experts", 0) * e.width,
        dense=f.integer("num_dense_layers", 0, s.layers),
        bias=True,
    )
    moe_keys(b, e)
    b.key("expert_shared_count", f.integer("num_shared_experts", 0))
    period = f.integer_or("global_attn_every_n_layers", 4)
    b.key("attention.sliding_window", f.integer("sliding_window"))
    sliding = sliding_layers(f, s.layers, all_but_every(s.layers, period))
    b.key("attention.sliding_window_pattern", sliding)
    for i in range(s.layers):
        b.norm(i, "attn_norm")
        b.attention(i)
        b.head_norms(i)
        b.matrix(i, "attn_gate", s.hidden, s.q)
        b.norm(i, "post_attention_norm")
        b.norm(i, "ffn_norm")
        feed_forward(b, i, e)
        b.norm(i, "post_ffw_norm")
    return b.done(tied=tied(f, default=False))


CONVERTERS: dict[str, Callable[[Fields], Conversion]] = {
    "afmoe": _afmoe,
}
