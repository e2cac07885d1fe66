"""Apple's OpenELM: every layer has its own heads and width."""

from collections.abc import Callable

from mathcore.convert.build import Build
from mathcore.convert.conversion import Conversion
from mathcore.convert.sizes import Sizes
from mathcore.model.fields import MAX_LAYERS, Fields


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
    """`wide` rounded to a multiple of `step`, but never down by more than a tenth."""
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
        b.gated_mlp(i, widths[i])
    return b.done(tied=True)


CONVERTERS: dict[str, Callable[[Fields], Conversion]] = {
    "openelm": _openelm,
}
