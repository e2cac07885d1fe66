"""Poolside's Laguna: gated attention, and query heads that differ between layers."""

from collections.abc import Callable

from mathcore.convert.build import Build
from mathcore.convert.checks import tied
from mathcore.convert.conversion import Conversion
from mathcore.convert.mixture import (
    Experts,
    attention_of_heads,
    feed_forward,
    find_experts,
    moe_keys,
    window_keys,
)
from mathcore.convert.sizes import sizes
from mathcore.model.fields import Fields


def _gates(f: Fields, layers: int) -> list[bool]:
    """Which layers gate each number of attention's output; the others gate each head."""
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


def _experts(f: Fields, layers: int) -> Experts:
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


def _layer(b: Build, i: int, heads: int, *, wide: bool) -> None:
    """Attention with one output gate for each head, or for each number when `wide`."""
    s = b.s
    attention_of_heads(b, i, heads, s.kv_heads, s.head_dim)
    b.head_norms(i)
    b.matrix(i, "attn_gate", s.hidden, heads * s.head_dim if wide else heads)
    b.norm(i, "ffn_norm")


def _laguna(f: Fields) -> Conversion:
    """Gated attention; the number of query heads may differ between layers."""
    s = sizes(f, need_kv=True, need_head_dim=True)
    b = Build("laguna", s)
    heads = [s.heads] * s.layers
    if f.has("num_attention_heads_per_layer"):
        heads = f.integers("num_attention_heads_per_layer", s.layers, 1)
    e = _experts(f, s.layers)
    moe_keys(b, e)
    b.key("attention.head_count", heads)
    window_keys(b, f)
    wide = _gates(f, s.layers)
    for i in range(s.layers):
        _layer(b, i, heads[i], wide=wide[i])
        feed_forward(b, i, e)
    return b.done(tied=tied(f, default=False))


CONVERTERS: dict[str, Callable[[Fields], Conversion]] = {
    "laguna": _laguna,
}
