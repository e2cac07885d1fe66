"""Kimi Linear: Kimi delta attention, and latent attention in every 4th layer or so."""

from collections.abc import Callable

from mathcore.convert.conversion import Conversion
from mathcore.convert.kimi_k3 import kimi_k3
from mathcore.convert.kimi_parts import attends_of, delta_of, kimi_keys
from mathcore.convert.mla import (
    absorbed_attention,
    latent_decoder,
    latent_of,
    leading_dense,
    planes,
    refuse_bias,
)
from mathcore.convert.parts import Build, tied
from mathcore.convert.states import bare, need
from mathcore.model.fields import Fields


def _mixer(b: Build, i: int, size: int, kernel: int) -> None:
    hidden, inner = b.s.hidden, b.s.heads * size
    for name in ("q", "k", "v"):
        b.matrix(i, f"attn_{name}", hidden, inner)
        planes(b, i, f"ssm_conv1d_{name}", kernel, 1, inner)
    for name in ("f", "g"):
        b.matrix(i, f"ssm_{name}_a", hidden, size)
        b.matrix(i, f"ssm_{name}_b", size, inner)
    b.matrix(i, "ssm_beta", hidden, b.s.heads)
    bare(b, i, "ssm_a", 1, b.s.heads)
    b.vector(i, "ssm_dt.bias", inner)
    b.norm(i, "ssm_norm", size=size)
    b.matrix(i, "attn_output", inner, hidden)


def _feed(b: Build, i: int, f: Fields, dense: int) -> None:
    b.norm(i, "ffn_norm")
    if i < dense:
        b.gated(i)
        return
    count, width = f.integer("num_experts"), f.integer("moe_intermediate_size")
    b.experts(i, count, width)
    b.vector(i, "exp_probs_b.bias", count)
    b.shared(i, width * f.integer("num_shared_experts"))


def _kimi_linear(f: Fields) -> Conversion:
    """A card of Kimi K3 calls its language model kimi_linear as well."""
    if f.has("attn_res_block_size") or f.has("routed_expert_hidden_size"):
        return kimi_k3(f)
    refuse_bias(f)
    need(f, "tie_word_embeddings", False, False)
    lat = latent_of(f, f.integer_or("q_lora_rank", 0))
    s = latent_decoder(f, lat, f.integer("intermediate_size"))
    b = Build("kimi-linear", s)
    if s.context == 0:
        b.key("context_length", f.integer_or("model_max_length", 0))
    attends = attends_of(f, s.layers)
    dense = leading_dense(f, s.layers)
    kimi_keys(b, f, lat, attends, dense)
    size, kernel = delta_of(f)
    for i in range(s.layers):
        b.norm(i, "attn_norm")
        if attends[i]:
            absorbed_attention(b, i, lat)
        else:
            _mixer(b, i, size, kernel)
        _feed(b, i, f, dense)
    return b.done(tied(f, False))


CONVERTERS: dict[str, Callable[[Fields], Conversion]] = {
    "kimi_linear": _kimi_linear,
    "kimi_k3": kimi_k3,
}
