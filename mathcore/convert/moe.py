"""Decoders with experts in every layer, or in all but the first few.

`Experts` says where a config keeps their numbers; the attention around them is each family's own.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import final

from mathcore.convert.conversion import Conversion
from mathcore.convert.dense import add_sections
from mathcore.convert.parts import Build, every, no_window, sizes, sliding_layers, tied
from mathcore.convert.rope import add_long
from mathcore.model.fields import Fields

SIGMOID = 2  # LLAMA_EXPERT_GATING_FUNC_TYPESIGMOID


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Experts:
    """How many, how many a token uses, how wide; `shared` is the width every token goes through."""

    count: int
    used: int
    width: int
    shared: int = 0
    dense: int = 0  # leading layers without experts
    bias: bool = False  # a trained correction of the router's choice
    sigmoid: bool = False  # llama.cpp wants to be told how the router scores


def find_experts(f: Fields, count: str, width: str, used: str = "num_experts_per_tok") -> Experts:
    found = f.integer(count, 2)
    return Experts(count=found, used=f.integer(used, 1, found), width=f.integer(width))


def moe_keys(b: Build, e: Experts) -> None:
    b.moe_keys(e.count, e.used, e.width)
    b.key("leading_dense_block_count", e.dense)
    if e.sigmoid:
        b.key("expert_gating_func", SIGMOID)
    if e.shared > 0:
        b.key("expert_shared_feed_forward_length", e.shared)
        b.key("expert_shared_count", e.shared // e.width if e.shared % e.width == 0 else 1)


def feed_forward(b: Build, i: int, e: Experts) -> None:
    """Experts, or a dense layer among the leading ones."""
    if i < e.dense:
        b.gated(i)
        return
    b.experts(i, e.count, e.width)
    if e.bias:
        b.vector(i, "exp_probs_b.bias", e.count)
    if e.shared > 0:
        b.shared(i, e.shared)


def plain_layers(
    b: Build, e: Experts, bias: bool = False, out: bool = False, heads: bool = False
) -> None:
    """Layers with a norm before each half."""
    moe_keys(b, e)
    for i in range(b.s.layers):
        b.norm(i, "attn_norm")
        b.attention(i, bias, out)
        if heads:
            b.head_norms(i)
        b.norm(i, "ffn_norm")
        feed_forward(b, i, e)


def _mixtral(f: Fields) -> Conversion:
    b = Build("llama", sizes(f, need_kv=True))
    plain_layers(b, find_experts(f, "num_local_experts", "intermediate_size"))
    return b.done(tied(f, False))


def _sparse_everywhere(f: Fields) -> None:
    """Experts in every layer: what llama.cpp assumes of Qwen's."""
    if f.integer_or("decoder_sparse_step", 1) != 1:
        raise f.fault("decoder_sparse_step", "other than 1 is no model llama.cpp loads")
    if f.values.get("mlp_only_layers"):
        raise f.fault("mlp_only_layers", "is no model llama.cpp loads")


def _qwen2_moe(f: Fields) -> Conversion:
    no_window(f)
    _sparse_everywhere(f)
    b = Build("qwen2moe", sizes(f, need_kv=True))
    e = find_experts(f, "num_experts", "moe_intermediate_size")
    shared = f.integer("shared_expert_intermediate_size")
    moe_keys(b, e)
    b.key("expert_shared_feed_forward_length", shared)
    for i in range(b.s.layers):
        b.norm(i, "attn_norm")
        b.attention(i, f.flag_or("qkv_bias", default=True))
        b.norm(i, "ffn_norm")
        b.experts(i, e.count, e.width)
        b.vector(i, "ffn_gate_inp_shexp.weight", b.s.hidden)
        b.shared(i, shared)
    return b.done(tied(f, False))


def _qwen3_like(f: Fields, arch: str) -> Build:
    no_window(f)
    _sparse_everywhere(f)
    b = Build(arch, sizes(f, need_kv=True, need_head_dim=True))
    bias = f.flag_or("attention_bias", default=False)
    plain_layers(b, find_experts(f, "num_experts", "moe_intermediate_size"), bias, bias, True)
    return b


def _qwen3_moe(f: Fields) -> Conversion:
    return _qwen3_like(f, "qwen3moe").done(tied(f, False))


def _qwen3_vl_moe(f: Fields) -> Conversion:
    b = _qwen3_like(f, "qwen3vlmoe")
    add_sections(b, f)
    return b.done(tied(f, False))


def _olmoe(f: Fields) -> Conversion:
    b = Build("olmoe", sizes(f))
    e = find_experts(f, "num_experts", "intermediate_size")
    moe_keys(b, e)
    for i in range(b.s.layers):
        b.norm(i, "attn_norm")
        b.attention(i, f.flag_or("attention_bias", default=False))
        b.head_norms(i, b.s.q, b.s.kv)
        b.norm(i, "ffn_norm")
        feed_forward(b, i, e)
    return b.done(tied(f, False))


def _phimoe(f: Fields) -> Conversion:
    b = Build("phimoe", sizes(f, need_kv=True))
    e = find_experts(f, "num_local_experts", "intermediate_size")
    bias = f.flag_or("attention_bias", default=False)
    if not f.flag_or("lm_head_bias", default=False):
        raise f.fault("lm_head_bias", "false is no model llama.cpp loads")
    moe_keys(b, e)
    for i in range(b.s.layers):
        b.norm(i, "attn_norm", bias=True)
        b.attention(i, bias, bias)
        b.norm(i, "ffn_norm", bias=True)
        feed_forward(b, i, e)
    add_long(b, f, b.s.head_dim)
    return b.done(False, norm_bias=True, bias=True)


def _granite_moe(f: Fields) -> Conversion:
    b = Build("granitemoe", sizes(f))
    e = find_experts(f, "num_local_experts", "intermediate_size")
    if f.text("model_type") == "granitemoeshared":
        e = Experts(
            count=e.count, used=e.used, width=e.width, shared=f.integer("shared_intermediate_size")
        )
    bias = f.flag_or("attention_bias", default=False)
    plain_layers(b, e, bias, bias)
    b.key("logit_scale", 1.0)
    return b.done(tied(f, False))


def _minimax_m2(f: Fields) -> Conversion:
    s = sizes(f, need_kv=True, need_head_dim=True)
    b = Build("minimax-m2", s, f.integer_or("rotary_dim", s.head_dim, 1, s.head_dim))
    e = find_experts(f, "num_local_experts", "intermediate_size")
    moe_keys(b, e)
    b.key("expert_gating_func", SIGMOID)
    for i in range(s.layers):
        b.norm(i, "attn_norm")
        b.attention(i)
        b.head_norms(i, s.q, s.kv)
        b.norm(i, "ffn_norm")
        b.experts(i, e.count, e.width)
        b.vector(i, "exp_probs_b.bias", e.count)
    return b.done(tied(f, False))


def _gpt_oss(f: Fields) -> Conversion:
    """Attention sinks, biases everywhere, every second layer sliding."""
    s = sizes(f, need_kv=True, need_head_dim=True)
    b = Build("gpt-oss", s)
    e = find_experts(f, "num_local_experts", "intermediate_size")
    moe_keys(b, e)
    b.key("attention.sliding_window", f.integer("sliding_window"))
    near = sliding_layers(f, s.layers, every(s.layers, 2))
    b.key("attention.sliding_window_pattern", near)
    for i in range(s.layers):
        b.norm(i, "attn_norm")
        b.attention(i, True, True)
        b.vector(i, "attn_sinks.weight", s.heads)
        b.norm(i, "post_attention_norm")
        b.experts(i, e.count, e.width)
        b.vector(i, "ffn_gate_inp.bias", e.count)
        for name, wide in (("gate", e.width), ("up", e.width), ("down", s.hidden)):
            b.stacked_bias(i, f"ffn_{name}_exps", wide, e.count)
    return b.done(tied(f, False))


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
    "minimax_m2": _minimax_m2,
    "gpt_oss": _gpt_oss,
}
