"""Google's Gemma: tied embeddings, wide heads, and from the second generation sliding layers."""

from collections.abc import Callable

from mathcore.convert.conversion import Conversion
from mathcore.convert.parts import Build, dense_only, every, sizes, sliding_layers
from mathcore.fields import Fields


def _gemma(f: Fields) -> Conversion:
    dense_only(f)
    b = Build("gemma", sizes(f, need_kv=True, need_head_dim=True))
    for i in range(b.s.layers):
        b.norm(i, "attn_norm")
        b.attention(i)
        b.norm(i, "ffn_norm")
        b.gated(i)
    return b.done(True)


def _sandwich(b: Build, i: int, head_norms: bool) -> None:
    """A norm before and after each half."""
    b.norm(i, "attn_norm")
    b.attention(i)
    if head_norms:
        b.head_norms(i)
    b.norm(i, "post_attention_norm")
    b.norm(i, "ffn_norm")
    b.gated(i)
    b.norm(i, "post_ffw_norm")


def _gemma2(f: Fields) -> Conversion:
    dense_only(f)
    b = Build("gemma2", sizes(f, need_kv=True, need_head_dim=True))
    b.key("attention.sliding_window", f.whole("sliding_window"))
    near = sliding_layers(f, b.s.layers, every(b.s.layers, 2))
    if near != every(b.s.layers, 2):
        raise f.fault("layer_types", "is not the alternation llama.cpp assumes")
    for i in range(b.s.layers):
        _sandwich(b, i, False)
    return b.done(True)


def _gemma3(f: Fields) -> Conversion:
    dense_only(f)
    b = Build("gemma3", sizes(f, need_kv=True, need_head_dim=True))
    b.key("attention.sliding_window", f.whole("sliding_window"))
    period = f.whole_or("sliding_window_pattern", 6)
    near = sliding_layers(f, b.s.layers, every(b.s.layers, period))
    b.key("attention.sliding_window_pattern", near)
    for i in range(b.s.layers):
        _sandwich(b, i, True)
    return b.done(True)


CONVERTERS: dict[str, Callable[[Fields], Conversion]] = {
    "gemma": _gemma,
    "gemma2": _gemma2,
    "gemma3_text": _gemma3,
}
