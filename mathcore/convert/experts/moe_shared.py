"""Experts as DeepSeek has them, around plain attention: GLM-4.5, dots, Ling and Ring."""

from collections.abc import Callable

from mathcore.convert.build import Build
from mathcore.convert.checks import tied
from mathcore.convert.conversion import Conversion
from mathcore.convert.mixture import (
    GATING,
    Experts,
    feed_forward,
    find_experts,
    moe_keys,
    pre_norm_layers,
    with_shared,
)
from mathcore.convert.rope import rotary_dim_of
from mathcore.convert.sizes import sizes
from mathcore.model.fields import Fields


def _glm4_layer(b: Build, f: Fields, i: int, e: Experts) -> None:
    b.norm(i, "attn_norm")
    b.attention(i, bias=f.flag_or("attention_bias", default=False))
    if f.flag_or("use_qk_norm", default=False):
        b.head_norms(i)
    b.norm(i, "post_attention_norm")
    feed_forward(b, i, e)


def _glm4_family(f: Fields, draft: int) -> Conversion:
    s = sizes(f, need_kv=True)
    b = Build("glm4moe", s, rotary_dim_of(f, s.head_dim, 0.5))
    f.integer("first_k_dense_replace", 0, s.layers)
    shared = f.integer("n_shared_experts", 0)
    e = with_shared(f, "n_routed_experts", "n_shared_experts", "first_k_dense_replace", bias=True)
    moe_keys(b, e)
    b.key("expert_shared_count", shared)
    b.draft_keys(draft)
    for i in range(s.layers + draft):
        _glm4_layer(b, f, i, e)
        if i >= s.layers:
            b.draft_tensors(i)
            # Its own copies of the embedding and the output layer.
            b.matrix(i, "nextn.embed_tokens", s.hidden, s.vocab)
            b.matrix(i, "nextn.shared_head_head", s.hidden, s.vocab)
    return b.done(tied=tied(f, default=False))


def _glm4_moe(f: Fields) -> Conversion:
    """Without its draft layers: a context keeps nothing for them."""
    return _glm4_family(f, 0)


def _glm4_moe_draft(f: Fields) -> Conversion:
    return _glm4_family(f, f.integer("num_nextn_predict_layers", 0, 8))


def _dots1(f: Fields) -> Conversion:
    b = Build("dots1", sizes(f))
    if b.s.kv_heads != b.s.heads:
        raise f.fault("num_key_value_heads", "other than num_attention_heads is not loaded")
    f.integer("first_k_dense_replace", 0)
    f.integer("n_shared_experts", 0)
    e = with_shared(f, "n_routed_experts", "n_shared_experts", "first_k_dense_replace", bias=True)
    bias = f.flag_or("attention_bias", default=False)
    pre_norm_layers(b, e, bias=bias, out=False, heads=True)
    return b.done(tied=tied(f, default=False))


def _bailing_moe(f: Fields) -> Conversion:
    """Ling and Ring 1: experts in every layer. Some of version 2 bear the same model_type."""
    classes = f.values.get("architectures")
    if isinstance(classes, list) and "BailingMoeV2ForCausalLM" in classes:
        return _bailing_moe_v2(f)
    if f.integer_or("first_k_dense_replace", 0, 0) > 0:
        raise f.fault("first_k_dense_replace", "above 0 is no model llama.cpp loads")
    if f.flag_or("use_bias", default=False):
        raise f.fault("use_bias", "true is no model llama.cpp loads")
    b = Build("bailingmoe", sizes(f))
    f.integer("num_shared_experts", 0)
    e = with_shared(f, "num_experts", "num_shared_experts", "", bias=False)
    pre_norm_layers(b, e, bias=f.flag_or("use_qkv_bias", default=False))
    b.key("expert_shared_count", f.integer("num_shared_experts", 0))
    return b.done(tied=tied(f, default=False))


def _bailing_moe_v2(f: Fields) -> Conversion:
    s = sizes(f)
    if f.flag_or("use_qkv_bias", default=False):
        raise f.fault("use_qkv_bias", "true is no model llama.cpp loads")
    b = Build("bailingmoe2", s, rotary_dim_of(f, s.head_dim, 0.5))
    shared, dense = f.integer("num_shared_experts", 1), f.integer("first_k_dense_replace", 0)
    e = find_experts(f, "num_experts", "moe_intermediate_size")
    width = f.integer_or("moe_shared_expert_intermediate_size", e.width)
    e = Experts(
        count=e.count, used=e.used, width=e.width, shared=width * shared, dense=dense, bias=True
    )
    moe_keys(b, e)
    b.key("expert_shared_feed_forward_length", width)
    b.key("expert_shared_count", shared)
    b.key("expert_gating_func", GATING["sigmoid"])
    for i in range(s.layers):
        b.norm(i, "attn_norm")
        b.fused_attention(i)
        b.head_norms(i)
        b.norm(i, "ffn_norm")
        feed_forward(b, i, e)
    return b.done(tied=tied(f, default=False))


CONVERTERS: dict[str, Callable[[Fields], Conversion]] = {
    "glm4_moe": _glm4_moe,
    "glm4v_moe_text": _glm4_moe,
    "dots1": _dots1,
    "bailing_moe": _bailing_moe,
    "bailing_moe_v2": _bailing_moe_v2,
}
DRAFT_CONVERTERS: dict[str, Callable[[Fields], Conversion]] = {
    "glm4_moe": _glm4_moe_draft,
    "glm4v_moe_text": _glm4_moe_draft,
}
