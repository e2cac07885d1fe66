"""StepFun's Step 3.5: its sliding layers have other heads than its full ones."""

from collections.abc import Callable

from mathcore.convert.build import Build
from mathcore.convert.checks import sliding_layers, tied
from mathcore.convert.conversion import Conversion
from mathcore.convert.mixture import (
    Experts,
    attention_of_heads,
    feed_forward,
    find_experts,
    moe_keys,
)
from mathcore.convert.sizes import Sizes, sizes
from mathcore.model.fields import MAX_LAYERS, Fields


def _heads(f: Fields, sliding: list[bool], s: Sizes) -> tuple[list[int], list[int]]:
    """Query and KV heads per layer: sliding ones may have their own."""
    other = f.nested("attention_other_setting") if f.has("attention_other_setting") else f
    heads = other.integer("num_attention_heads")
    kv_field = "num_attention_groups" if f.has("num_attention_groups") else "num_key_value_heads"
    kv = other.integer_or(kv_field, s.kv_heads)
    return [heads if here else s.heads for here in sliding], [
        kv if here else s.kv_heads for here in sliding
    ]


def _dense(f: Fields, layers: int) -> int:
    """How many layers stand before the first with experts."""
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
    """The first of `names` that the config has; names[0] when it has none."""
    for name in names:
        if f.has(name):
            return name
    return names[0]


def _inner(f: Fields) -> Fields:
    """The config with KV heads under their usual name and without the kinds of draft layers."""
    values = dict(f.values)
    kv = _first(f, ("num_attention_groups", "num_key_value_heads"))
    values["num_key_value_heads"] = f.integer(kv)
    layers = f.integer("num_hidden_layers", 1, MAX_LAYERS)
    kinds = values.get("layer_types")
    if isinstance(kinds, list):
        values["layer_types"] = kinds[:layers]
    return Fields(values, f.prefix)


def _experts(f: Fields, layers: int) -> Experts:
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
        dense=_dense(f, layers),
        shared=f.integer("share_expert_dim"),
        bias=f.flag_or("use_moe_router_bias", default=False),
    )


def _step3(f: Fields) -> Conversion:
    """Without its draft layers."""
    inner = _inner(f)
    s = sizes(inner, need_head_dim=True)
    b = Build("step35", s)
    sliding = sliding_layers(inner, s.layers, None)
    heads, kv = _heads(f, sliding, s)
    e = _experts(f, s.layers)
    moe_keys(b, e)
    b.key("attention.sliding_window", f.integer("sliding_window"))
    b.key("attention.sliding_window_pattern", sliding)
    b.key("attention.head_count", heads)
    b.key("attention.head_count_kv", kv)
    gated = f.flag_or("use_head_wise_attn_gate", default=False)
    for i in range(s.layers):
        attention_of_heads(b, i, heads[i], kv[i], s.head_dim)
        b.head_norms(i)
        if gated:
            b.matrix(i, "attn_gate", s.hidden, heads[i])
        b.norm(i, "ffn_norm")
        feed_forward(b, i, e)
    return b.done(tied=tied(f, default=False))


CONVERTERS: dict[str, Callable[[Fields], Conversion]] = {
    "step3p5": _step3,
    "step3p7": _step3,
}
