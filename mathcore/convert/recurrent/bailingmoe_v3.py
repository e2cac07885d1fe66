"""Ling 3.0: Kimi delta attention with full-rank gates, gated latent attention, experts."""

from collections.abc import Callable

from mathcore.convert.build import Build
from mathcore.convert.checks import need, tied
from mathcore.convert.conversion import Conversion
from mathcore.convert.latent.mla import (
    absorbed_attention,
    absorbed_keys,
    latent_decoder,
    latent_of,
    refuse_bias,
)
from mathcore.convert.mixture import GATING, experts_used, leading_dense
from mathcore.model.fields import Fields

# The loader wants a bound of the decay gate; no size depends on it.
_LOWER_BOUND = -5.0


def _attends(f: Fields, layers: int) -> list[bool]:
    """The last layer of each whole group, and every one after the last group."""
    group = f.integer("layer_group_size")
    whole = layers // group * group
    return [(i + 1) % group == 0 or i >= whole for i in range(layers)]


def _mixer(b: Build, i: int, size: int, kernel: int) -> None:
    hidden, inner = b.s.hidden, b.s.heads * size
    for name in ("q", "k", "v"):
        b.matrix(i, f"attn_{name}", hidden, inner)
        b.planes(i, f"ssm_conv1d_{name}", kernel, 1, inner)
    b.matrix(i, "ssm_f_a", hidden, inner)
    b.matrix(i, "ssm_beta", hidden, b.s.heads)
    b.unsuffixed(i, "ssm_a", 1, b.s.heads)
    b.vector(i, "ssm_dt.bias", inner)
    b.matrix(i, "ssm_g_a", hidden, inner)
    b.norm(i, "ssm_norm", size=size)
    b.matrix(i, "attn_output", inner, hidden)


def _shared_width(f: Fields) -> int:
    """The VL config leaves out the count of its one shared expert."""
    if f.has("moe_shared_expert_intermediate_size"):
        return f.integer("moe_shared_expert_intermediate_size")
    return f.integer("moe_intermediate_size") * f.integer_or("num_shared_experts", 1)


def _feed_forward(b: Build, i: int, f: Fields, dense: int) -> None:
    b.norm(i, "ffn_norm")
    if i < dense:
        b.gated_mlp(i)
        return
    count = f.integer("num_experts")
    b.experts(i, count, f.integer("moe_intermediate_size"))
    b.vector(i, "exp_probs_b.bias", count)
    b.shared(i, _shared_width(f))


def _keys(b: Build, f: Fields, dense: int, attends: list[bool]) -> None:
    count, width = f.integer("num_experts"), f.integer("moe_intermediate_size")
    b.key("attention.head_count_kv", [1 if here else 0 for here in attends])
    b.key("ssm.conv_kernel", f.integer("short_conv_kernel_size"))
    b.key("kda.head_dim", f.integer("head_dim"))
    b.key("kda.gate_lower_bound", _LOWER_BOUND)
    b.moe_keys(count, experts_used(f, "num_experts_per_tok", count), width)
    b.key("expert_shared_feed_forward_length", _shared_width(f))
    b.key("expert_shared_count", f.integer_or("num_shared_experts", 1))
    b.key("leading_dense_block_count", dense)
    b.key("expert_gating_func", GATING["sigmoid"])


def _ling(f: Fields) -> Conversion:
    refuse_bias(f)
    need(f, "no_kda_lora", wanted=True, default=False)
    need(f, "kda_safe_gate", wanted=True, default=False)
    lat = latent_of(f, f.integer_or("q_lora_rank", 0))
    b = Build("bailingmoe3", latent_decoder(f, lat, f.integer("intermediate_size")))
    dense, attends = leading_dense(f, b.s.layers), _attends(f, b.s.layers)
    absorbed_keys(b, lat)
    _keys(b, f, dense, attends)
    size, kernel = f.integer("head_dim"), f.integer("short_conv_kernel_size")
    for i in range(b.s.layers):
        b.norm(i, "attn_norm")
        if attends[i]:
            absorbed_attention(b, i, lat)
            b.matrix(i, "attn_gate", b.s.hidden, b.s.heads)
        else:
            _mixer(b, i, size, kernel)
        _feed_forward(b, i, f, dense)
    return b.done(tied=tied(f, default=False))


CONVERTERS: dict[str, Callable[[Fields], Conversion]] = {
    "bailing_hybrid": _ling,
    "bailing_moe_v3": _ling,
    "bailing_moe_v3_vl": _ling,
}
