"""GroveMoE: every two experts share a small one of their own."""

from collections.abc import Callable

from mathcore.convert.build import Build
from mathcore.convert.checks import tied
from mathcore.convert.conversion import Conversion, stacked
from mathcore.convert.mixture import feed_forward, find_experts, moe_keys
from mathcore.convert.sizes import sizes
from mathcore.model.fields import Fields


def _grove_moe(f: Fields) -> Conversion:
    """The small expert of each pair is as wide as a head."""
    s = sizes(f, need_kv=True, need_head_dim=True)
    b = Build("grovemoe", s)
    e = find_experts(f, "num_experts", "moe_intermediate_size")
    moe_keys(b, e)
    b.key("expert_chunk_feed_forward_length", s.head_dim)
    b.key("experts_per_group", 2)
    b.key("expert_group_scale", 0.05)
    for i in range(s.layers):
        b.norm(i, "attn_norm")
        b.attention(i)
        b.head_norms(i)
        b.norm(i, "ffn_norm")
        feed_forward(b, i, e)
        half, wide = e.count // 2, s.head_dim
        for name in ("gate", "up"):
            b.tensors.append(stacked(f"blk.{i}.ffn_{name}_chexps.weight", s.hidden, wide, half, i))
        b.tensors.append(stacked(f"blk.{i}.ffn_down_chexps.weight", wide, s.hidden, half, i))
    return b.done(tied=tied(f, default=False))


CONVERTERS: dict[str, Callable[[Fields], Conversion]] = {
    "grove_moe": _grove_moe,
}
