"""Experts: how many a config names, where they stand, how their router scores, and their layers."""

from dataclasses import dataclass
from typing import final

from mathcore.convert.build import Build
from mathcore.convert.checks import sliding_layers
from mathcore.model.fields import Fields

# llama.cpp's numbers for how a router scores (llama-hparams.h).
GATING: dict[str, int] = {"softmax": 1, "sigmoid": 2, "sqrtsoftplus": 4}


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Experts:
    """Experts of a layer. A token uses `used` of `count`, each `width` wide, and shared ones."""

    count: int
    used: int
    width: int
    shared: int = 0  # width of all shared experts together
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
        b.key("expert_gating_func", GATING["sigmoid"])
    if e.shared > 0:
        b.key("expert_shared_feed_forward_length", e.shared)
        b.key("expert_shared_count", e.shared // e.width if e.shared % e.width == 0 else 1)


def feed_forward(b: Build, i: int, e: Experts) -> None:
    """Experts, or a dense layer among the leading ones."""
    if i < e.dense:
        b.gated_mlp(i)
        return
    b.experts(i, e.count, e.width)
    if e.bias:
        b.vector(i, "exp_probs_b.bias", e.count)
    if e.shared > 0:
        b.shared(i, e.shared)


def pre_norm_layers(
    b: Build, e: Experts, *, bias: bool = False, out: bool = False, heads: bool = False
) -> None:
    """Layers with a norm before each half."""
    moe_keys(b, e)
    for i in range(b.s.layers):
        b.norm(i, "attn_norm")
        b.attention(i, bias=bias, out_bias=out)
        if heads:
            b.head_norms(i)
        b.norm(i, "ffn_norm")
        feed_forward(b, i, e)


def attention_of_heads(b: Build, i: int, heads: int, kv: int, value: int) -> None:
    """Attention of a layer that has other heads than the model; V heads of `value` numbers."""
    s = b.s
    b.norm(i, "attn_norm")
    b.matrix(i, "attn_q", s.hidden, heads * s.head_dim)
    b.matrix(i, "attn_k", s.hidden, kv * s.head_dim)
    b.matrix(i, "attn_v", s.hidden, kv * value)
    b.matrix(i, "attn_output", heads * value, s.hidden)


def window_keys(b: Build, f: Fields) -> None:
    """Writes the window and which layers keep it, if any layer does."""
    layers = b.s.layers
    sliding = sliding_layers(f, layers, None if f.has("sliding_window") else [False] * layers)
    if any(sliding):
        b.key("attention.sliding_window", f.integer("sliding_window"))
        b.key("attention.sliding_window_pattern", sliding)


def with_shared(f: Fields, count: str, shared: str, dense: str, *, bias: bool) -> Experts:
    """Experts as DeepSeek names them: shared ones as wide as the others, dense layers first."""
    e = find_experts(f, count, "moe_intermediate_size")
    return Experts(
        count=e.count,
        used=e.used,
        width=e.width,
        shared=f.integer_or(shared, 0, 0) * e.width,
        dense=f.integer_or(dense, 0, 0),
        bias=bias,
        sigmoid=bias,
    )


def leading_dense(f: Fields, layers: int) -> int:
    """How many layers at the start have no experts. Configs of transformers 5 list each layer."""
    if f.integer_or("moe_layer_freq", 1) != 1:
        raise f.fault("moe_layer_freq", "other than 1 is not supported yet")
    if f.has("first_k_dense_replace") or not f.has("mlp_layer_types"):
        return f.integer("first_k_dense_replace", 0, layers)
    names = f.texts("mlp_layer_types", layers)
    dense = 0
    while dense < layers and names[dense] == "dense":
        dense += 1
    for name in names[dense:]:
        if name != "sparse":
            raise f.fault("mlp_layer_types", f"'{name}' after the leading dense layers")
    return dense


def gating(b: Build, f: Fields, default: str = "") -> None:
    """How the router scores; `default` is what the family's own library assumes."""
    name = f.text("scoring_func") if f.has("scoring_func") or not default else default
    if name not in GATING:
        raise f.fault("scoring_func", f"'{name}' is not supported yet")
    b.key("expert_gating_func", GATING[name])


def experts_used(f: Fields, field: str, count: int) -> int:
    """How many of `count` experts a token goes through."""
    return f.integer(field, 1, count)
