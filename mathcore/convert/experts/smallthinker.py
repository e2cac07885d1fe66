"""SmallThinker: experts in every layer, three sliding layers of four."""

from collections.abc import Callable

from mathcore.convert.build import Build
from mathcore.convert.checks import tied
from mathcore.convert.conversion import Conversion
from mathcore.convert.mixture import GATING, feed_forward, find_experts, moe_keys
from mathcore.convert.sizes import sizes
from mathcore.model.fields import Fields


def _smallthinker(f: Fields) -> Conversion:
    s = sizes(f, need_kv=True, need_head_dim=True, feed_forward="moe_ffn_hidden_size")
    b = Build("smallthinker", s)
    used = "moe_num_active_primary_experts"
    e = find_experts(f, "moe_num_primary_experts", "moe_ffn_hidden_size", used)
    moe_keys(b, e)
    b.key("expert_gating_func", GATING["sigmoid"])
    layout = f.integers("sliding_window_layout", s.layers, 0, 1)
    if 1 in layout:
        if layout != [0 if i % 4 == 0 else 1 for i in range(s.layers)]:
            raise f.fault("sliding_window_layout", "is not the one llama.cpp assumes")
        b.key("attention.sliding_window", f.integer("sliding_window_size"))
    for i in range(s.layers):
        b.norm(i, "attn_norm")
        b.attention(i)
        b.norm(i, "ffn_norm")
        feed_forward(b, i, e)
    return b.done(tied=tied(f, default=False))


CONVERTERS: dict[str, Callable[[Fields], Conversion]] = {
    "smallthinker": _smallthinker,
}
