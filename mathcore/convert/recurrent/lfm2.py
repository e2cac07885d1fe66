"""Liquid's LFM2: short convolutions among attention, dense or with experts."""

from collections.abc import Callable

from mathcore.convert.build import Build
from mathcore.convert.checks import layer_names, places
from mathcore.convert.conversion import Conversion, matrix, vector
from mathcore.convert.mixture import GATING, experts_used
from mathcore.convert.recurrent.ssm import kv_list
from mathcore.convert.sizes import sizes
from mathcore.model.fields import Fields

MAX_FACTOR = 64  # far above any released feed-forward


def _attends(f: Fields, layers: int) -> list[bool]:
    """Which layers attend: the config lists kinds, the first configs indexes."""
    if not f.has("layer_types") and f.has("full_attn_idxs"):
        listed = places(f, "full_attn_idxs", 0, layers - 1)
        return [i in listed for i in range(layers)]
    names = layer_names(f, "layer_types", layers, ("conv", "full_attention"))
    return [name == "full_attention" for name in names]


def _adjusted(f: Fields, width: int) -> int:
    """The library takes two thirds, times a factor, and rounds up to a multiple."""
    if not f.flag_or("block_auto_adjust_ff_dim", default=True):
        return width
    wide = int(2 * width / 3)
    if f.has("block_ffn_dim_multiplier"):
        factor = f.number("block_ffn_dim_multiplier")
        if not 0.0 < factor <= MAX_FACTOR:
            raise f.fault("block_ffn_dim_multiplier", f"must be above 0 and at most {MAX_FACTOR}")
        wide = int(factor * wide)
    step = f.integer("block_multiple_of")
    return step * -(-wide // step)


def _dense_width(f: Fields) -> Fields:
    """The config with the width its layers really have."""
    field = "block_ff_dim" if f.has("block_ff_dim") else "intermediate_size"
    values = dict(f.values)
    values["intermediate_size"] = _adjusted(f, f.integer(field))
    return Fields(values)


def _tied(f: Fields) -> bool:
    """Whether the output layer is the embedding, under either name; the default is yes."""
    name = "tie_embedding" if f.has("tie_embedding") else "tie_word_embeddings"
    return f.flag_or(name, default=True)


def _mixer(b: Build, i: int, *, here: bool, kernel: int) -> None:
    hidden = b.s.hidden
    b.norm(i, "attn_norm")
    if here:
        b.attention(i)
        b.head_norms(i)
        return
    b.matrix(i, "shortconv.conv", kernel, hidden)
    b.matrix(i, "shortconv.in_proj", hidden, 3 * hidden)
    b.matrix(i, "shortconv.out_proj", hidden, hidden)


def _done(b: Build, *, tied: bool) -> Conversion:
    """The final norm is stored under the name of the embedding's norm."""
    b.tensors.append(vector("token_embd_norm.weight", b.s.hidden))
    if not tied:
        b.tensors.append(matrix("output.weight", b.s.hidden, b.s.vocab))
    return b.conversion()


def _start(f: Fields, arch: str) -> tuple[Build, list[bool], int]:
    s = sizes(f, need_kv=True)
    if s.q != s.hidden:
        raise f.fault("head_dim", "other than hidden_size / heads is not supported yet")
    if f.flag_or("conv_bias", default=False):
        raise f.fault("conv_bias", "true is not supported yet")
    b = Build(arch, s)
    attends, kernel = _attends(f, s.layers), f.integer("conv_L_cache")
    kv_list(b, attends)
    b.key("shortconv.l_cache", kernel)
    return b, attends, kernel


def _lfm2(f: Fields) -> Conversion:
    b, attends, kernel = _start(_dense_width(f), "lfm2")
    for i in range(b.s.layers):
        _mixer(b, i, here=attends[i], kernel=kernel)
        b.norm(i, "ffn_norm")
        b.gated_mlp(i)
    return _done(b, tied=_tied(f))


def _lfm2_moe(f: Fields) -> Conversion:
    b, attends, kernel = _start(f, "lfm2moe")
    dense = f.integer("num_dense_layers", 0, b.s.layers)
    count, width = f.integer("num_experts"), f.integer("moe_intermediate_size")
    if not f.flag_or("use_expert_bias", default=True):
        raise f.fault("use_expert_bias", "false is not supported yet")
    b.moe_keys(count, experts_used(f, "num_experts_per_tok", count), width)
    b.key("leading_dense_block_count", dense)
    b.key("expert_gating_func", GATING["sigmoid"])
    for i in range(b.s.layers):
        _mixer(b, i, here=attends[i], kernel=kernel)
        b.norm(i, "ffn_norm")
        if i < dense:
            b.gated_mlp(i)
        else:
            b.experts(i, count, width)
            b.vector(i, "exp_probs_b.bias", count)
    return _done(b, tied=_tied(f))


CONVERTERS: dict[str, Callable[[Fields], Conversion]] = {
    "lfm2": _lfm2,
    "lfm2_moe": _lfm2_moe,
}
