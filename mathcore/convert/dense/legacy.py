"""GPT-2 and its kin: learned positions or ALiBi, biases everywhere, fused projections."""

from collections.abc import Callable

from mathcore.convert.build import Build
from mathcore.convert.checks import dense_only, tied
from mathcore.convert.conversion import Conversion, matrix
from mathcore.convert.rope import rotary_dim_of
from mathcore.convert.sizes import Sizes, head_size, kv_heads_of, legacy_sizes, sizes
from mathcore.model.fields import MAX_LAYERS, Fields

_REFACT_STEP = 256  # its widths are rounded up to this


def _add_positions(b: Build) -> None:
    b.tensors.append(matrix("position_embd.weight", b.s.hidden, b.s.context))


def _gpt2_layers(b: Build, *, norm_bias: bool = True, bias: bool = True) -> None:
    for i in range(b.s.layers):
        b.norm(i, "attn_norm", bias=norm_bias)
        b.fused_attention(i, bias=bias, out_bias=bias)
        b.norm(i, "ffn_norm", bias=norm_bias)
        b.mlp(i, bias=bias)


def _gpt2(f: Fields) -> Conversion:
    f.integer("n_positions")
    heads = f.integer("n_head")
    s = legacy_sizes(f, f.integer_or("n_inner", 4 * f.integer("n_embd")), heads, "n_positions")
    b = Build("gpt2", s)
    _add_positions(b)
    _gpt2_layers(b)
    # A silent config counts as untied: llama.cpp keeps an output layer of its own there.
    return b.done(tied=tied(f, default=False), norm_bias=True)


def _gpt_bigcode(f: Fields) -> Conversion:
    f.integer("n_positions")
    kv = 1 if f.flag_or("multi_query", default=True) else f.integer("n_head")
    s = legacy_sizes(f, f.integer_or("n_inner", 4 * f.integer("n_embd")), kv, "n_positions")
    b = Build("starcoder", s)
    _add_positions(b)
    _gpt2_layers(b)
    return b.done(tied=tied(f, default=False), norm_bias=True)


def _gptj(f: Fields) -> Conversion:
    """llama.cpp names this architecture but does not load it; other engines do."""
    heads = f.integer("n_head")
    s = legacy_sizes(f, f.integer_or("n_inner", 4 * f.integer("n_embd")), heads, "n_positions")
    b = Build("gptj", s, f.integer_or("rotary_dim", 64))
    for i in range(s.layers):
        b.norm(i, "attn_norm", bias=True)
        b.attention(i)
        b.mlp(i, bias=True)
    return b.done(tied=tied(f, default=False), norm_bias=True, bias=True)


def _gpt_neox(f: Fields) -> Conversion:
    dense_only(f)
    s = sizes(f)
    b = Build("gptneox", s, rotary_dim_of(f, s.head_dim, 0.25, "rotary_pct"))
    b.key("use_parallel_residual", f.flag_or("use_parallel_residual", default=True))
    if not f.flag_or("attention_bias", default=True):
        raise f.fault("attention_bias", "false is not supported")
    _gpt2_layers(b)
    return b.done(tied=tied(f, default=False), norm_bias=True)


def _bloom(f: Fields) -> Conversion:
    hidden = f.integer("hidden_size") if f.has("hidden_size") else f.integer("n_embed")
    layers = "num_hidden_layers" if f.has("num_hidden_layers") else "n_layer"
    head_field = "num_attention_heads" if f.has("num_attention_heads") else "n_head"
    heads = f.integer(head_field)
    s = Sizes(
        vocab=f.integer("vocab_size"),
        hidden=hidden,
        layers=f.integer(layers, 1, MAX_LAYERS),
        heads=heads,
        kv_heads=heads,
        head_dim=head_size(f, hidden, heads, head_field),
        feed_forward=4 * hidden,
        context=f.integer_or("seq_length", 0),
    )
    b = Build("bloom", s)
    b.embedding_norm()
    _gpt2_layers(b)
    return b.done(tied=tied(f, default=True), norm_bias=True)


def _mpt(f: Fields) -> Conversion:
    hidden, heads = f.integer("d_model"), f.integer("n_heads")
    attention = f.nested("attn_config") if f.has("attn_config") else Fields({}, "attn_config.")
    if attention.flag_or("qk_ln", default=False):
        raise attention.fault("qk_ln", "true is not supported yet")
    s = Sizes(
        vocab=f.integer("vocab_size"),
        hidden=hidden,
        layers=f.integer("n_layers", 1, MAX_LAYERS),
        heads=heads,
        kv_heads=attention.integer_or("kv_n_heads", heads),
        head_dim=head_size(f, hidden, heads, "n_heads"),
        feed_forward=f.integer_or("expansion_ratio", 4) * hidden,
        context=f.integer("max_seq_len"),
    )
    b = Build("mpt", s)
    if not attention.flag_or("alibi", default=True):
        _add_positions(b)
    bias = not f.flag_or("no_bias", default=True)
    _gpt2_layers(b, norm_bias=bias, bias=bias)
    return b.done(tied=tied(f, default=True), norm_bias=bias)


def _qwen(f: Fields) -> Conversion:
    """The first Qwen: its intermediate_size counts gate and up together."""
    hidden, heads = f.integer("hidden_size"), f.integer("num_attention_heads")
    kv = kv_heads_of(f, heads, required=False)
    s = Sizes(
        vocab=f.integer("vocab_size"),
        hidden=hidden,
        layers=f.integer("num_hidden_layers", 1, MAX_LAYERS),
        heads=heads,
        kv_heads=kv,
        head_dim=head_size(f, hidden, heads),
        feed_forward=f.integer("intermediate_size") // 2,
        context=f.integer_or("seq_length", 0),
    )
    b = Build("qwen", s)
    b.key("feed_forward_length", 2 * s.feed_forward)
    for i in range(s.layers):
        b.norm(i, "attn_norm")
        b.fused_attention(i)
        b.vector(i, "attn_qkv.bias", 3 * hidden)
        b.norm(i, "ffn_norm")
        b.gated_mlp(i)
    return b.done(tied=tied(f, default=False))


def _jais(f: Fields) -> Conversion:
    f.integer("n_positions")
    s = legacy_sizes(f, f.integer("n_inner"), f.integer("n_head"), "n_positions")
    b = Build("jais", s)
    for i in range(s.layers):
        b.norm(i, "attn_norm", bias=True)
        b.fused_attention(i, bias=True, out_bias=True)
        b.norm(i, "ffn_norm", bias=True)
        b.gated_mlp(i, bias=True)
    return b.done(tied=False, norm_bias=True)


def _refact(f: Fields) -> Conversion:
    """Two thirds of four times the hidden size, rounded up."""
    f.integer("n_positions")
    wide = -(-int(2 * 4 * f.integer("n_embd") / 3) // _REFACT_STEP) * _REFACT_STEP
    b = Build("refact", legacy_sizes(f, wide, 1, "n_positions"))
    for i in range(b.s.layers):
        b.norm(i, "attn_norm")
        b.attention(i)
        b.norm(i, "ffn_norm")
        b.gated_mlp(i)
    return b.done(tied=tied(f, default=False))


def _codeshell(f: Fields) -> Conversion:
    f.integer("n_positions")
    kv = f.integer("num_query_groups", 1, f.integer("n_head"))
    b = Build("codeshell", legacy_sizes(f, 4 * f.integer("n_embd"), kv, "n_positions"))
    for i in range(b.s.layers):
        b.norm(i, "attn_norm", bias=True)
        b.attention(i, bias=True, out_bias=True)
        b.norm(i, "ffn_norm", bias=True)
        b.mlp(i, bias=True)
    return b.done(tied=False, norm_bias=True)


def _jais2(f: Fields) -> Conversion:
    b = Build("jais2", sizes(f))
    for i in range(b.s.layers):
        b.norm(i, "attn_norm", bias=True)
        b.attention(i, bias=f.flag_or("attention_bias", default=True), out_bias=True)
        b.norm(i, "ffn_norm", bias=True)
        b.mlp(i, bias=True)
    return b.done(tied=tied(f, default=False), norm_bias=True)


CONVERTERS: dict[str, Callable[[Fields], Conversion]] = {
    "gpt2": _gpt2,
    "gptj": _gptj,
    "gpt_bigcode": _gpt_bigcode,
    "gpt_neox": _gpt_neox,
    "bloom": _bloom,
    "mpt": _mpt,
    "qwen": _qwen,
    "jais": _jais,
    "gpt_refact": _refact,
    "codeshell": _codeshell,
    "jais2": _jais2,
}
