"""RWKV 6 and 7, and Qwen models with RWKV in place of attention."""

from collections.abc import Callable

from mathcore.convert.build import Build
from mathcore.convert.checks import need
from mathcore.convert.conversion import Conversion
from mathcore.convert.recurrent.ssm import drop_head_keys, headless
from mathcore.model.fields import Fields
from mathcore.model.spec import Tensor

# What the low ranks of ARWKV are; its config does not say (llama.cpp's conversion/rwkv.py).
_ARWKV_DECAY, _ARWKV_RATE, _ARWKV_VALUE, _ARWKV_GATE = 64, 64, 32, 128


def _start(f: Fields, arch: str, feed_forward: int, size: int) -> Build:
    hidden = f.integer("hidden_size")
    if hidden % size != 0:
        raise f.fault("head_size", f"{size} does not divide the hidden size {hidden}")
    b = Build(arch, headless(f, hidden, feed_forward))
    drop_head_keys(b)
    b.key("wkv.head_size", size)
    return b


def _mixed(b: Build, i: int, name: str, count: int, rows: int = 1, columns: int = 0) -> None:
    """`count` blocks in one tensor: four dimensions, or three when a block has rows."""
    wide = columns if columns else b.s.hidden
    b.tensors.append(
        Tensor(
            name=f"blk.{i}.{name}.weight",
            columns=wide,
            rows=rows * count,
            dims=4 if rows == 1 else 3,
            layer=i,
            planes=count,
        )
    )


def _vectors(b: Build, i: int, names: tuple[str, ...]) -> None:
    for name in names:
        b.norm(i, name)


def _squares(b: Build, i: int, names: tuple[str, ...]) -> None:
    for name in names:
        b.matrix(i, name, b.s.hidden, b.s.hidden)


def _width(f: Fields, rule: int) -> int:
    """Width of the feed-forward; null means `rule`, what the library derives."""
    if "intermediate_size" not in f.values:
        raise f.fault("intermediate_size", "is missing")
    return f.integer_or("intermediate_size", rule)


def _mix6(b: Build, i: int, size: int, extra: int, decay: int) -> None:
    """The tensors of the time mix that both kinds of RWKV 6 have."""
    hidden = b.s.hidden
    b.matrix(i, "time_mix_w1", hidden, 5 * extra)
    _mixed(b, i, "time_mix_w2", 5, hidden, extra)
    _vectors(b, i, ("time_mix_lerp_x", "time_mix_decay"))
    _mixed(b, i, "time_mix_lerp_fused", 5)
    b.matrix(i, "time_mix_decay_w1", hidden, decay)
    b.matrix(i, "time_mix_decay_w2", decay, hidden)
    _squares(b, i, ("time_mix_receptance", "time_mix_gate", "time_mix_output"))


def _extra_keys(b: Build, extra: int, decay: int) -> None:
    b.key("time_mix_extra_dim", extra)
    b.key("time_decay_extra_dim", decay)


def _rwkv6(f: Fields) -> Conversion:
    hidden, size = f.integer("hidden_size"), f.integer("head_size")
    if f.integer_or("attention_hidden_size", hidden) != hidden:
        raise f.fault("attention_hidden_size", "other than hidden_size is not supported yet")
    need(f, "tie_word_embeddings", wanted=False, default=False)
    wide = _width(f, int(hidden * 3.5 // 32 * 32))
    big = hidden == 4096
    extra, decay = (64, 128) if big else (32, 64)
    b = _start(f, "rwkv6", wide, size)
    _extra_keys(b, extra, decay)
    b.key("rescale_every_n_layers", f.integer("rescale_every", 0))
    b.embedding_norm()
    for i in range(b.s.layers):
        for name in ("attn_norm", "attn_norm_2", "time_mix_ln"):
            b.norm(i, name, bias=True)
        _mix6(b, i, size, extra, decay)
        b.matrix(i, "time_mix_first", size, hidden // size)
        _squares(b, i, ("time_mix_key", "time_mix_value", "channel_mix_receptance"))
        _vectors(b, i, ("channel_mix_lerp_k", "channel_mix_lerp_r"))
        b.matrix(i, "channel_mix_key", hidden, wide)
        b.matrix(i, "channel_mix_value", wide, hidden)
    return b.done(tied=False, norm_bias=True)


def _rwkv6_qwen2(f: Fields) -> Conversion:
    """Keys and values may have fewer heads, and have biases as in Qwen 2."""
    hidden, heads, kv = (
        f.integer("hidden_size"),
        f.integer("num_attention_heads"),
        f.integer("num_key_value_heads"),
    )
    if heads > hidden:
        raise f.fault("num_attention_heads", f"{heads} heads share {hidden} numbers")
    size = hidden // heads
    big = hidden >= 4096
    extra = f.integer_or("lora_rank_tokenshift", 64 if big else 32)
    decay = f.integer_or("lora_rank_decay", 128 if big else 64)
    b = _start(f, "rwkv6qwen2", f.integer("intermediate_size"), size)
    _extra_keys(b, extra, decay)
    b.key("token_shift_count", 1)
    b.key("attention.head_count_kv", kv)
    bias = f.flag_or("attention_bias", default=True)
    for i in range(b.s.layers):
        b.norm(i, "attn_norm")
        _mix6(b, i, size, extra, decay)
        for name in ("time_mix_key", "time_mix_value"):
            b.linear(i, name, hidden, kv * size, bias=bias)
        if bias:
            b.vector(i, "time_mix_receptance.bias", hidden)
        b.norm(i, "ffn_norm")
        b.gated_mlp(i)
    return b.done(tied=False)


def _rank(f: Fields, names: tuple[str, ...], hidden: int, power: float, factor: float) -> int:
    """A low rank under either name; null means what the library derives from the hidden size."""
    for name in names:
        if name in f.values:
            rule = max(1, round(hidden**power * factor / 32)) * 32
            return f.integer_or(name, rule)
    raise f.fault(names[-1], "is missing")


def _mix7(b: Build, i: int, ranks: tuple[int, int, int, int], lerps: int) -> None:
    """Decay, learning rate, value mix and gate of low rank, and the time mix around them."""
    hidden = b.s.hidden
    decay, rate, value, gate = ranks
    for letter, rank in (("w", decay), ("a", rate), ("v", value if i > 0 else rate)):
        b.norm(i, f"time_mix_{letter}0")
        b.matrix(i, f"time_mix_{letter}1", hidden, rank)
        b.matrix(i, f"time_mix_{letter}2", rank, hidden)
    if gate > 0:
        b.matrix(i, "time_mix_g1", hidden, gate)
        b.matrix(i, "time_mix_g2", gate, hidden)
    _mixed(b, i, "time_mix_lerp_fused", lerps)
    _vectors(b, i, ("time_mix_k_k", "time_mix_k_a", "time_mix_r_k"))
    _squares(b, i, ("time_mix_key", "time_mix_value", "time_mix_receptance", "time_mix_output"))


def _rank_keys(b: Build, ranks: tuple[int, int, int, int]) -> None:
    names = ("decay", "iclr", "value_residual_mix", "gate")
    for i in range(4):
        b.key(f"attention.{names[i]}_lora_rank", ranks[i])


def _rwkv7(f: Fields) -> Conversion:
    hidden = f.integer("hidden_size")
    size = f.integer("head_size" if f.has("head_size") else "head_dim")
    need(f, "tie_word_embeddings", wanted=False, default=False)
    wide = _width(f, 4 * hidden)
    ranks = (
        _rank(f, ("lora_rank_decay", "decay_low_rank_dim"), hidden, 0.5, 1.8),
        _rank(f, ("lora_rank_iclr", "a_low_rank_dim"), hidden, 0.5, 1.8),
        _rank(f, ("lora_rank_value_residual_mix", "v_low_rank_dim"), hidden, 0.5, 1.3),
        _rank(f, ("lora_rank_gate", "gate_low_rank_dim"), hidden, 0.8, 0.6),
    )
    b = _start(f, "rwkv7", wide, size)
    _rank_keys(b, ranks)
    b.embedding_norm()
    for i in range(b.s.layers):
        for name in ("attn_norm", "attn_norm_2", "time_mix_ln"):
            b.norm(i, name, bias=True)
        _mix7(b, i, ranks, 6)
        b.norm(i, "channel_mix_lerp_k")
        b.matrix(i, "channel_mix_key", hidden, wide)
        b.matrix(i, "channel_mix_value", wide, hidden)
    return b.done(tied=False, norm_bias=True)


def _arwkv7(f: Fields) -> Conversion:
    if f.integer("wkv_version") != 7:
        raise f.fault("wkv_version", "other than 7 is not supported yet")
    gated = f.flag_or("wkv_has_gate", default=True)
    ranks = (_ARWKV_DECAY, _ARWKV_RATE, _ARWKV_VALUE, _ARWKV_GATE if gated else 0)
    b = _start(f, "arwkv7", f.integer("intermediate_size"), f.integer("head_size"))
    _rank_keys(b, ranks)
    b.key("token_shift_count", 1)
    norm = f.flag_or("wkv_has_group_norm", default=True)
    for i in range(b.s.layers):
        b.norm(i, "attn_norm")
        _mix7(b, i, ranks, 6 if gated else 5)
        if norm:
            b.norm(i, "time_mix_ln", bias=True)
        b.norm(i, "ffn_norm")
        b.gated_mlp(i)
    return b.done(tied=False)


CONVERTERS: dict[str, Callable[[Fields], Conversion]] = {
    "rwkv6": _rwkv6,
    "rwkv7": _rwkv7,
    "rwkv6qwen2": _rwkv6_qwen2,
    "rwkv_hybrid": _arwkv7,
}
