"""Decoders with experts in every layer: Mixtral, Qwen, OLMoE, Phi, Granite and gpt-oss."""

from collections.abc import Callable

from mathcore.convert.build import Build
from mathcore.convert.checks import all_but_every, sliding_layers, tied, window_ignored
from mathcore.convert.conversion import Conversion
from mathcore.convert.mixture import Experts, feed_forward, find_experts, moe_keys, pre_norm_layers
from mathcore.convert.rope import add_long, add_sections
from mathcore.convert.sizes import sizes
from mathcore.model.fields import Fields


def _mixtral(f: Fields) -> Conversion:
    b = Build("llama", sizes(f, need_kv=True))
    pre_norm_layers(b, find_experts(f, "num_local_experts", "intermediate_size"))
    return b.done(tied=tied(f, default=False))


def _sparse_everywhere(f: Fields) -> None:
    """Refuses a Qwen with dense layers: llama.cpp assumes experts in every one."""
    if f.integer_or("decoder_sparse_step", 1) != 1:
        raise f.fault("decoder_sparse_step", "other than 1 is no model llama.cpp loads")
    if f.values.get("mlp_only_layers"):
        raise f.fault("mlp_only_layers", "is no model llama.cpp loads")


def _qwen2_moe(f: Fields) -> Conversion:
    window_ignored(f)
    _sparse_everywhere(f)
    b = Build("qwen2moe", sizes(f, need_kv=True))
    e = find_experts(f, "num_experts", "moe_intermediate_size")
    shared = f.integer("shared_expert_intermediate_size")
    moe_keys(b, e)
    b.key("expert_shared_feed_forward_length", shared)
    for i in range(b.s.layers):
        b.norm(i, "attn_norm")
        b.attention(i, bias=f.flag_or("qkv_bias", default=True))
        b.norm(i, "ffn_norm")
        b.experts(i, e.count, e.width)
        b.vector(i, "ffn_gate_inp_shexp.weight", b.s.hidden)
        b.shared(i, shared)
    return b.done(tied=tied(f, default=False))


def _qwen3_like(f: Fields, arch: str) -> Build:
    window_ignored(f)
    _sparse_everywhere(f)
    b = Build(arch, sizes(f, need_kv=True, need_head_dim=True))
    bias = f.flag_or("attention_bias", default=False)
    pre_norm_layers(
        b, find_experts(f, "num_experts", "moe_intermediate_size"), bias=bias, out=bias, heads=True
    )
    return b


def _qwen3_moe(f: Fields) -> Conversion:
    return _qwen3_like(f, "qwen3moe").done(tied=tied(f, default=False))


def _qwen3_vl_moe(f: Fields) -> Conversion:
    b = _qwen3_like(f, "qwen3vlmoe")
    add_sections(b, f)
    return b.done(tied=tied(f, default=False))


def _olmoe(f: Fields) -> Conversion:
    b = Build("olmoe", sizes(f))
    e = find_experts(f, "num_experts", "intermediate_size")
    moe_keys(b, e)
    for i in range(b.s.layers):
        b.norm(i, "attn_norm")
        b.attention(i, bias=f.flag_or("attention_bias", default=False))
        b.head_norms(i, b.s.q, b.s.kv)
        b.norm(i, "ffn_norm")
        feed_forward(b, i, e)
    return b.done(tied=tied(f, default=False))


def _phimoe(f: Fields) -> Conversion:
    b = Build("phimoe", sizes(f, need_kv=True))
    e = find_experts(f, "num_local_experts", "intermediate_size")
    bias = f.flag_or("attention_bias", default=False)
    if not f.flag_or("lm_head_bias", default=False):
        raise f.fault("lm_head_bias", "false is no model llama.cpp loads")
    moe_keys(b, e)
    for i in range(b.s.layers):
        b.norm(i, "attn_norm", bias=True)
        b.attention(i, bias=bias, out_bias=bias)
        b.norm(i, "ffn_norm", bias=True)
        feed_forward(b, i, e)
    add_long(b, f, b.s.head_dim)
    return b.done(tied=False, norm_bias=True, bias=True)


def _granite_moe(f: Fields) -> Conversion:
    b = Build("granitemoe", sizes(f))
    e = find_experts(f, "num_local_experts", "intermediate_size")
    if f.text("model_type") == "granitemoeshared":
        e = Experts(
            count=e.count, used=e.used, width=e.width, shared=f.integer("shared_intermediate_size")
        )
    bias = f.flag_or("attention_bias", default=False)
    pre_norm_layers(b, e, bias=bias, out=bias)
    b.key("logit_scale", 1.0)
    return b.done(tied=tied(f, default=False))


def _gpt_oss(f: Fields) -> Conversion:
    """Attention sinks, biases everywhere, every second layer sliding."""
    s = sizes(f, need_kv=True, need_head_dim=True)
    b = Build("gpt-oss", s)
    e = find_experts(f, "num_local_experts", "intermediate_size")
    moe_keys(b, e)
    b.key("attention.sliding_window", f.integer("sliding_window"))
    sliding = sliding_layers(f, s.layers, all_but_every(s.layers, 2))
    b.key("attention.sliding_window_pattern", sliding)
    for i in range(s.layers):
        b.norm(i, "attn_norm")
        b.attention(i, bias=True, out_bias=True)
        b.vector(i, "attn_sinks.weight", s.heads)
        b.norm(i, "post_attention_norm")
        b.experts(i, e.count, e.width)
        b.vector(i, "ffn_gate_inp.bias", e.count)
        for name, wide in (("gate", e.width), ("up", e.width), ("down", s.hidden)):
            b.stacked_bias(i, f"ffn_{name}_exps", wide, e.count)
    return b.done(tied=tied(f, default=False))


CONVERTERS: dict[str, Callable[[Fields], Conversion]] = {
    "mixtral": _mixtral,
    "qwen2_moe": _qwen2_moe,
    "qwen3_moe": _qwen3_moe,
    "qwen3_vl_moe_text": _qwen3_vl_moe,
    "qwen3_omni_moe_text": _qwen3_vl_moe,
    "olmoe": _olmoe,
    "phimoe": _phimoe,
    "granitemoe": _granite_moe,
    "granitemoeshared": _granite_moe,
    "gpt_oss": _gpt_oss,
}
