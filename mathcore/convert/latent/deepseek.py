"""DeepSeek 1 to 3, and those that took the attention of V2: Kimi K2, GLM-4.7 Flash, Mistral 4."""

from collections.abc import Callable

from mathcore.convert.build import Build
from mathcore.convert.checks import tied
from mathcore.convert.conversion import Conversion, stacked
from mathcore.convert.latent.mla import (
    Latent,
    absorbed_attention,
    absorbed_keys,
    expanded_attention,
    latent_decoder,
    latent_of,
    q_rank_of,
    refuse_bias,
)
from mathcore.convert.mixture import experts_used, leading_dense, pre_norm_layers, with_shared
from mathcore.convert.rope import add_long
from mathcore.convert.sizes import sizes
from mathcore.model.fields import Fields


def moe_layer(b: Build, i: int, f: Fields, *, bias: bool, fused: bool = False) -> None:
    """Router, routed experts and shared ones. `bias`: the router's choice has a correction."""
    count, width = f.integer("n_routed_experts"), f.integer("moe_intermediate_size")
    hidden = b.s.hidden
    if fused:
        b.matrix(i, "ffn_gate_inp", hidden, count)
        names = (("ffn_gate_up_exps", hidden, 2 * width), ("ffn_down_exps", width, hidden))
        for name, columns, rows in names:
            b.tensors.append(stacked(f"blk.{i}.{name}.weight", columns, rows, count, i))
    else:
        b.experts(i, count, width)
    if bias:
        b.vector(i, "exp_probs_b.bias", count)
    b.shared(i, width * f.integer("n_shared_experts"))


def mixture_keys(b: Build, f: Fields, dense: int) -> None:
    """The keys of experts that start after `dense` layers."""
    count = f.integer("n_routed_experts")
    b.moe_keys(
        count, experts_used(f, "num_experts_per_tok", count), f.integer("moe_intermediate_size")
    )
    b.key("expert_shared_count", f.integer("n_shared_experts"))
    b.key("leading_dense_block_count", dense)


def _decoder(
    f: Fields,
    arch: str,
    *,
    bias: bool,
    draft: int = 0,
    fused: bool = False,
    dense_only: bool = False,
) -> Conversion:
    """`bias`: the router's choice has a correction. `dense_only`: the family has no experts."""
    refuse_bias(f)
    lat = latent_of(f, q_rank_of(f, f.integer("num_hidden_layers")))
    b = Build(arch, latent_decoder(f, lat, f.integer("intermediate_size")))
    absorbed_keys(b, lat)
    b.draft_keys(draft)
    dense = b.s.layers if dense_only else leading_dense(f, b.s.layers)
    if not dense_only:
        mixture_keys(b, f, dense)
    else:
        b.key("leading_dense_block_count", dense)
        b.key("expert_feed_forward_length", b.s.feed_forward)
        b.key("expert_shared_count", 0)
    for i in range(b.s.layers + draft):
        b.norm(i, "attn_norm")
        absorbed_attention(b, i, lat)
        b.norm(i, "ffn_norm")
        if i < dense:
            b.gated_mlp(i)
        else:
            moe_layer(b, i, f, bias=bias, fused=fused)
        if i >= b.s.layers:
            b.draft_tensors(i)
    return b.done(tied=tied(f, default=False))


def _deepseek_v2(f: Fields) -> Conversion:
    return _decoder(
        f, "deepseek2", bias=f.has("topk_method") and f.text("topk_method") == "noaux_tc"
    )


def _deepseek_v3(f: Fields) -> Conversion:
    return _decoder(f, "deepseek2", bias=True)


def _youtu(f: Fields) -> Conversion:
    return _decoder(f, "deepseek2", bias=True, dense_only=True)


def _glm4_lite(f: Fields) -> Conversion:
    return _decoder(f, "deepseek2", bias=True)


def _glm4_lite_draft(f: Fields) -> Conversion:
    return _decoder(f, "deepseek2", bias=True, draft=f.integer("num_nextn_predict_layers", 0, 8))


def _mistral4(f: Fields) -> Conversion:
    return _decoder(f, "mistral4", bias=False, draft=0, fused=True)


def _expanded(f: Fields, arch: str, lat: Latent, *, gate: bool, output: bool) -> Conversion:
    """Latent attention whose engine keeps K and V of every head."""
    b = Build(arch, latent_decoder(f, lat, f.integer("intermediate_size")), lat.rope)
    if lat.q_rank > 0:
        b.key("attention.q_lora_rank", lat.q_rank)
    b.key("attention.kv_lora_rank", lat.kv_rank)
    b.key("attention.value_length", lat.value)
    for i in range(b.s.layers):
        b.norm(i, "attn_norm")
        expanded_attention(b, i, lat)
        b.norm(i, "ffn_norm")
        if gate:
            b.gated_mlp(i)
        else:
            b.mlp(i)
    if arch == "minicpm3":
        add_long(b, f, lat.rope)
    return b.done(tied=not output)


def _minicpm3(f: Fields) -> Conversion:
    """V heads of no stated width are hidden / heads wide, as llama.cpp's converter assumes."""
    refuse_bias(f)
    rank = f.integer("q_lora_rank")
    heads = f.integer("num_attention_heads")
    value = f.integer_or("v_head_dim", f.integer("hidden_size") // heads)
    lat = Latent(
        q_rank=rank,
        kv_rank=f.integer("kv_lora_rank"),
        nope=f.integer("qk_nope_head_dim"),
        rope=f.integer("qk_rope_head_dim"),
        value=value,
    )
    return _expanded(f, "minicpm3", lat, gate=True, output=not tied(f, default=True))


def _plm(f: Fields) -> Conversion:
    refuse_bias(f)
    if f.has("q_lora_rank"):
        raise f.fault("q_lora_rank", "is not supported yet for plm")
    return _expanded(f, "plm", latent_of(f, 0), gate=False, output=False)


def _deepseek_v1(f: Fields) -> Conversion:
    """The first DeepSeek MoE, with plain attention."""
    if f.integer_or("moe_layer_freq", 1) != 1:
        raise f.fault("moe_layer_freq", "other than 1 is not supported yet")
    b = Build("deepseek", sizes(f))
    f.integer("first_k_dense_replace", 0)
    f.integer("n_shared_experts", 0)
    e = with_shared(f, "n_routed_experts", "n_shared_experts", "first_k_dense_replace", bias=False)
    bias = f.flag_or("attention_bias", default=False)
    pre_norm_layers(b, e, bias=bias)
    return b.done(tied=tied(f, default=False))


CONVERTERS: dict[str, Callable[[Fields], Conversion]] = {
    "deepseek_v2": _deepseek_v2,
    "deepseek_v3": _deepseek_v3,
    "kimi_k2": _deepseek_v3,
    "youtu": _youtu,
    "glm4_moe_lite": _glm4_lite,
    "mistral4": _mistral4,
    "minicpm3": _minicpm3,
    "plm": _plm,
    "deepseek": _deepseek_v1,
}
DRAFT_CONVERTERS: dict[str, Callable[[Fields], Conversion]] = {"glm4_moe_lite": _glm4_lite_draft}
