"""Meta's Llama 4: experts by period, and three chunked layers of four."""

from collections.abc import Callable

from mathcore.convert.build import Build
from mathcore.convert.checks import tied
from mathcore.convert.conversion import Conversion
from mathcore.convert.mixture import find_experts
from mathcore.convert.rope import add_llama3
from mathcore.convert.sizes import sizes
from mathcore.model.fields import Fields


def _sparse(f: Fields, layers: int) -> list[bool]:
    """Which layers have experts: each `interleave_moe_layer_step`-th."""
    step = f.integer("interleave_moe_layer_step", 1, layers)
    out = [(i + 1) % step == 0 for i in range(layers)]
    if isinstance(f.values.get("moe_layers"), list):
        listed = f.integers("moe_layers", sum(out), 0, layers)
        if listed != [i for i in range(layers) if out[i]]:
            raise f.fault("moe_layers", "is not the interleaving llama.cpp assumes")
    return out


def _window(b: Build, f: Fields) -> None:
    """llama.cpp always chunks three layers of four, by 8192, unless no layer is chunked."""
    layers = b.s.layers
    if f.has("layer_types"):
        kinds = f.texts("layer_types", layers)
        if all(kind == "full_attention" for kind in kinds):
            b.key("attention.sliding_window", 0)
            return
    if f.integer("attention_chunk_size") != 8192:
        raise f.fault("attention_chunk_size", "is not the 8192 llama.cpp assumes")


def _llama4(f: Fields) -> Conversion:
    s = sizes(f, need_kv=True, feed_forward="intermediate_size_mlp")
    b = Build("llama4", s)
    sparse = _sparse(f, s.layers)
    e = find_experts(f, "num_local_experts", "intermediate_size")
    b.moe_keys(e.count, e.used, e.width)
    b.key("interleave_moe_layer_step", f.integer("interleave_moe_layer_step"))
    _window(b, f)
    bias = f.flag_or("attention_bias", default=False)
    for i in range(s.layers):
        b.norm(i, "attn_norm")
        b.attention(i, bias=bias, out_bias=bias)
        b.norm(i, "ffn_norm")
        if sparse[i]:
            b.experts(i, e.count, e.width)
            b.shared(i, e.width)
        else:
            b.gated_mlp(i)
    add_llama3(b, f)
    return b.done(tied=tied(f, default=False))


CONVERTERS: dict[str, Callable[[Fields], Conversion]] = {
    "llama4": _llama4,
    "llama4_text": _llama4,
}
