"""Decoders whose layers differ: by list, by period, or by what a search over blocks left."""

from collections.abc import Callable

from mathcore.convert.conversion import Conversion
from mathcore.convert.moe import Experts, feed_forward, find_experts, moe_keys
from mathcore.convert.parts import Build, Sizes, every, head_size, sizes, sliding_layers, tied
from mathcore.convert.rope import add_llama3
from mathcore.model.fields import MAX_LAYERS, Fields


def _llama4_sparse(f: Fields, layers: int) -> list[bool]:
    """Which layers have experts: each `interleave_moe_layer_step`-th."""
    step = f.integer("interleave_moe_layer_step", 1, layers)
    out = [(i + 1) % step == 0 for i in range(layers)]
    if isinstance(f.values.get("moe_layers"), list):
        listed = f.integers("moe_layers", sum(out), 0, layers)
        if listed != [i for i in range(layers) if out[i]]:
            raise f.fault("moe_layers", "is not the interleaving llama.cpp assumes")
    return out


def _llama4_window(b: Build, f: Fields) -> None:
    """llama.cpp always chunks three layers of four, by 8192, unless no layer is chunked."""
    layers = b.s.layers
    if f.has("layer_types"):
        kinds = f.texts("layer_types", layers)
        if all(kind == "full_attention" for kind in kinds):
            b.key("attention.sliding_window", 0)
            return
    if f.integer("attention_chunk_size") != 8192:
        raise f.fault("attention_chunk_size", "is not the 8192 llama.cpp assumes")


def _llama4(f: Fields) -> Conversion:
    s = sizes(f, need_kv=True, feed_forward="intermediate_size_mlp")
    b = Build("llama4", s)
    sparse = _llama4_sparse(f, s.layers)
    e = find_experts(f, "num_local_experts", "intermediate_size")
    b.moe_keys(e.count, e.used, e.width)
    b.key("interleave_moe_layer_step", f.integer("interleave_moe_layer_step"))
    _llama4_window(b, f)
    bias = f.flag_or("attention_bias", default=False)
    for i in range(s.layers):
        b.norm(i, "attn_norm")
        b.attention(i, bias, bias)
        b.norm(i, "ffn_norm")
        if sparse[i]:
            b.experts(i, e.count, e.width)
            b.shared(i, e.width)
        else:
            b.gated(i)
    add_llama3(b, f)
    return b.done(tied(f, False))


def _same(f: Fields, field: str, layers: int) -> int:
    """One number, or a list with the same one for every layer."""
    if not isinstance(f.values.get(field), list):
        return f.integer(field)
    found = f.integers(field, layers, 1)
    if min(found) != max(found):
        raise f.fault(field, "differs between layers: no model llama.cpp loads")
    return found[0]


def _hunyuan_moe(f: Fields) -> Conversion:
    if f.flag_or("use_cla", default=False):
        raise f.fault("use_cla", "true (layers that share a cache) is not supported yet")
    s = sizes(f, need_kv=True)
    b = Build("hunyuan-moe", s)
    count = _same(f, "num_experts", s.layers)
    if _same(f, "moe_intermediate_size", s.layers) != s.feed_forward:
        raise f.fault("moe_intermediate_size", "other than intermediate_size is not loaded")
    if _same(f, "num_shared_expert", s.layers) != 1:
        raise f.fault("num_shared_expert", "other than 1 is no model llama.cpp loads")
    e = Experts(
        count=count,
        used=min(_same(f, "moe_topk", s.layers), count),
        width=s.feed_forward,
        shared=s.feed_forward,
    )
    moe_keys(b, e)
    bias = f.flag_or("attention_bias", default=False)
    for i in range(s.layers):
        b.norm(i, "attn_norm")
        b.attention(i, bias, bias)
        b.head_norms(i)
        b.norm(i, "ffn_norm")
        feed_forward(b, i, e)
    return b.done(tied(f, False))


def _ernie_moe(f: Fields) -> Conversion:
    s = sizes(f, need_kv=True)
    b = Build("ernie4_5-moe", s)
    if f.integer_or("moe_layer_interval", 1) != 1:
        raise f.fault("moe_layer_interval", "other than 1 is not supported yet")
    e = find_experts(f, "moe_num_experts", "moe_intermediate_size", "moe_k")
    e = Experts(
        count=e.count,
        used=e.used,
        width=e.width,
        shared=f.integer_or("moe_num_shared_experts", 0, 0) * e.width,
        dense=f.integer("moe_layer_start_index", 0, s.layers),
        bias=f.flag_or("moe_use_aux_free", default=True),
    )
    moe_keys(b, e)
    b.key("interleave_moe_layer_step", 1)
    bias = f.flag_or("use_bias", default=False)
    for i in range(s.layers):
        b.norm(i, "attn_norm")
        b.attention(i, bias, bias)
        b.norm(i, "ffn_norm")
        feed_forward(b, i, e)
    return b.done(tied(f, True))


def _dense_start(f: Fields, layers: int) -> int:
    """Layers without experts at the start; transformers 5 lists kinds instead of counting."""
    if f.has("first_k_dense_replace") or not f.has("mlp_layer_types"):
        return f.integer("first_k_dense_replace", 0, layers)
    kinds = f.texts("mlp_layer_types", layers)
    dense = kinds.index("sparse") if "sparse" in kinds else layers
    if kinds != ["dense"] * dense + ["sparse"] * (layers - dense):
        raise f.fault("mlp_layer_types", "has dense layers after sparse ones")
    return dense


def _exaone_moe(f: Fields) -> Conversion:
    s = sizes(f, need_kv=True)
    b = Build("exaone-moe", s)
    e = find_experts(f, "num_experts", "moe_intermediate_size")
    shared = f.integer("num_shared_experts", 1) * e.width
    e = Experts(
        count=e.count,
        used=e.used,
        width=e.width,
        shared=shared,
        dense=_dense_start(f, s.layers),
        bias=True,
    )
    moe_keys(b, e)
    b.key("expert_gating_func", 2)
    b.key("attention.sliding_window", f.integer("sliding_window"))
    near = sliding_layers(f, s.layers, every(s.layers, 4))
    b.key("attention.sliding_window_pattern", near)
    for i in range(s.layers):
        b.norm(i, "attn_norm")
        b.attention(i)
        b.head_norms(i)
        b.norm(i, "ffn_norm")
        feed_forward(b, i, e)
    return b.done(tied(f, False))


def _afmoe(f: Fields) -> Conversion:
    s = sizes(f, need_kv=True, need_head_dim=True)
    b = Build("afmoe", s)
    e = find_experts(f, "num_experts", "moe_intermediate_size")
    e = Experts(
        count=e.count,
        used=e.used,
        width=e.width,
        shared=f.integer("num_shared_experts", 0) * e.width,
        dense=f.integer("num_dense_layers", 0, s.layers),
        bias=True,
    )
    moe_keys(b, e)
    b.key("expert_shared_count", f.integer("num_shared_experts", 0))
    period = f.integer_or("global_attn_every_n_layers", 4)
    b.key("attention.sliding_window", f.integer("sliding_window"))
    near = sliding_layers(f, s.layers, every(s.layers, period))
    b.key("attention.sliding_window_pattern", near)
    for i in range(s.layers):
        b.norm(i, "attn_norm")
        b.attention(i)
        b.head_norms(i)
        b.matrix(i, "attn_gate", s.hidden, s.q)
        b.norm(i, "post_attention_norm")
        b.norm(i, "ffn_norm")
        feed_forward(b, i, e)
        b.norm(i, "post_ffw_norm")
    return b.done(tied(f, False))


def _smallthinker(f: Fields) -> Conversion:
    s = sizes(f, need_kv=True, need_head_dim=True, feed_forward="moe_ffn_hidden_size")
    b = Build("smallthinker", s)
    used = "moe_num_active_primary_experts"
    e = find_experts(f, "moe_num_primary_experts", "moe_ffn_hidden_size", used)
    moe_keys(b, e)
    b.key("expert_gating_func", 2)
    layout = f.integers("sliding_window_layout", s.layers, 0, 1)
    if 1 in layout:
        if layout != [0 if i % 4 == 0 else 1 for i in range(s.layers)]:
            raise f.fault("sliding_window_layout", "is not the one llama.cpp assumes")
        b.key("attention.sliding_window", f.integer("sliding_window_size"))
    for i in range(s.layers):
        b.norm(i, "attn_norm")
        b.attention(i)
        b.norm(i, "ffn_norm")
        feed_forward(b, i, e)
    return b.done(tied(f, False))


def _dbrx(f: Fields) -> Conversion:
    attention, wide = f.nested("attn_config"), f.nested("ffn_config")
    hidden, heads = f.integer("d_model"), f.integer("n_heads")
    s = Sizes(
        vocab=f.integer("vocab_size"),
        hidden=hidden,
        layers=f.integer("n_layers", 1, MAX_LAYERS),
        heads=heads,
        kv_heads=attention.integer("kv_n_heads", 1, heads),
        head_dim=head_size(f, hidden, heads, "n_heads"),
        feed_forward=wide.integer("ffn_hidden_size"),
        context=f.integer_or("max_seq_len", 0),
    )
    b = Build("dbrx", s)
    e = find_experts(wide, "moe_num_experts", "ffn_hidden_size", "moe_top_k")
    moe_keys(b, e)
    b.key("attention.clamp_kqv", 8.0)
    for i in range(s.layers):
        b.norm(i, "attn_norm")
        b.fused_attention(i)
        b.norm(i, "attn_output_norm")
        feed_forward(b, i, e)
    return b.done(tied(f, False))


def _arctic(f: Fields) -> Conversion:
    """A dense feed-forward as wide as the model beside the experts."""
    if f.integer_or("moe_layer_frequency", 1) != 1:
        raise f.fault("moe_layer_frequency", "other than 1 is no model llama.cpp loads")
    b = Build("arctic", sizes(f, need_kv=True))
    e = find_experts(f, "num_local_experts", "intermediate_size")
    moe_keys(b, e)
    for i in range(b.s.layers):
        b.norm(i, "attn_norm")
        b.attention(i)
        b.norm(i, "ffn_norm")
        b.gated(i, b.s.hidden)
        b.norm(i, "ffn_norm_exps")
        feed_forward(b, i, e)
    return b.done(tied(f, False))


CONVERTERS: dict[str, Callable[[Fields], Conversion]] = {
    "llama4": _llama4,
    "llama4_text": _llama4,
    "hunyuan_v1_moe": _hunyuan_moe,
    "hunyuan": _hunyuan_moe,
    "ernie4_5_moe": _ernie_moe,
    "exaone_moe": _exaone_moe,
    "afmoe": _afmoe,
    "smallthinker": _smallthinker,
    "dbrx": _dbrx,
    "arctic": _arctic,
}
