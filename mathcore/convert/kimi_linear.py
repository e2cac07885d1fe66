"""Kimi Linear: Kimi delta attention, and latent attention in every 4th layer or so."""

from collections.abc import Callable

from mathcore.convert.conversion import Conversion
from mathcore.convert.mla import (
    GATING,
    Latent,
    absorbed_attention,
    absorbed_keys,
    latent_decoder,
    latent_of,
    leading_dense,
    planes,
    refuse_bias,
)
from mathcore.convert.parts import Build, experts_used, tied
from mathcore.convert.states import bare, need
from mathcore.fields import Fields


def _attends(f: Fields, layers: int) -> list[bool]:
    """Listed by kind, or by place counted from 1."""
    if not f.has("linear_attn_config"):
        names = f.texts("layer_types", layers)
        for name in names:
            if name not in ("linear_attention", "full_attention"):
                raise f.fault("layer_types", f"'{name}' is not supported yet")
        return [name == "full_attention" for name in names]
    inside = f.nested("linear_attn_config")
    value = inside.values.get("full_attn_layers")
    count = len(value) if isinstance(value, list) else -1
    places = inside.wholes("full_attn_layers", count, 1, layers)
    return [i + 1 in places for i in range(layers)]


def _delta(f: Fields) -> tuple[int, int]:
    """Head size and kernel; llama.cpp takes as many heads as the attention has."""
    if f.has("linear_attn_config"):
        inside = f.nested("linear_attn_config")
        names = ("num_heads", "head_dim", "short_conv_kernel_size")
    else:
        inside, names = f, ("linear_num_heads", "linear_head_dim", "linear_conv_kernel_dim")
    if inside.whole(names[0]) != f.whole("num_attention_heads"):
        raise inside.fault(names[0], "other than num_attention_heads is not supported yet")
    return inside.whole(names[1]), inside.whole(names[2])


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
    count, width = f.whole("num_experts"), f.whole("moe_intermediate_size")
    b.experts(i, count, width)
    b.vector(i, "exp_probs_b.bias", count)
    b.shared(i, width * f.whole("num_shared_experts"))


def _keys(b: Build, f: Fields, lat: Latent, attends: list[bool], dense: int) -> None:
    count, width = f.whole("num_experts"), f.whole("moe_intermediate_size")
    size, kernel = _delta(f)
    absorbed_keys(b, lat)
    b.key("attention.head_count_kv", [1 if here else 0 for here in attends])
    b.key("ssm.conv_kernel", kernel)
    b.key("kda.head_dim", size)
    b.moe_keys(count, experts_used(f, "num_experts_per_token", count), width)
    b.key("expert_shared_count", f.whole("num_shared_experts"))
    b.key("leading_dense_block_count", dense)
    b.key("expert_gating_func", GATING["sigmoid"])


def _kimi_linear(f: Fields) -> Conversion:
    refuse_bias(f)
    need(f, "tie_word_embeddings", False, False)
    lat = latent_of(f, f.whole_or("q_lora_rank", 0))
    s = latent_decoder(f, lat, f.whole("intermediate_size"))
    b = Build("kimi-linear", s)
    if s.context == 0:
        b.key("context_length", f.whole_or("model_max_length", 0))
    attends = _attends(f, s.layers)
    dense = leading_dense(f, s.layers)
    _keys(b, f, lat, attends, dense)
    size, kernel = _delta(f)
    for i in range(s.layers):
        b.norm(i, "attn_norm")
        if attends[i]:
            absorbed_attention(b, i, lat)
        else:
            _mixer(b, i, size, kernel)
        _feed(b, i, f, dense)
    return b.done(tied(f, False))


CONVERTERS: dict[str, Callable[[Fields], Conversion]] = {"kimi_linear": _kimi_linear}
