"""Qwen3-Next, Qwen3.5 and 3.6: three gated delta nets to one gated attention."""

from collections.abc import Callable

from mathcore.convert.build import Build
from mathcore.convert.checks import layer_names, need, tied
from mathcore.convert.conversion import Conversion
from mathcore.convert.mixture import experts_used
from mathcore.convert.recurrent.ssm import Ssm, ssm_keys
from mathcore.convert.rope import rotary_dim_of, scaling
from mathcore.convert.sizes import sizes
from mathcore.model.fields import Fields

# Share of each head that rope rotates when the config does not say.
_PARTIAL = 0.25
# How llama.cpp's converter splits rope by axis for a text-only config (its qwen.py).
_SECTIONS: tuple[int, ...] = (11, 11, 10)
_INTERVAL = 4


def delta_net(f: Fields) -> Ssm:
    """A delta net in Mamba's words: `groups` counts key heads, `rank` value heads."""
    size = f.integer("linear_key_head_dim")
    if f.integer("linear_value_head_dim") != size:
        raise f.fault("linear_value_head_dim", "other than linear_key_head_dim is not supported")
    heads, groups = f.integer("linear_num_value_heads"), f.integer("linear_num_key_heads")
    if heads % groups != 0:
        raise f.fault("linear_num_key_heads", f"{groups} does not divide {heads} value heads")
    return Ssm(
        kernel=f.integer("linear_conv_kernel_dim"),
        inner=size * heads,
        size=size,
        rank=heads,
        groups=groups,
    )


def recurrent_layers(f: Fields, layers: int) -> list[bool]:
    """Which layers are recurrent: as the config lists them, else all but every 4th."""
    if not f.has("layer_types"):
        step = f.integer_or("full_attention_interval", _INTERVAL)
        return [(i + 1) % step != 0 for i in range(layers)]
    names = layer_names(f, "layer_types", layers, ("linear_attention", "full_attention"))
    return [name == "linear_attention" for name in names]


def delta_mixer(b: Build, i: int, m: Ssm, *, joined: bool) -> None:
    """Q, K and V in one projection, and a gate. `joined`: beta and alpha are one projection too."""
    hidden = b.s.hidden
    b.matrix(i, "attn_qkv", hidden, m.mixed)
    b.matrix(i, "attn_gate", hidden, m.inner)
    b.matrix(i, "ssm_conv1d", m.kernel, m.mixed)
    b.vector(i, "ssm_dt.bias", m.rank)
    b.vector(i, "ssm_a", m.rank)
    if joined:
        b.matrix(i, "ssm_ba", hidden, 2 * m.rank)
    else:
        b.matrix(i, "ssm_beta", hidden, m.rank)
        b.matrix(i, "ssm_alpha", hidden, m.rank)
    b.norm(i, "ssm_norm", size=m.size)
    b.matrix(i, "ssm_out", m.inner, hidden)


def gated_attention(b: Build, i: int) -> None:
    """The query projection also gives the gate, so it is twice as wide."""
    s = b.s
    b.matrix(i, "attn_q", s.hidden, 2 * s.q)
    b.matrix(i, "attn_k", s.hidden, s.kv)
    b.matrix(i, "attn_v", s.hidden, s.kv)
    b.matrix(i, "attn_output", s.q, s.hidden)
    b.head_norms(i)


def mixture_layer(b: Build, i: int, f: Fields) -> None:
    count, width = f.integer("num_experts"), f.integer("moe_intermediate_size")
    b.experts(i, count, width)
    b.vector(i, "ffn_gate_inp_shexp.weight", b.s.hidden)
    b.shared(i, f.integer("shared_expert_intermediate_size"))


def expert_keys(b: Build, f: Fields) -> None:
    if f.integer_or("decoder_sparse_step", 1) != 1:
        raise f.fault("decoder_sparse_step", "other than 1 is not supported yet")
    if f.has("mlp_only_layers") and f.values["mlp_only_layers"] != []:
        raise f.fault("mlp_only_layers", "is not supported yet")
    count = f.integer("num_experts")
    used = experts_used(f, "num_experts_per_tok", count)
    b.moe_keys(count, used, f.integer("moe_intermediate_size"))
    b.key("expert_shared_feed_forward_length", f.integer("shared_expert_intermediate_size"))


def rope_sections(b: Build, f: Fields) -> None:
    """How many pairs of a head rope rotates for each axis; the file has four numbers."""
    table = scaling(f)
    given = list(_SECTIONS)
    if table is not None and table.has("mrope_section"):
        given = table.integers("mrope_section", 3)
    b.key("rope.dimension_sections", [*given, 0])


def rotary_size(f: Fields, head_dim: int) -> int:
    table = scaling(f)
    if table is not None and table.has("partial_rotary_factor"):
        return rotary_dim_of(table, head_dim, _PARTIAL)
    return rotary_dim_of(f, head_dim, _PARTIAL)


def _decoder(f: Fields, arch: str, *, mixture: bool, draft: int) -> Conversion:
    need(f, "attention_bias", wanted=False, default=False)
    need(f, "attn_output_gate", wanted=True, default=True)
    s = sizes(
        f,
        need_kv=True,
        need_head_dim=True,
        feed_forward="moe_intermediate_size" if mixture else "intermediate_size",
    )
    b = Build(arch, s, rotary_size(f, s.head_dim))
    m = delta_net(f)
    ssm_keys(b, m, grouped=True)
    recurrent = recurrent_layers(f, s.layers) + [False] * draft
    b.key("attention.recurrent_layers", recurrent)
    b.draft_keys(draft)
    if arch != "qwen3next":
        rope_sections(b, f)
    if mixture:
        expert_keys(b, f)
    for i in range(s.layers + draft):
        b.norm(i, "attn_norm")
        if recurrent[i]:
            delta_mixer(b, i, m, joined=arch == "qwen3next")
        else:
            gated_attention(b, i)
        b.norm(i, "post_attention_norm")
        if mixture:
            mixture_layer(b, i, f)
        else:
            b.gated_mlp(i)
        if i >= s.layers:
            b.draft_tensors(i)
    return b.done(tied=tied(f, default=False))


def _drafts(f: Fields) -> int:
    return f.integer("mtp_num_hidden_layers", 0, 8)


def _qwen3_next(f: Fields) -> Conversion:
    return _decoder(f, "qwen3next", mixture=True, draft=0)


def _qwen35(f: Fields) -> Conversion:
    return _decoder(f, "qwen35", mixture=False, draft=0)


def _qwen35_moe(f: Fields) -> Conversion:
    return _decoder(f, "qwen35moe", mixture=True, draft=0)


def _qwen35_draft(f: Fields) -> Conversion:
    return _decoder(f, "qwen35", mixture=False, draft=_drafts(f))


def _qwen35_moe_draft(f: Fields) -> Conversion:
    return _decoder(f, "qwen35moe", mixture=True, draft=_drafts(f))


CONVERTERS: dict[str, Callable[[Fields], Conversion]] = {
    "qwen3_next": _qwen3_next,
    "qwen3_5": _qwen35,
    "qwen3_5_text": _qwen35,
    "qwen3_5_moe": _qwen35_moe,
    "qwen3_5_moe_text": _qwen35_moe,
}
DRAFT_CONVERTERS: dict[str, Callable[[Fields], Conversion]] = {
    "qwen3_5": _qwen35_draft,
    "qwen3_5_text": _qwen35_draft,
    "qwen3_5_moe": _qwen35_moe_draft,
    "qwen3_5_moe_text": _qwen35_moe_draft,
}
