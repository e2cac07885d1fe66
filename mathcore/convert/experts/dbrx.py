"""Databricks' DBRX: fused attention and experts in every layer."""

from collections.abc import Callable

from mathcore.convert.build import Build
from mathcore.convert.checks import tied
from mathcore.convert.conversion import Conversion
from mathcore.convert.mixture import feed_forward, find_experts, moe_keys
from mathcore.convert.sizes import Sizes, head_size
from mathcore.model.fields import MAX_LAYERS, Fields


def _dbrx(f: Fields) -> Conversion:
    attention, wide = f.nested("attn_config"), f.nested("ffn_config")
    hidden, heads = f.integer("d_model"), f.integer("n_heads")
    s = Sizes(
        vocab=f.integer("vocab_size"),
        hidden=hidden,
        layers=f.integer("n_layers", 1, MAX_LAYERS),
        heads=heads,
        kv_heads=attention.integer("kv_n_heads", 1, heads),
        head_dim=head_size(f, hidden, heads, "n_heads"),
        feed_forward=wide.integer("ffn_hidden_size"),
        context=f.integer_or("max_seq_len", 0),
    )
    b = Build("dbrx", s)
    e = find_experts(wide, "moe_num_experts", "ffn_hidden_size", "moe_top_k")
    moe_keys(b, e)
    b.key("attention.clamp_kqv", 8.0)
    for i in range(s.layers):
        b.norm(i, "attn_norm")
        b.fused_attention(i)
        b.norm(i, "attn_output_norm")
        feed_forward(b, i, e)
    return b.done(tied=tied(f, default=False))


CONVERTERS: dict[str, Callable[[Fields], Conversion]] = {
    "dbrx": _dbrx,
}
