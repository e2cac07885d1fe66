"""Snowflake's Arctic: a dense feed-forward beside the experts of every layer."""

from collections.abc import Callable

from mathcore.convert.build import Build
from mathcore.convert.checks import tied
from mathcore.convert.conversion import Conversion
from mathcore.convert.mixture import feed_forward, find_experts, moe_keys
from mathcore.convert.sizes import sizes
from mathcore.model.fields import Fields


def _arctic(f: Fields) -> Conversion:
    """A dense feed-forward as wide as the model beside the experts."""
    if f.integer_or("moe_layer_frequency", 1) != 1:
        raise f.fault("moe_layer_frequency", "other than 1 is no model llama.cpp loads")
    b = Build("arctic", sizes(f, need_kv=True))
    e = find_experts(f, "num_local_experts", "intermediate_size")
    moe_keys(b, e)
    for i in range(b.s.layers):
        b.norm(i, "attn_norm")
        b.attention(i)
        b.norm(i, "ffn_norm")
        b.gated_mlp(i, b.s.hidden)
        b.norm(i, "ffn_norm_exps")
        feed_forward(b, i, e)
    return b.done(tied=tied(f, default=False))


CONVERTERS: dict[str, Callable[[Fields], Conversion]] = {
    "arctic": _arctic,
}
