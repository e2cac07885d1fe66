"""Zhipu's GLM: partial rope, gate and up in one tensor."""

from collections.abc import Callable

from mathcore.convert.build import Build
from mathcore.convert.checks import dense_only, tied
from mathcore.convert.conversion import Conversion
from mathcore.convert.rope import rotary_dim_of
from mathcore.convert.sizes import Sizes, sizes
from mathcore.model.fields import MAX_LAYERS, Fields


def _chatglm(f: Fields) -> Conversion:
    """ChatGLM 2 to 4, whose configs have field names of their own."""
    hidden, heads = f.integer("hidden_size"), f.integer("num_attention_heads")
    grouped = f.flag_or("multi_query_attention", default=False)
    s = Sizes(
        vocab=f.integer("padded_vocab_size"),
        hidden=hidden,
        layers=f.integer("num_layers", 1, MAX_LAYERS),
        heads=heads,
        kv_heads=f.integer("multi_query_group_num", 1, heads) if grouped else heads,
        head_dim=f.integer("kv_channels"),
        feed_forward=f.integer("ffn_hidden_size"),
        context=f.integer_or("seq_length", 0),
    )
    b = Build("chatglm", s, s.head_dim // 2)
    bias = f.flag_or("add_qkv_bias", default=False) or f.flag_or("add_bias_linear", default=False)
    for i in range(s.layers):
        b.norm(i, "attn_norm")
        b.fused_attention(i, bias=bias)
        b.norm(i, "ffn_norm")
        b.fused_gated_mlp(i)
    return b.done(tied=tied(f, default=False))


def _glm_sizes(f: Fields) -> tuple[Sizes, int]:
    # The vision models' text class has no head size of its own.
    s = sizes(f, need_kv=True, need_head_dim=f.text("model_type") != "glm4v_text")
    return s, rotary_dim_of(f, s.head_dim, 0.5)


def _layers(b: Build, f: Fields, *, post_norms: bool) -> None:
    bias = f.flag_or("attention_bias", default=True)
    for i in range(b.s.layers):
        b.norm(i, "attn_norm")
        b.attention(i, bias=bias)
        if post_norms:
            b.norm(i, "post_attention_norm")
        b.norm(i, "ffn_norm")
        b.fused_gated_mlp(i)
        if post_norms:
            b.norm(i, "post_ffw_norm")


def _decoder(f: Fields, arch: str, *, post_norms: bool) -> Conversion:
    """GLM 4 and its vision models' text; GLM 4-0414 adds a norm after each half of a layer."""
    dense_only(f)
    s, rotary_dim = _glm_sizes(f)
    b = Build(arch, s, rotary_dim)
    _layers(b, f, post_norms=post_norms)
    return b.done(tied=tied(f, default=False))


def _glm(f: Fields) -> Conversion:
    return _decoder(f, "chatglm", post_norms=False)


def _glm4(f: Fields) -> Conversion:
    return _decoder(f, "glm4", post_norms=True)


CONVERTERS: dict[str, Callable[[Fields], Conversion]] = {
    "chatglm": _chatglm,
    "glm": _glm,
    "glm4": _glm4,
    "glm4v_text": _glm4,
}
