"""JetBrains' Mellum with experts: some layers slide."""

from collections.abc import Callable

from mathcore.convert.build import Build
from mathcore.convert.conversion import Conversion
from mathcore.convert.mixture import feed_forward, find_experts, moe_keys, window_keys
from mathcore.convert.sizes import sizes
from mathcore.model.fields import Fields


def _mellum(f: Fields) -> Conversion:
    s = sizes(f, need_kv=True, need_head_dim=True)
    b = Build("mellum", s)
    e = find_experts(f, "num_experts", "moe_intermediate_size")
    moe_keys(b, e)
    if f.flag_or("use_sliding_window", default=True):
        window_keys(b, f)
    for i in range(s.layers):
        b.norm(i, "attn_norm")
        b.attention(i)
        b.head_norms(i)
        b.norm(i, "ffn_norm")
        feed_forward(b, i, e)
    return b.done(tied=False)


CONVERTERS: dict[str, Callable[[Fields], Conversion]] = {
    "mellum": _mellum,
}
