"""Baidu's ERNIE 4.5 with experts; its dense models are rows of dense.llama."""

from collections.abc import Callable

from mathcore.convert.build import Build
from mathcore.convert.checks import tied
from mathcore.convert.conversion import Conversion
from mathcore.convert.mixture import Experts, feed_forward, find_experts, moe_keys
from mathcore.convert.sizes import sizes
from mathcore.model.fields import Fields


def _ernie_moe(f: Fields) -> Conversion:
    s = sizes(f, need_kv=True)
    b = Build("ernie4_5-moe", s)
    if f.integer_or("moe_layer_interval", 1) != 1:
        raise f.fault("moe_layer_interval", "other than 1 is not supported yet")
    e = find_experts(f, "moe_num_experts", "moe_intermediate_size", "moe_k")
    e = Experts(
        count=e.count,
        used=e.used,
        width=e.width,
        shared=f.integer_or("moe_num_shared_experts", 0, 0) * e.width,
        dense=f.integer("moe_layer_start_index", 0, s.layers),
        bias=f.flag_or("moe_use_aux_free", default=True),
    )
    moe_keys(b, e)
    b.key("interleave_moe_layer_step", 1)
    bias = f.flag_or("use_bias", default=False)
    for i in range(s.layers):
        b.norm(i, "attn_norm")
        b.attention(i, bias=bias, out_bias=bias)
        b.norm(i, "ffn_norm")
        feed_forward(b, i, e)
    return b.done(tied=tied(f, default=True))


CONVERTERS: dict[str, Callable[[Fields], Conversion]] = {
    "ernie4_5_moe": _ernie_moe,
}
