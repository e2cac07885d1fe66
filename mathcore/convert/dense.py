"""Dense decoders of the Llama shape: one gated feed-forward and full attention in every layer."""

from collections.abc import Callable

from mathcore.convert.conversion import Conversion
from mathcore.convert.parts import Build, dense_only, every, no_window, sizes, sliding_layers, tied
from mathcore.convert.rope import add_llama3, add_long, rotated
from mathcore.fields import Fields


def _llama(f: Fields) -> Conversion:
    dense_only(f)
    b = Build("llama", sizes(f, need_kv=f.text("model_type") == "mistral"))
    bias, wide_bias = f.flag_or("attention_bias", False), f.flag_or("mlp_bias", False)
    for i in range(b.s.layers):
        b.norm(i, "attn_norm")
        b.attention(i, bias, bias)
        b.norm(i, "ffn_norm")
        b.gated(i, bias=wide_bias)
    add_llama3(b, f)
    return b.done(tied(f, False))


def _qwen2(f: Fields) -> Conversion:
    dense_only(f)
    no_window(f)
    b = Build("qwen2", sizes(f, need_kv=True))
    for i in range(b.s.layers):
        b.norm(i, "attn_norm")
        b.attention(i, bias=True)
        b.norm(i, "ffn_norm")
        b.gated(i)
    return b.done(tied(f, False))


def _qwen3(f: Fields) -> Conversion:
    dense_only(f)
    no_window(f)
    b = Build("qwen3", sizes(f, need_kv=True, need_head_dim=True))
    bias = f.flag_or("attention_bias", False)
    for i in range(b.s.layers):
        b.norm(i, "attn_norm")
        b.attention(i, bias, bias)
        b.head_norms(i)
        b.norm(i, "ffn_norm")
        b.gated(i)
    return b.done(tied(f, False))


def _phi3(f: Fields) -> Conversion:
    dense_only(f)
    s = sizes(f)
    turned = rotated(f, s.head_dim, 1.0)
    b = Build("phi3", s, turned)
    for i in range(s.layers):
        b.norm(i, "attn_norm")
        b.fused_attention(i)
        b.norm(i, "ffn_norm")
        b.fused_gated(i)
    add_long(b, f, turned)
    return b.done(tied(f, False))


def _olmo2(f: Fields) -> Conversion:
    dense_only(f)
    b = Build("olmo2", sizes(f))
    bias = f.flag_or("attention_bias", False)
    for i in range(b.s.layers):
        b.attention(i, bias, bias)
        b.norm(i, "post_attention_norm")
        b.head_norms(i, b.s.q, b.s.kv)
        b.gated(i)
        b.norm(i, "post_ffw_norm")
    if f.has("sliding_window"):
        b.key("attention.sliding_window", f.whole("sliding_window"))
        near = sliding_layers(f, b.s.layers, every(b.s.layers, 4))
        b.key("attention.sliding_window_pattern", near)
    return b.done(tied(f, False))


CONVERTERS: dict[str, Callable[[Fields], Conversion]] = {
    "llama": _llama,
    "mistral": _llama,
    "qwen2": _qwen2,
    "qwen3": _qwen3,
    "phi3": _phi3,
    "olmo2": _olmo2,
}
