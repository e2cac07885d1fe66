"""Dense decoders of other shapes: fused projections, norms with bias, parallel blocks."""

from collections.abc import Callable

from mathcore.convert.build import Build
from mathcore.convert.checks import dense_only, tied
from mathcore.convert.conversion import Conversion
from mathcore.convert.rope import add_long, rotary_dim_of
from mathcore.convert.sizes import Sizes, head_size, legacy_sizes, sizes
from mathcore.model.fields import MAX_LAYERS, Fields


def _phi3(f: Fields) -> Conversion:
    dense_only(f)
    s = sizes(f)
    rotary_dim = rotary_dim_of(f, s.head_dim, 1.0)
    b = Build("phi3", s, rotary_dim)
    for i in range(s.layers):
        b.norm(i, "attn_norm")
        b.fused_attention(i)
        b.norm(i, "ffn_norm")
        b.fused_gated_mlp(i)
    add_long(b, f, rotary_dim)
    return b.done(tied=tied(f, default=False))


def _phi_layers(b: Build) -> Conversion:
    for i in range(b.s.layers):
        b.norm(i, "attn_norm", bias=True)
        b.attention(i, bias=True, out_bias=True)
        b.mlp(i, bias=True)
    return b.done(tied=False, norm_bias=True, bias=True)


def _phi(f: Fields) -> Conversion:
    dense_only(f)
    s = sizes(f)
    return _phi_layers(Build("phi2", s, rotary_dim_of(f, s.head_dim, 0.5)))


def _phi_msft(f: Fields) -> Conversion:
    """Phi-1 and 2 under the names of their first release."""
    heads = f.integer("n_head")
    wide = f.integer_or("n_inner", 4 * f.integer("n_embd"))
    s = legacy_sizes(f, wide, f.integer_or("n_head_kv", heads), "n_positions")
    return _phi_layers(Build("phi2", s, f.integer_or("rotary_dim", 32)))


def _starcoder2(f: Fields) -> Conversion:
    dense_only(f)
    if not f.flag_or("use_bias", default=True):
        raise f.fault("use_bias", "false is not supported")
    b = Build("starcoder2", sizes(f, need_kv=True))
    for i in range(b.s.layers):
        b.norm(i, "attn_norm", bias=True)
        b.attention(i, bias=True, out_bias=True)
        b.norm(i, "ffn_norm", bias=True)
        b.mlp(i, bias=True)
    return b.done(tied=tied(f, default=True), norm_bias=True)


def _stablelm(f: Fields) -> Conversion:
    dense_only(f)
    s = sizes(f, need_kv=True)
    b = Build("stablelm", s, rotary_dim_of(f, s.head_dim, 0.25))
    b.key("use_parallel_residual", f.flag_or("use_parallel_residual", default=False))
    parallel = f.flag_or("use_parallel_residual", default=False)
    for i in range(s.layers):
        b.norm(i, "attn_norm", bias=True)
        b.attention(i, bias=f.flag_or("use_qkv_bias", default=False))
        if f.flag_or("qk_layernorm", default=False):
            b.matrix(i, "attn_q_norm", s.head_dim, s.heads)
            b.matrix(i, "attn_k_norm", s.head_dim, s.kv_heads)
        if not parallel:
            b.norm(i, "ffn_norm", bias=True)
        b.gated_mlp(i)
    return b.done(tied=tied(f, default=False), norm_bias=True)


def _orion(f: Fields) -> Conversion:
    dense_only(f)
    b = Build("orion", sizes(f))
    for i in range(b.s.layers):
        b.norm(i, "attn_norm", bias=True)
        b.attention(i)
        b.norm(i, "ffn_norm", bias=True)
        b.gated_mlp(i)
    return b.done(tied=tied(f, default=False), norm_bias=True)


def _nemotron(f: Fields) -> Conversion:
    dense_only(f)
    s = sizes(f)
    b = Build("nemotron", s, rotary_dim_of(f, s.head_dim, 0.5))
    bias, wide = f.flag_or("attention_bias", default=False), f.flag_or("mlp_bias", default=False)
    for i in range(s.layers):
        b.norm(i, "attn_norm", bias=True)
        b.attention(i, bias=bias, out_bias=bias)
        b.norm(i, "ffn_norm", bias=True)
        b.mlp(i, bias=wide)
    return b.done(tied=tied(f, default=False), norm_bias=True)


def _falcon_kv(f: Fields, heads: int) -> int:
    if f.flag_or("new_decoder_architecture", default=False):
        return f.integer("num_kv_heads", 1, heads)
    return 1 if f.flag_or("multi_query", default=True) else heads


def _falcon(f: Fields) -> Conversion:
    dense_only(f)
    hidden, heads = f.integer("hidden_size"), f.integer("num_attention_heads")
    new = f.flag_or("new_decoder_architecture", default=False)
    if not new and not f.flag_or("parallel_attn", default=True):
        raise f.fault("parallel_attn", "false is no model llama.cpp loads")
    s = Sizes(
        vocab=f.integer("vocab_size"),
        hidden=hidden,
        layers=f.integer("num_hidden_layers", 1, MAX_LAYERS),
        heads=heads,
        kv_heads=_falcon_kv(f, heads),
        head_dim=head_size(f, hidden, heads),
        feed_forward=f.integer_or("ffn_hidden_size", 4 * hidden),
        context=f.integer_or("max_position_embeddings", 2048),
    )
    b = Build("falcon", s)
    two = new and f.integer_or("num_ln_in_parallel_attn", 2) == 2
    for i in range(s.layers):
        b.norm(i, "attn_norm", bias=True)
        if two:
            b.norm(i, "attn_norm_2", bias=True)
        b.fused_attention(i)
        b.mlp(i)
    # Published files carry both tables even where the library ties them.
    return b.done(tied=tied(f, default=False), norm_bias=True)


CONVERTERS: dict[str, Callable[[Fields], Conversion]] = {
    "phi3": _phi3,
    "phi3_v": _phi3,
    "phi4mm": _phi3,
    "phi": _phi,
    "phi-msft": _phi_msft,
    "starcoder2": _starcoder2,
    "stablelm": _stablelm,
    "stablelm_epoch": _stablelm,
    "orion": _orion,
    "nemotron": _nemotron,
    "falcon": _falcon,
}
