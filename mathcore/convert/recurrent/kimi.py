"""Kimi Linear and Kimi K3: Kimi delta attention, and latent attention in every 4th layer or so.

K3 adds gates, residuals of earlier layers, and experts in a latent.
"""

from collections.abc import Callable

from mathcore.convert.build import Build
from mathcore.convert.checks import layer_names, need, places, tied
from mathcore.convert.conversion import Conversion, stacked, vector
from mathcore.convert.latent.mla import (
    Latent,
    absorbed_attention,
    absorbed_keys,
    latent_decoder,
    latent_of,
    q_rank_of,
    refuse_bias,
)
from mathcore.convert.mixture import GATING, experts_used, leading_dense
from mathcore.convert.recurrent.kda import kda_mixer, kda_sizes
from mathcore.model.fields import Fields

# The loader wants these; no size depends on them.
_BETA = 1.0


def attends_of(f: Fields, layers: int) -> list[bool]:
    """Which layers attend: the config lists kinds, or places counted from 1."""
    if not f.has("linear_attn_config"):
        names = layer_names(f, "layer_types", layers, ("linear_attention", "full_attention"))
        return [name == "full_attention" for name in names]
    inside = f.nested("linear_attn_config")
    listed = places(inside, "full_attn_layers", 1, layers)
    return [i + 1 in listed for i in range(layers)]


def kimi_keys(b: Build, f: Fields, lat: Latent, attends: list[bool], dense: int) -> None:
    count, width = f.integer("num_experts"), f.integer("moe_intermediate_size")
    size, kernel = kda_sizes(f)
    absorbed_keys(b, lat)
    b.key("attention.head_count_kv", [1 if here else 0 for here in attends])
    b.key("ssm.conv_kernel", kernel)
    b.key("kda.head_dim", size)
    b.moe_keys(count, experts_used(f, "num_experts_per_token", count), width)
    b.key("expert_shared_count", f.integer("num_shared_experts"))
    b.key("leading_dense_block_count", dense)
    b.key("expert_gating_func", GATING["sigmoid"])


def _k3_mixture(b: Build, i: int, f: Fields) -> None:
    """The routed experts work in a latent, the shared ones at full width."""
    count, width = f.integer("num_experts"), f.integer("moe_intermediate_size")
    hidden, inside = b.s.hidden, f.integer("routed_expert_hidden_size")
    b.matrix(i, "ffn_gate_inp", hidden, count)
    b.vector(i, "exp_probs_b.bias", count)
    for name in ("ffn_gate_exps", "ffn_up_exps"):
        b.tensors.append(stacked(f"blk.{i}.{name}.weight", inside, width, count, i))
    b.tensors.append(stacked(f"blk.{i}.ffn_down_exps.weight", width, inside, count, i))
    b.matrix(i, "ffn_routed_down", hidden, inside)
    b.matrix(i, "ffn_routed_up", inside, hidden)
    b.norm(i, "ffn_routed_norm", size=inside)
    b.shared(i, width * f.integer("num_shared_experts"))


def kimi_k3(f: Fields) -> Conversion:
    refuse_bias(f)
    need(f, "tie_word_embeddings", wanted=False, default=False)
    lat = latent_of(f, q_rank_of(f, 0), 0)
    s = latent_decoder(f, lat, f.integer("intermediate_size"))
    b = Build("kimi-k3", s)
    if s.context == 0:
        b.key("context_length", f.integer_or("model_max_length", 0))
    attends, dense = attends_of(f, s.layers), leading_dense(f, s.layers)
    kimi_keys(b, f, lat, attends, dense)
    b.key("expert_latent_length", f.integer("routed_expert_hidden_size"))
    b.key("attn_res.block_size", f.integer("attn_res_block_size"))
    for name in ("situ_beta", "situ_linear_beta"):
        given = f.has("activation_" + name)
        b.key("activation." + name, f.number("activation_" + name) if given else _BETA)
    size, kernel = kda_sizes(f)
    for i in range(s.layers):
        b.norm(i, "attn_norm")
        b.norm(i, "attn_res_score")
        b.norm(i, "ffn_res_score")
        if attends[i]:
            absorbed_attention(b, i, lat)
            b.matrix(i, "attn_gate", s.hidden, s.heads * lat.value)
        else:
            kda_mixer(b, i, size, kernel, full_gate=True)
        b.norm(i, "ffn_norm")
        if i < dense:
            b.gated_mlp(i)
        else:
            _k3_mixture(b, i, f)
    b.tensors.append(vector("output_res_score.weight", s.hidden))
    return b.done(tied=False)


def _feed(b: Build, i: int, f: Fields, dense: int) -> None:
    b.norm(i, "ffn_norm")
    if i < dense:
        b.gated_mlp(i)
        return
    count, width = f.integer("num_experts"), f.integer("moe_intermediate_size")
    b.experts(i, count, width)
    b.vector(i, "exp_probs_b.bias", count)
    b.shared(i, width * f.integer("num_shared_experts"))


def _kimi_linear(f: Fields) -> Conversion:
    """A config of Kimi K3 calls its language model kimi_linear as well."""
    if f.has("attn_res_block_size") or f.has("routed_expert_hidden_size"):
        return kimi_k3(f)
    refuse_bias(f)
    need(f, "tie_word_embeddings", wanted=False, default=False)
    lat = latent_of(f, f.integer_or("q_lora_rank", 0))
    s = latent_decoder(f, lat, f.integer("intermediate_size"))
    b = Build("kimi-linear", s)
    if s.context == 0:
        b.key("context_length", f.integer_or("model_max_length", 0))
    attends = attends_of(f, s.layers)
    dense = leading_dense(f, s.layers)
    kimi_keys(b, f, lat, attends, dense)
    size, kernel = kda_sizes(f)
    for i in range(s.layers):
        b.norm(i, "attn_norm")
        if attends[i]:
            absorbed_attention(b, i, lat)
        else:
            kda_mixer(b, i, size, kernel, decay_rows=True)
        _feed(b, i, f, dense)
    return b.done(tied=tied(f, default=False))


CONVERTERS: dict[str, Callable[[Fields], Conversion]] = {
    "kimi_linear": _kimi_linear,
    "kimi_k3": kimi_k3,
}
