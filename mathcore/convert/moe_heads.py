"""Decoders whose sliding layers have other heads than their full ones."""

from collections.abc import Callable

from mathcore.convert.conversion import Conversion
from mathcore.convert.moe import Experts, feed_forward, find_experts, moe_keys
from mathcore.convert.parts import Build, Sizes, sizes, sliding_layers, tied
from mathcore.convert.rope import rotated
from mathcore.model.fields import MAX_LAYERS, Fields


def _mimo_sizes(f: Fields) -> Sizes:
    s = sizes(f, need_kv=True, need_head_dim=True)
    for field, value in (
        ("head_dim", s.head_dim),
        ("v_head_dim", f.integer("v_head_dim")),
        ("num_attention_heads", s.heads),
    ):
        if f.integer("swa_" + field) != value:
            raise f.fault("swa_" + field, f"differs from {field}: no model llama.cpp loads")
    return s


def _attention(b: Build, i: int, heads: int, kv: int, value: int) -> None:
    """Projections of a layer with heads of its own; V heads of `value` numbers."""
    s = b.s
    b.norm(i, "attn_norm")
    b.matrix(i, "attn_q", s.hidden, heads * s.head_dim)
    b.matrix(i, "attn_k", s.hidden, kv * s.head_dim)
    b.matrix(i, "attn_v", s.hidden, kv * value)
    b.matrix(i, "attn_output", heads * value, s.hidden)


def _mimo_sinks(f: Fields, near: list[bool]) -> list[bool]:
    """Layers whose attention has a sink: full or sliding ones, each by its own flag."""
    full = f.flag_or("add_full_attention_sink_bias", default=False)
    slid = f.flag_or("add_swa_attention_sink_bias", default=False)
    return [slid if n else full for n in near]


def _mimo_keys(b: Build, f: Fields, near: list[bool], kv: list[int], value: int) -> None:
    b.key("attention.sliding_window", f.integer("sliding_window"))
    b.key("attention.sliding_window_pattern", near)
    b.key("attention.head_count_kv", kv)
    b.key("attention.value_length", value)


def _mimo_v2(f: Fields) -> Conversion:
    """Sliding layers with more KV heads than full ones, sinks on some; without draft layers."""
    s = _mimo_sizes(f)
    b = Build("mimo2", s, rotated(f, s.head_dim, 1.0))
    near = [n == 1 for n in f.integers("hybrid_layer_pattern", s.layers, 0, 1)]
    sparse = f.integers("moe_layer_freq", s.layers, 0, 1)
    value, near_kv = f.integer("v_head_dim"), f.integer("swa_num_key_value_heads")
    kv = [near_kv if n else s.kv_heads for n in near]
    e = find_experts(f, "n_routed_experts", "moe_intermediate_size")
    moe_keys(b, e)
    _mimo_keys(b, f, near, kv, value)
    sinks = _mimo_sinks(f, near)
    for i in range(s.layers):
        _attention(b, i, s.heads, kv[i], value)
        if sinks[i]:
            b.vector(i, "attn_sinks.weight", s.heads)
        b.norm(i, "ffn_norm")
        if sparse[i] == 1:
            b.experts(i, e.count, e.width)
            b.vector(i, "exp_probs_b.bias", e.count)
        else:
            b.gated(i)
    return b.done(tied(f, False))


def _step_heads(f: Fields, near: list[bool], s: Sizes) -> tuple[list[int], list[int]]:
    """Query and KV heads per layer: sliding ones may have their own."""
    other = f.nested("attention_other_setting") if f.has("attention_other_setting") else f
    heads = other.integer("num_attention_heads")
    kv_field = "num_attention_groups" if f.has("num_attention_groups") else "num_key_value_heads"
    kv = other.integer_or(kv_field, s.kv_heads)
    return [heads if n else s.heads for n in near], [kv if n else s.kv_heads for n in near]


def _step_dense(f: Fields, layers: int) -> int:
    """Layers before the first with experts."""
    if f.has("first_k_dense_replace"):
        return f.integer("first_k_dense_replace", 0, layers)
    listed = f.text("moe_layers_enum").split(",")
    if not all(part.strip().isdecimal() for part in listed):
        raise f.fault("moe_layers_enum", "is not a list of layers")
    first = min(int(part) for part in listed)
    if sorted(int(part) for part in listed) != list(range(first, layers)):
        raise f.fault("moe_layers_enum", "leaves out layers after the first: not supported yet")
    return first


def _first(f: Fields, names: tuple[str, ...]) -> str:
    """The name that is there, or the first, for its fault."""
    for name in names:
        if f.has(name):
            return name
    return names[0]


def _step_inner(f: Fields) -> Fields:
    """KV heads under their usual name, and no kinds for the draft layers behind the last."""
    values = dict(f.values)
    kv = _first(f, ("num_attention_groups", "num_key_value_heads"))
    values["num_key_value_heads"] = f.integer(kv)
    layers = f.integer("num_hidden_layers", 1, MAX_LAYERS)
    kinds = values.get("layer_types")
    if isinstance(kinds, list):
        values["layer_types"] = kinds[:layers]
    return Fields(values, f.prefix)


def _step_experts(f: Fields, layers: int) -> Experts:
    e = find_experts(
        f,
        _first(f, ("moe_num_experts", "num_experts")),
        "moe_intermediate_size",
        _first(f, ("moe_top_k", "num_experts_per_tok")),
    )
    return Experts(
        count=e.count,
        used=e.used,
        width=e.width,
        dense=_step_dense(f, layers),
        shared=f.integer("share_expert_dim"),
        bias=f.flag_or("use_moe_router_bias", default=False),
    )


def _step3(f: Fields) -> Conversion:
    """Without its draft layers."""
    inner = _step_inner(f)
    s = sizes(inner, need_head_dim=True)
    b = Build("step35", s)
    near = sliding_layers(inner, s.layers, None)
    heads, kv = _step_heads(f, near, s)
    e = _step_experts(f, s.layers)
    moe_keys(b, e)
    b.key("attention.sliding_window", f.integer("sliding_window"))
    b.key("attention.sliding_window_pattern", near)
    b.key("attention.head_count", heads)
    b.key("attention.head_count_kv", kv)
    gated = f.flag_or("use_head_wise_attn_gate", default=False)
    for i in range(s.layers):
        _attention(b, i, heads[i], kv[i], s.head_dim)
        b.head_norms(i)
        if gated:
            b.matrix(i, "attn_gate", s.hidden, heads[i])
        b.norm(i, "ffn_norm")
        feed_forward(b, i, e)
    return b.done(tied(f, False))


CONVERTERS: dict[str, Callable[[Fields], Conversion]] = {
    "mimo_v2": _mimo_v2,
    "mimo_v2_flash": _mimo_v2,
    "step3p5": _step3,
    "step3p7": _step3,
}
