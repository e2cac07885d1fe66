"""Families few people run: per-layer widths, extra norms, gates, chunked experts."""

from collections.abc import Callable

from mathcore.convert.conversion import Conversion, stacked
from mathcore.convert.moe import Experts, feed_forward, find_experts, moe_keys
from mathcore.convert.parts import Build, Sizes, legacy_sizes, sizes, sliding_layers, tied
from mathcore.model.fields import MAX_LAYERS, Fields

_REFACT_STEP = 256  # its widths are rounded up to this


def _refact(f: Fields) -> Conversion:
    """Two thirds of four times the hidden size, rounded up."""
    f.integer("n_positions")
    wide = -(-int(2 * 4 * f.integer("n_embd") / 3) // _REFACT_STEP) * _REFACT_STEP
    b = Build("refact", legacy_sizes(f, wide, 1, "n_positions"))
    for i in range(b.s.layers):
        b.norm(i, "attn_norm")
        b.attention(i)
        b.norm(i, "ffn_norm")
        b.gated(i)
    return b.done(tied(f, False))


def _codeshell(f: Fields) -> Conversion:
    f.integer("n_positions")
    kv = f.integer("num_query_groups", 1, f.integer("n_head"))
    b = Build("codeshell", legacy_sizes(f, 4 * f.integer("n_embd"), kv, "n_positions"))
    for i in range(b.s.layers):
        b.norm(i, "attn_norm", bias=True)
        b.attention(i, True, True)
        b.norm(i, "ffn_norm", bias=True)
        b.plain(i, bias=True)
    return b.done(False, norm_bias=True)


def _numbers(f: Fields, field: str, count: int) -> list[float]:
    """Exactly `count` numbers above 0."""
    value = f.values.get(field)
    if not isinstance(value, list) or len(value) != count:
        raise f.fault(field, f"is not a list of {count} numbers")
    out: list[float] = []
    for item in value:
        if isinstance(item, bool) or not isinstance(item, (int, float)) or not 0 < item < 1000:
            raise f.fault(field, f"is not a list of {count} numbers")
        out.append(float(item))
    return out


def _divisible(wide: float, step: int) -> int:
    """Rounded to a multiple of `step`, never down by more than a tenth."""
    out = max(step, int(wide + step / 2) // step * step)
    return out + step if out < 0.9 * wide else out


def _openelm(f: Fields) -> Conversion:
    layers = f.integer("num_transformer_layers", 1, MAX_LAYERS)
    heads = f.integers("num_query_heads", layers, 1)
    kv = f.integers("num_kv_heads", layers, 1)
    widths = [
        _divisible(times * f.integer("model_dim"), f.integer("ffn_dim_divisor"))
        for times in _numbers(f, "ffn_multipliers", layers)
    ]
    s = Sizes(
        vocab=f.integer("vocab_size"),
        hidden=f.integer("model_dim"),
        layers=layers,
        heads=heads[0],
        kv_heads=kv[0],
        head_dim=f.integer("head_dim"),
        feed_forward=widths[0],
        context=f.integer_or("max_context_length", 0),
    )
    b = Build("openelm", s)
    b.key("attention.head_count", heads)
    b.key("attention.head_count_kv", kv)
    b.key("feed_forward_length", widths)
    for i in range(layers):
        b.norm(i, "attn_norm")
        b.matrix(i, "attn_qkv", s.hidden, (heads[i] + 2 * kv[i]) * s.head_dim)
        b.head_norms(i)
        b.matrix(i, "attn_output", heads[i] * s.head_dim, s.hidden)
        b.norm(i, "ffn_norm")
        b.gated(i, widths[i])
    return b.done(True)


def _bitnet(f: Fields) -> Conversion:
    b = Build("bitnet", sizes(f, need_kv=True))
    for i in range(b.s.layers):
        b.norm(i, "attn_norm")
        b.norm(i, "attn_sub_norm")
        b.attention(i)
        b.norm(i, "ffn_norm")
        b.norm(i, "ffn_sub_norm", size=b.s.feed_forward)
        b.gated(i)
    return b.done(True)


def _jais2(f: Fields) -> Conversion:
    b = Build("jais2", sizes(f))
    for i in range(b.s.layers):
        b.norm(i, "attn_norm", bias=True)
        b.attention(i, f.flag_or("attention_bias", default=True), True)
        b.norm(i, "ffn_norm", bias=True)
        b.plain(i, bias=True)
    return b.done(tied(f, False), norm_bias=True)


def _cohere2_moe(f: Fields) -> Conversion:
    """Command-R with experts: one norm, halves side by side, always tied."""
    s = sizes(f, need_kv=True, need_head_dim=True)
    b = Build("cohere2moe", s)
    e = find_experts(f, "num_experts", "intermediate_size")
    e = Experts(
        count=e.count,
        used=e.used,
        width=e.width,
        shared=f.integer_or("num_shared_experts", 0, 0) * e.width,
        dense=f.integer("first_k_dense_replace", 0, s.layers),
    )
    moe_keys(b, e)
    b.key("logit_scale", 1.0)
    b.key("attention.sliding_window", f.integer("sliding_window"))
    b.key("attention.sliding_window_pattern", sliding_layers(f, s.layers, None))
    for i in range(s.layers):
        b.norm(i, "attn_norm")
        b.attention(i)
        feed_forward(b, i, e)
    return b.done(True)


def _window(b: Build, f: Fields) -> None:
    """A window and the layers that keep it, or neither."""
    layers = b.s.layers
    near = sliding_layers(f, layers, None if f.has("sliding_window") else [False] * layers)
    if any(near):
        b.key("attention.sliding_window", f.integer("sliding_window"))
        b.key("attention.sliding_window_pattern", near)


def _mellum(f: Fields) -> Conversion:
    s = sizes(f, need_kv=True, need_head_dim=True)
    b = Build("mellum", s)
    e = find_experts(f, "num_experts", "moe_intermediate_size")
    moe_keys(b, e)
    if f.flag_or("use_sliding_window", default=True):
        _window(b, f)
    for i in range(s.layers):
        b.norm(i, "attn_norm")
        b.attention(i)
        b.head_norms(i)
        b.norm(i, "ffn_norm")
        feed_forward(b, i, e)
    return b.done(False)


def _hy_v3(f: Fields) -> Conversion:
    """Hunyuan 3, without its draft layers."""
    s = sizes(f, need_kv=True, need_head_dim=True)
    b = Build("hy_v3", s)
    e = find_experts(f, "num_experts", "moe_intermediate_size")
    e = Experts(
        count=e.count,
        used=e.used,
        width=e.width,
        sigmoid=True,
        shared=f.integer("num_shared_experts", 0) * e.width,
        dense=f.integer("first_k_dense_replace", 0, s.layers),
    )
    moe_keys(b, e)
    for i in range(s.layers):
        b.norm(i, "attn_norm")
        b.attention(i)
        b.head_norms(i)
        b.norm(i, "ffn_norm")
        feed_forward(b, i, e)
        if i >= e.dense:
            b.vector(i, "exp_probs_b", e.count)  # no ".bias" here
    return b.done(tied(f, False))


def _grove_moe(f: Fields) -> Conversion:
    """Every two experts share a small one of their own."""
    s = sizes(f, need_kv=True, need_head_dim=True)
    b = Build("grovemoe", s)
    e = find_experts(f, "num_experts", "moe_intermediate_size")
    moe_keys(b, e)
    b.key("expert_chunk_feed_forward_length", s.head_dim)
    b.key("experts_per_group", 2)
    b.key("expert_group_scale", 0.05)
    for i in range(s.layers):
        b.norm(i, "attn_norm")
        b.attention(i)
        b.head_norms(i)
        b.norm(i, "ffn_norm")
        feed_forward(b, i, e)
        half, wide = e.count // 2, s.head_dim
        for name in ("gate", "up"):
            b.tensors.append(stacked(f"blk.{i}.ffn_{name}_chexps.weight", s.hidden, wide, half, i))
        b.tensors.append(stacked(f"blk.{i}.ffn_down_chexps.weight", wide, s.hidden, half, i))
    return b.done(tied(f, False))


def _laguna_gates(f: Fields, layers: int) -> list[bool]:
    """Which layers gate every number of attention's output, not every head."""
    if f.has("gating_types"):
        names = f.texts("gating_types", layers)
    elif isinstance(f.values.get("gating"), str):
        names = [f.text("gating")] * layers
    else:
        f.flag_or("gating", default=True)
        names = ["per_head"] * layers
    out: list[bool] = []
    for name in names:
        if name.replace("-", "_") not in ("per_head", "per_element"):
            raise f.fault("gating", f"'{name}' is not supported yet")
        out.append(name.replace("-", "_") == "per_element")
    return out


def _laguna_experts(f: Fields, layers: int) -> Experts:
    kinds = f.texts("mlp_layer_types", layers)
    e = find_experts(f, "num_experts", "moe_intermediate_size")
    return Experts(
        count=e.count,
        used=e.used,
        width=e.width,
        bias=True,
        sigmoid=True,
        shared=f.integer("shared_expert_intermediate_size"),
        dense=next((i for i in range(layers) if kinds[i] != "dense"), layers),
    )


def _laguna_layer(b: Build, i: int, heads: int, wide: bool) -> None:
    """Attention whose output is gated by head, or by number when `wide`."""
    s, q = b.s, heads * b.s.head_dim
    b.norm(i, "attn_norm")
    b.matrix(i, "attn_q", s.hidden, q)
    b.matrix(i, "attn_k", s.hidden, s.kv)
    b.matrix(i, "attn_v", s.hidden, s.kv)
    b.matrix(i, "attn_output", q, s.hidden)
    b.head_norms(i)
    b.matrix(i, "attn_gate", s.hidden, q if wide else heads)
    b.norm(i, "ffn_norm")


def _laguna(f: Fields) -> Conversion:
    """Gated attention; the number of query heads may differ between layers."""
    s = sizes(f, need_kv=True, need_head_dim=True)
    b = Build("laguna", s)
    heads = [s.heads] * s.layers
    if f.has("num_attention_heads_per_layer"):
        heads = f.integers("num_attention_heads_per_layer", s.layers, 1)
    e = _laguna_experts(f, s.layers)
    moe_keys(b, e)
    b.key("attention.head_count", heads)
    _window(b, f)
    wide = _laguna_gates(f, s.layers)
    for i in range(s.layers):
        _laguna_layer(b, i, heads[i], wide[i])
        feed_forward(b, i, e)
    return b.done(tied(f, False))


CONVERTERS: dict[str, Callable[[Fields], Conversion]] = {
    "gpt_refact": _refact,
    "codeshell": _codeshell,
    "openelm": _openelm,
    "bitnet": _bitnet,
    "jais2": _jais2,
    "cohere2_moe": _cohere2_moe,
    "mellum": _mellum,
    "hy_v3": _hy_v3,
    "grove_moe": _grove_moe,
    "laguna": _laguna,
}
