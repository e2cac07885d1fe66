"""LG's EXAONE 3 and EXAONE with experts; EXAONE 4 is a row of dense.llama."""

from collections.abc import Callable

from mathcore.convert.build import Build
from mathcore.convert.checks import all_but_every, dense_only, sliding_layers, tied
from mathcore.convert.conversion import Conversion
from mathcore.convert.mixture import GATING, Experts, feed_forward, find_experts, moe_keys
from mathcore.convert.rope import add_llama3
from mathcore.convert.sizes import sizes
from mathcore.model.fields import Fields


def _exaone(f: Fields) -> Conversion:
    """EXAONE 3: its layers are counted in num_layers."""
    dense_only(f)
    inner = Fields({**f.values, "num_hidden_layers": f.integer("num_layers")}, f.prefix)
    b = Build("exaone", sizes(inner))
    for i in range(b.s.layers):
        b.norm(i, "attn_norm")
        b.attention(i)
        b.norm(i, "ffn_norm")
        b.gated_mlp(i)
    add_llama3(b, f)
    return b.done(tied=tied(f, default=True))


def _dense_start(f: Fields, layers: int) -> int:
    """How many layers at the start have no experts. Configs of transformers 5 list each layer."""
    if f.has("first_k_dense_replace") or not f.has("mlp_layer_types"):
        return f.integer("first_k_dense_replace", 0, layers)
    kinds = f.texts("mlp_layer_types", layers)
    dense = kinds.index("sparse") if "sparse" in kinds else layers
    if kinds != ["dense"] * dense + ["sparse"] * (layers - dense):
        raise f.fault("mlp_layer_types", "has dense layers after sparse ones")
    return dense


def _exaone_moe(f: Fields) -> Conversion:
    s = sizes(f, need_kv=True)
    b = Build("exaone-moe", s)
    e = find_experts(f, "num_experts", "moe_intermediate_size")
    shared = f.integer("num_shared_experts", 1) * e.width
    e = Experts(
        count=e.count,
        used=e.used,
        width=e.width,
        shared=shared,
        dense=_dense_start(f, s.layers),
        bias=True,
    )
    moe_keys(b, e)
    b.key("expert_gating_func", GATING["sigmoid"])
    b.key("attention.sliding_window", f.integer("sliding_window"))
    sliding = sliding_layers(f, s.layers, all_but_every(s.layers, 4))
    b.key("attention.sliding_window_pattern", sliding)
    for i in range(s.layers):
        b.norm(i, "attn_norm")
        b.attention(i)
        b.head_norms(i)
        b.norm(i, "ffn_norm")
        feed_forward(b, i, e)
    return b.done(tied=tied(f, default=False))


CONVERTERS: dict[str, Callable[[Fields], Conversion]] = {
    "exaone": _exaone,
    "exaone_moe": _exaone_moe,
}
