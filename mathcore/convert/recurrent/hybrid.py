"""States and attention in one model: Jamba, Granite 4, Bamba, Falcon-H1 and PLaMo 2."""

from collections.abc import Callable

from mathcore.convert.build import Build
from mathcore.convert.checks import layer_names, need, places, tied
from mathcore.convert.conversion import Conversion
from mathcore.convert.mixture import experts_used
from mathcore.convert.recurrent.ssm import (
    Ssm,
    grouped_ssm,
    kv_list,
    mamba1,
    mamba2,
    rank_of,
    ssm_keys,
)
from mathcore.convert.sizes import head_size, sizes
from mathcore.model.fields import MAX_LAYERS, Fields


def _periodic(f: Fields, layers: int, kind: str) -> list[bool]:
    period, offset = f.integer(f"{kind}_layer_period"), f.integer(f"{kind}_layer_offset", 0)
    return [i >= offset and (i - offset) % period == 0 for i in range(layers)]


def _jamba(f: Fields) -> Conversion:
    need(f, "mamba_conv_bias", wanted=True, default=True)
    need(f, "mamba_proj_bias", wanted=False, default=False)
    s = sizes(f, need_kv=True)
    inner = f.integer("mamba_expand") * s.hidden
    if inner != 2 * s.hidden:
        raise f.fault("mamba_expand", "other than 2 is not supported yet")
    m = Ssm(
        kernel=f.integer("mamba_d_conv"),
        inner=inner,
        size=f.integer("mamba_d_state"),
        rank=rank_of(f, "mamba_dt_rank", s.hidden),
    )
    b = Build("jamba", s)
    attends, mixes = _periodic(f, s.layers, "attn"), _periodic(f, s.layers, "expert")
    count = f.integer("num_experts")
    kv_list(b, attends)
    ssm_keys(b, m, grouped=False)
    b.key("expert_count", count)
    b.key("expert_used_count", experts_used(f, "num_experts_per_tok", count))
    for i in range(s.layers):
        b.norm(i, "attn_norm")
        if attends[i]:
            b.attention(i)
        else:
            mamba1(b, i, m, norms=True)
        b.norm(i, "ffn_norm")
        if mixes[i] and count > 1:
            b.experts(i, count, s.feed_forward)
        else:
            b.gated_mlp(i)
    return b.done(tied=tied(f, default=False))


def _granite_attends(f: Fields, layers: int) -> list[bool]:
    """Which layers attend: the config lists kinds or indexes."""
    if f.has("layer_types") or not f.has("attn_layer_indices"):
        names = layer_names(f, "layer_types", layers, ("attention", "mamba"))
        return [name == "attention" for name in names]
    listed = places(f, "attn_layer_indices", 0, layers - 1)
    return [i in listed for i in range(layers)]


def _granite_ssm(f: Fields, hidden: int) -> Ssm:
    inner = f.integer("mamba_expand") * hidden
    if inner != 2 * hidden:
        raise f.fault("mamba_expand", "other than 2 is not supported yet")
    need(f, "mamba_proj_bias", wanted=False, default=False)
    return grouped_ssm(
        f, "mamba_d_conv", "mamba_d_state", "mamba_n_heads", "mamba_d_head", "mamba_n_groups", inner
    )


def _granite_feed(b: Build, i: int, count: int, width: int) -> None:
    b.norm(i, "ffn_norm")
    if count > 0:
        b.experts(i, count, width)
        b.shared(i, b.s.feed_forward)
    else:
        b.gated_mlp(i)


def _granite_arch(attends: list[bool], count: int) -> str:
    """A model without states is written as the older architecture, which has none."""
    if False in attends:
        return "granitehybrid"
    return "granitemoe" if count > 0 else "granite"


def _granite(f: Fields) -> Conversion:
    """A dense model's width stands in the field of the others' shared expert."""
    shared = "intermediate_size" if f.text("model_type") == "bamba" else "shared_intermediate_size"
    s = sizes(f, need_kv=True, feed_forward=shared)
    if s.head_dim != head_size(f, s.hidden, s.heads):
        raise f.fault("head_dim", "other than hidden_size / heads is not supported yet")
    if f.flag_or("attention_bias", default=False):
        raise f.fault("attention_bias", "true is not supported yet")
    attends = _granite_attends(f, s.layers)
    count = f.integer("num_local_experts", 0) if shared == "shared_intermediate_size" else 0
    b = Build(_granite_arch(attends, count), s)
    width = f.integer("intermediate_size") if count > 0 else 0
    if count > 0:
        b.key("expert_count", count)
        b.key("expert_used_count", experts_used(f, "num_experts_per_tok", count))
        b.key("expert_shared_feed_forward_length", s.feed_forward)
        b.key("feed_forward_length", width)
    if False in attends:
        kv_list(b, attends)
        m = _granite_ssm(f, s.hidden)
        ssm_keys(b, m, grouped=True)
        bias = f.flag_or("mamba_conv_bias", default=True)
    for i in range(s.layers):
        b.norm(i, "attn_norm")
        if attends[i]:
            b.attention(i)
        else:
            mamba2(b, i, m, conv_bias=bias)
        _granite_feed(b, i, count, width)
    return b.done(tied=tied(f, default=False))


def _falcon_h1(f: Fields) -> Conversion:
    for field in ("attention_bias", "mlp_bias", "projectors_bias", "mamba_proj_bias"):
        need(f, field, wanted=False, default=False)
    s = sizes(f, need_kv=True, need_head_dim=True)
    m = grouped_ssm(
        f,
        "mamba_d_conv",
        "mamba_d_state",
        "mamba_n_heads",
        "mamba_d_head",
        "mamba_n_groups",
        f.integer("mamba_d_ssm"),
    )
    b = Build("falcon-h1", s)
    ssm_keys(b, m, grouped=True)
    bias, norm = (
        f.flag_or("mamba_conv_bias", default=True),
        f.flag_or("mamba_rms_norm", default=False),
    )
    for i in range(s.layers):
        b.norm(i, "attn_norm")
        mamba2(b, i, m, conv_bias=bias, norm=norm)
        b.attention(i)
        b.vector(i, "ffn_norm", s.hidden)
        b.gated_mlp(i)
    return b.done(tied=tied(f, default=False))


def _plamo2_attends(f: Fields, layers: int) -> list[bool]:
    need(f, "mamba_enabled", wanted=True, default=True)
    step = f.integer("mamba_step")
    if layers <= step // 2:
        return [i == layers - 1 for i in range(layers)]
    return [i % step == step // 2 for i in range(layers)]


def _plamo2_mixer(b: Build, i: int, m: Ssm, dt: int) -> None:
    """Mamba 2's heads on Mamba 1's projections."""
    b.matrix(i, "ssm_in", b.s.hidden, 2 * m.inner)
    b.matrix(i, "ssm_conv1d", m.kernel, m.inner)
    b.matrix(i, "ssm_x", m.inner, dt + 2 * m.size)
    b.linear(i, "ssm_dt", dt, m.rank, bias=True)
    for name, size in (
        ("ssm_a", m.rank),
        ("ssm_d", m.rank),
        ("ssm_dt_norm", dt),
        ("ssm_b_norm", m.size),
        ("ssm_c_norm", m.size),
    ):
        b.vector(i, name, size)
    b.matrix(i, "ssm_out", m.inner, b.s.hidden)


def _plamo2_attention(b: Build, i: int) -> None:
    s = b.s
    b.matrix(i, "attn_qkv", s.hidden, s.q + 2 * s.kv)
    b.matrix(i, "attn_q_norm", s.head_dim, s.heads)
    b.matrix(i, "attn_k_norm", s.head_dim, s.kv_heads)
    b.matrix(i, "attn_output", s.q, s.hidden)


def _plamo2(f: Fields) -> Conversion:
    fields = dict(f.values)
    fields["head_dim"] = f.integer("hidden_size_per_head")
    s = sizes(Fields(fields), need_kv=True, need_head_dim=True)
    attends = _plamo2_attends(f, f.integer("num_hidden_layers", 1, MAX_LAYERS))
    heads = f.integer("mamba_num_heads")
    m = Ssm(
        kernel=f.integer("mamba_d_conv"),
        inner=heads * s.head_dim,
        size=f.integer("mamba_d_state"),
        rank=heads,
    )
    b = Build("plamo2", s)
    kv_list(b, attends)
    b.key("attention.head_count", [s.heads if here else 0 for here in attends])
    ssm_keys(b, m, grouped=True)
    for i in range(s.layers):
        b.norm(i, "attn_norm")
        if attends[i]:
            _plamo2_attention(b, i)
        else:
            _plamo2_mixer(b, i, m, max(64, s.hidden // 16))
        b.vector(i, "post_attention_norm", s.hidden)
        b.norm(i, "ffn_norm")
        b.fused_gated_mlp(i)
        b.vector(i, "post_ffw_norm", s.hidden)
    return b.done(tied=tied(f, default=True))


CONVERTERS: dict[str, Callable[[Fields], Conversion]] = {
    "jamba": _jamba,
    "granitemoehybrid": _granite,
    "bamba": _granite,
    "falcon_h1": _falcon_h1,
    "plamo2": _plamo2,
}
