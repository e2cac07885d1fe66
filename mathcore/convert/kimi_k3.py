"""Kimi K3: Kimi Linear with gates, residuals of earlier layers, and experts in a latent."""

from mathcore.convert.conversion import Conversion, stacked, vector
from mathcore.convert.kimi_parts import attends_of, delta_of, kimi_keys
from mathcore.convert.mla import (
    absorbed_attention,
    latent_decoder,
    latent_of,
    leading_dense,
    planes,
    q_rank_of,
    refuse_bias,
)
from mathcore.convert.parts import Build
from mathcore.convert.states import need
from mathcore.model.fields import Fields

# The loader wants these; no size depends on them.
_BETA = 1.0


def _mixer(b: Build, i: int, size: int, kernel: int) -> None:
    """Delta attention whose gate has full rank."""
    hidden, inner = b.s.hidden, b.s.heads * size
    for name in ("q", "k", "v"):
        b.matrix(i, f"attn_{name}", hidden, inner)
        planes(b, i, f"ssm_conv1d_{name}", kernel, 1, inner)
    b.matrix(i, "ssm_f_a", hidden, size)
    b.matrix(i, "ssm_f_b", size, inner)
    b.matrix(i, "ssm_beta", hidden, b.s.heads)
    b.vector(i, "ssm_a", b.s.heads)
    b.vector(i, "ssm_dt.bias", inner)
    b.matrix(i, "ssm_g", hidden, inner)
    b.norm(i, "ssm_norm", size=size)
    b.matrix(i, "attn_output", inner, hidden)


def _mixture(b: Build, i: int, f: Fields) -> None:
    """The routed experts work in a latent; the shared ones at full width."""
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
    need(f, "tie_word_embeddings", False, False)
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
    size, kernel = delta_of(f)
    for i in range(s.layers):
        b.norm(i, "attn_norm")
        b.norm(i, "attn_res_score")
        b.norm(i, "ffn_res_score")
        if attends[i]:
            absorbed_attention(b, i, lat)
            b.matrix(i, "attn_gate", s.hidden, s.heads * lat.value)
        else:
            _mixer(b, i, size, kernel)
        b.norm(i, "ffn_norm")
        if i < dense:
            b.gated(i)
        else:
            _mixture(b, i, f)
    b.tensors.append(vector("output_res_score.weight", s.hidden))
    return b.done(False)
