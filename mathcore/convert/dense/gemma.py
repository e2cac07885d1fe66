"""Google's Gemma: tied embeddings, wide heads, and from the second generation sliding layers."""

from collections.abc import Callable

from mathcore.convert.build import Build
from mathcore.convert.checks import all_but_every, dense_only, sliding_layers
from mathcore.convert.conversion import Conversion, matrix, stacked, vector
from mathcore.convert.sizes import Sizes, sizes
from mathcore.model.fields import MAX_LAYERS, Fields
from mathcore.model.spec import Tensor


def _gemma(f: Fields) -> Conversion:
    dense_only(f)
    b = Build("gemma", sizes(f, need_kv=True, need_head_dim=True))
    for i in range(b.s.layers):
        b.norm(i, "attn_norm")
        b.attention(i)
        b.norm(i, "ffn_norm")
        b.gated_mlp(i)
    return b.done(tied=True)


def _sandwich(b: Build, i: int, *, head_norms: bool) -> None:
    """A norm before and after each half."""
    b.norm(i, "attn_norm")
    b.attention(i)
    if head_norms:
        b.head_norms(i)
    b.norm(i, "post_attention_norm")
    b.norm(i, "ffn_norm")
    b.gated_mlp(i)
    b.norm(i, "post_ffw_norm")


def _gemma2(f: Fields) -> Conversion:
    dense_only(f)
    b = Build("gemma2", sizes(f, need_kv=True, need_head_dim=True))
    b.key("attention.sliding_window", f.integer("sliding_window"))
    sliding = sliding_layers(f, b.s.layers, all_but_every(b.s.layers, 2))
    if sliding != all_but_every(b.s.layers, 2):
        raise f.fault("layer_types", "is not the alternation llama.cpp assumes")
    for i in range(b.s.layers):
        _sandwich(b, i, head_norms=False)
    return b.done(tied=True)


def _gemma3(f: Fields) -> Conversion:
    dense_only(f)
    b = Build("gemma3", sizes(f, need_kv=True, need_head_dim=True))
    period = f.integer_or("_sliding_window_pattern", 6)
    period = f.integer_or("sliding_window_pattern", period)
    sliding = sliding_layers(f, b.s.layers, all_but_every(b.s.layers, period))
    b.key("attention.sliding_window", f.integer("sliding_window"))
    b.key("attention.sliding_window_pattern", sliding)
    for i in range(b.s.layers):
        _sandwich(b, i, head_norms=True)
    return b.done(tied=True)


def _first_width(f: Fields, layers: int) -> int:
    """Gemma 3n lists one width per layer; they must agree, as llama.cpp's converter assumes."""
    if not isinstance(f.values.get("intermediate_size"), list):
        return f.integer("intermediate_size")
    widths = f.integers("intermediate_size", layers, 1)
    if min(widths) != max(widths):
        raise f.fault("intermediate_size", "differs between layers: not supported yet")
    return widths[0]


def _gemma3n(f: Fields) -> Conversion:
    layers = f.integer("num_hidden_layers", 1, MAX_LAYERS)
    inner = Fields({**f.values, "intermediate_size": _first_width(f, layers)}, f.prefix)
    b = Build("gemma3n", sizes(inner, need_kv=True, need_head_dim=True))
    inputs, side = f.integer("altup_num_inputs", 2, 16), f.integer("hidden_size_per_layer_input")
    if inputs != 4:
        raise f.fault("altup_num_inputs", f"{inputs} is not the 4 llama.cpp converts")
    if layers - f.integer("num_kv_shared_layers", 0, layers) != min(20, layers):
        raise f.fault("num_kv_shared_layers", "leaves other than the 20 layers llama.cpp caches")
    rank = f.integer("laurel_rank")
    b.key("attention.sliding_window", f.integer("sliding_window"))
    b.key("attention.sliding_window_pattern", sliding_layers(f, layers, all_but_every(layers, 5)))
    b.key("altup.num_inputs", inputs)
    b.key("embedding_length_per_layer_input", side)
    _gemma3n_top(b, inputs, side)
    for i in range(layers):
        _sandwich(b, i, head_norms=True)
        _gemma3n_extras(b, i, inputs, side, rank)
    return b.done(tied=True)


def _gemma3n_top(b: Build, inputs: int, side: int) -> None:
    hidden = b.s.hidden
    for name in ("altup_proj", "altup_unembd_proj"):
        b.tensors.append(_deep(f"{name}.weight", hidden, hidden, inputs - 1))
    _per_layer_top(b, side)


def _deep(name: str, columns: int, rows: int, deep: int) -> Tensor:
    """A tensor of three dimensions, `deep` matrices that are no experts."""
    return Tensor(name=name, columns=columns, rows=rows * deep, dims=3, planes=deep)


def _per_layer_top(b: Build, side: int) -> None:
    """The embedding that each layer adds."""
    wide = side * b.s.layers
    b.tensors.append(matrix("per_layer_token_embd.weight", wide, b.s.vocab))
    b.tensors.append(matrix("per_layer_model_proj.weight", b.s.hidden, wide))
    b.top("per_layer_proj_norm.weight", side)


def _per_layer(b: Build, i: int, side: int) -> None:
    b.matrix(i, "inp_gate", b.s.hidden, side)
    b.matrix(i, "proj", side, b.s.hidden)
    b.norm(i, "post_norm")


def _gemma3n_extras(b: Build, i: int, inputs: int, side: int, rank: int) -> None:
    """Alternating updates and the low-rank path around a layer."""
    hidden = b.s.hidden
    _per_layer(b, i, side)
    b.matrix(i, "altup_correct_coef", inputs, inputs)
    b.norm(i, "altup_correct_scale")
    b.matrix(i, "altup_predict_coef", inputs, inputs * inputs)
    b.matrix(i, "altup_router", hidden, inputs)
    b.norm(i, "altup_router_norm")
    b.matrix(i, "laurel_l", hidden, rank)
    b.matrix(i, "laurel_r", rank, hidden)
    b.norm(i, "laurel_post_norm")


def _gemma4_sizes(f: Fields) -> Sizes:
    """`head_dim` and `kv_heads` are those of sliding layers; full layers have others."""
    s = sizes(f, need_kv=True, need_head_dim=True)
    if s.heads % f.integer_or("num_global_key_value_heads", s.kv_heads) != 0:
        raise f.fault("num_global_key_value_heads", f"does not divide {s.heads} heads")
    return s


def _gemma4_keys(b: Build, f: Fields, sliding: list[bool], shared: int) -> None:
    s = b.s
    wide, kv = f.integer("global_head_dim"), f.integer_or("num_global_key_value_heads", s.kv_heads)
    b.key("attention.sliding_window", f.integer("sliding_window"))
    b.key("attention.sliding_window_pattern", sliding)
    b.key("attention.shared_kv_layers", shared)
    b.key("attention.key_length", wide)
    b.key("attention.value_length", wide)
    b.key("attention.key_length_swa", s.head_dim)
    b.key("attention.value_length_swa", s.head_dim)
    b.key("rope.dimension_count", wide)
    b.key("rope.dimension_count_swa", s.head_dim)
    b.key("attention.head_count_kv", [s.kv_heads if here else kv for here in sliding])
    b.key("embedding_length_per_layer_input", f.integer_or("hidden_size_per_layer_input", 0, 0))
    b.top("rope_freqs.weight", wide // 2)


def _gemma4_attention(b: Build, f: Fields, i: int, *, sliding: bool, own: bool) -> None:
    """Full layers may use K as V; layers without a cache of their own have neither."""
    s = b.s
    head = s.head_dim if sliding else f.integer("global_head_dim")
    kv = s.kv_heads if sliding else f.integer_or("num_global_key_value_heads", s.kv_heads)
    b.matrix(i, "attn_q", s.hidden, s.heads * head)
    b.matrix(i, "attn_output", s.heads * head, s.hidden)
    b.norm(i, "attn_q_norm", size=head)
    if own:
        b.matrix(i, "attn_k", s.hidden, kv * head)
        b.norm(i, "attn_k_norm", size=head)
        if sliding or not f.flag_or("attention_k_eq_v", default=False):
            b.matrix(i, "attn_v", s.hidden, kv * head)


def _gemma4_experts(b: Build, i: int, count: int, width: int) -> None:
    """A router and experts beside the dense feed-forward; gate and up in one tensor."""
    hidden = b.s.hidden
    b.matrix(i, "ffn_gate_inp", hidden, count)
    b.vector(i, "ffn_gate_inp.scale", hidden)
    for name in ("pre_ffw_norm_2", "post_ffw_norm_1", "post_ffw_norm_2"):
        b.norm(i, name)
    b.tensors.append(stacked(f"blk.{i}.ffn_gate_up_exps.weight", hidden, 2 * width, count, i))
    b.tensors.append(stacked(f"blk.{i}.ffn_down_exps.weight", width, hidden, count, i))
    b.tensors.append(vector(f"blk.{i}.ffn_down_exps.scale", count, i))


def _gemma4_widths(f: Fields, layers: int, own: int) -> list[int]:
    """Layers that share a cache are twice as wide in the small models."""
    wide = f.integer("intermediate_size")
    twice = f.flag_or("use_double_wide_mlp", default=False)
    return [2 * wide if twice and i >= own else wide for i in range(layers)]


def _gemma4_counts(b: Build, f: Fields) -> tuple[int, int]:
    """How many experts and how wide; (0, 0) for the dense models."""
    if not f.flag_or("enable_moe_block", default=False):
        return 0, 0
    count = f.integer("num_experts", 2)
    old = "expert_intermediate_size"
    width = f.integer(old if f.has(old) else "moe_intermediate_size")
    b.moe_keys(count, f.integer("top_k_experts", 1, count), width)
    return count, width


def _gemma4_layer(b: Build, f: Fields, i: int, *, sliding: bool, own: bool, wide: int) -> None:
    b.norm(i, "attn_norm")
    _gemma4_attention(b, f, i, sliding=sliding, own=own)
    b.norm(i, "post_attention_norm")
    b.norm(i, "ffn_norm")
    b.gated_mlp(i, wide)
    b.norm(i, "post_ffw_norm")
    b.vector(i, "layer_output_scale.weight", 1)


def _gemma4(f: Fields) -> Conversion:
    b = Build("gemma4", _gemma4_sizes(f))
    layers = b.s.layers
    sliding = sliding_layers(f, layers, None)
    own = layers - f.integer("num_kv_shared_layers", 0, layers)
    widths = _gemma4_widths(f, layers, own)
    _gemma4_keys(b, f, sliding, layers - own)
    b.key("feed_forward_length", widths)
    count, width = _gemma4_counts(b, f)
    side = f.integer_or("hidden_size_per_layer_input", 0, 0)
    if side > 0:
        _per_layer_top(b, side)
    for i in range(layers):
        _gemma4_layer(b, f, i, sliding=sliding[i], own=i < own, wide=widths[i])
        if count > 0:
            _gemma4_experts(b, i, count, width)
        if side > 0:
            _per_layer(b, i, side)
    return b.done(tied=True)


CONVERTERS: dict[str, Callable[[Fields], Conversion]] = {
    "gemma": _gemma,
    "gemma2": _gemma2,
    "gemma3_text": _gemma3,
    "gemma3n_text": _gemma3n,
    "gemma4_text": _gemma4,
    "gemma4_unified_text": _gemma4,
}
