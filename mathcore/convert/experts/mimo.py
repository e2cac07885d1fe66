"""Xiaomi's MiMo V2: its sliding layers have other KV heads than its full ones."""

from collections.abc import Callable

from mathcore.convert.build import Build
from mathcore.convert.checks import tied
from mathcore.convert.conversion import Conversion
from mathcore.convert.mixture import attention_of_heads, find_experts, moe_keys
from mathcore.convert.rope import rotary_dim_of
from mathcore.convert.sizes import Sizes, sizes
from mathcore.model.fields import Fields


def _sizes(f: Fields) -> Sizes:
    s = sizes(f, need_kv=True, need_head_dim=True)
    for field, value in (
        ("head_dim", s.head_dim),
        ("v_head_dim", f.integer("v_head_dim")),
        ("num_attention_heads", s.heads),
    ):
        if f.integer("swa_" + field) != value:
            raise f.fault("swa_" + field, f"differs from {field}: no model llama.cpp loads")
    return s


def _sinks(f: Fields, sliding: list[bool]) -> list[bool]:
    """Which layers have attention sinks: one flag for full layers, one for sliding ones."""
    on_full = f.flag_or("add_full_attention_sink_bias", default=False)
    on_sliding = f.flag_or("add_swa_attention_sink_bias", default=False)
    return [on_sliding if here else on_full for here in sliding]


def _keys(b: Build, f: Fields, sliding: list[bool], kv: list[int], value: int) -> None:
    b.key("attention.sliding_window", f.integer("sliding_window"))
    b.key("attention.sliding_window_pattern", sliding)
    b.key("attention.head_count_kv", kv)
    b.key("attention.value_length", value)


def _mimo_v2(f: Fields) -> Conversion:
    """Sliding layers have more KV heads than full ones. Draft layers are left out."""
    s = _sizes(f)
    b = Build("mimo2", s, rotary_dim_of(f, s.head_dim, 1.0))
    sliding = [n == 1 for n in f.integers("hybrid_layer_pattern", s.layers, 0, 1)]
    sparse = f.integers("moe_layer_freq", s.layers, 0, 1)
    value, swa_kv = f.integer("v_head_dim"), f.integer("swa_num_key_value_heads")
    kv = [swa_kv if here else s.kv_heads for here in sliding]
    e = find_experts(f, "n_routed_experts", "moe_intermediate_size")
    moe_keys(b, e)
    _keys(b, f, sliding, kv, value)
    sinks = _sinks(f, sliding)
    for i in range(s.layers):
        attention_of_heads(b, i, s.heads, kv[i], value)
        if sinks[i]:
            b.vector(i, "attn_sinks.weight", s.heads)
        b.norm(i, "ffn_norm")
        if sparse[i] == 1:
            b.experts(i, e.count, e.width)
            b.vector(i, "exp_probs_b.bias", e.count)
        else:
            b.gated_mlp(i)
    return b.done(tied=tied(f, default=False))


CONVERTERS: dict[str, Callable[[Fields], Conversion]] = {
    "mimo_v2": _mimo_v2,
    "mimo_v2_flash": _mimo_v2,
}
