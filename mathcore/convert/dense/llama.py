"""Dense decoders of the Llama shape: separate Q, K and V, one gated feed-forward, RMS norms.

A family is a row of `_SHAPES`, which says how its layer differs. A bias is given as the name of the
config field that turns it on, with the library's default.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import final

from mathcore.convert.build import Build
from mathcore.convert.checks import all_but_every, dense_only, sliding_layers, tied, window_ignored
from mathcore.convert.conversion import Conversion
from mathcore.convert.rope import add_llama3, add_long, add_sections
from mathcore.convert.sizes import sizes
from mathcore.model.fields import Fields


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """What a model_type's layer looks like. `norms`: before ("pre") or after ("post") each half."""

    arch: str
    need_kv: bool = False  # no default that follows from other fields
    need_head_dim: bool = False
    qkv_bias: str = ""  # "1" always, else the field that says
    qkv_default: bool = False
    out_bias: str = ""
    out_default: bool = False
    mlp_bias: str = ""
    norms: str = "pre"  # "none": the model has no norm at all
    head_norms: bool = False
    gate: bool = True
    llama3: bool = False  # writes rope frequencies
    window_flag: bool = False  # has use_sliding_window
    tied_default: bool = False


_SHAPES: dict[str, Shape] = {
    "llama": Shape(
        arch="llama",
        qkv_bias="attention_bias",
        out_bias="attention_bias",
        mlp_bias="mlp_bias",
        llama3=True,
    ),
    "mistral": Shape(arch="llama", need_kv=True, llama3=True),
    "ministral3": Shape(arch="mistral3", need_kv=True),
    "qwen2": Shape(arch="qwen2", need_kv=True, qkv_bias="1", window_flag=True),
    "qwen3": Shape(
        arch="qwen3",
        need_kv=True,
        need_head_dim=True,
        qkv_bias="attention_bias",
        out_bias="attention_bias",
        head_norms=True,
        window_flag=True,
    ),
    "mimo": Shape(
        arch="qwen2", need_kv=True, qkv_bias="attention_bias", qkv_default=True, window_flag=True
    ),
    "dots_ocr": Shape(
        arch="qwen2", need_kv=True, qkv_bias="attention_bias", qkv_default=True, window_flag=True
    ),
    "internlm": Shape(
        arch="llama", qkv_bias="bias", qkv_default=True, out_bias="bias", out_default=True
    ),
    "internlm2": Shape(arch="internlm2", qkv_bias="bias", out_bias="bias"),
    "internlm3": Shape(
        arch="llama",
        need_kv=True,
        need_head_dim=True,
        qkv_bias="qkv_bias",
        out_bias="bias",
        mlp_bias="bias",
    ),
    "baichuan": Shape(arch="baichuan"),
    "xverse": Shape(arch="xverse"),
    "smollm3": Shape(
        arch="smollm3",
        need_kv=True,
        qkv_bias="attention_bias",
        out_bias="attention_bias",
        mlp_bias="mlp_bias",
        window_flag=True,
        tied_default=True,
    ),
    "arcee": Shape(
        arch="arcee",
        gate=False,
        qkv_bias="attention_bias",
        out_bias="attention_bias",
        mlp_bias="mlp_bias",
        llama3=True,
    ),
    "granite": Shape(
        arch="granite", qkv_bias="attention_bias", out_bias="attention_bias", mlp_bias="mlp_bias"
    ),
    "hunyuan_v1_dense": Shape(
        arch="hunyuan-dense", qkv_bias="attention_bias", out_bias="attention_bias", head_norms=True
    ),
    "hunyuan_vl_text": Shape(
        arch="hunyuan_vl", qkv_bias="attention_bias", out_bias="attention_bias", head_norms=True
    ),
    "ernie4_5": Shape(
        arch="ernie4_5",
        need_kv=True,
        need_head_dim=True,
        qkv_bias="use_bias",
        out_bias="use_bias",
        mlp_bias="use_bias",
        tied_default=True,
    ),
    "PanguEmbedded": Shape(arch="pangu-embedded", qkv_bias="1", out_bias="1"),
    "apertus": Shape(
        arch="apertus",
        gate=False,
        head_norms=True,
        qkv_bias="attention_bias",
        out_bias="attention_bias",
        llama3=True,
    ),
    "exaone4": Shape(arch="exaone4", norms="post", head_norms=True, need_kv=True, llama3=True),
    "olmo": Shape(arch="olmo", norms="none", qkv_bias="attention_bias", out_bias="attention_bias"),
}


def _flag(f: Fields, field: str, *, default: bool) -> bool:
    if field in ("", "1"):
        return field == "1"
    return f.flag_or(field, default=default)


def _layers(b: Build, f: Fields, shape: Shape) -> None:
    bias = _flag(f, shape.qkv_bias, default=shape.qkv_default)
    out_bias = _flag(f, shape.out_bias, default=shape.out_default)
    mlp_bias = _flag(f, shape.mlp_bias, default=False)
    for i in range(b.s.layers):
        if shape.norms == "pre":
            b.norm(i, "attn_norm")
            b.norm(i, "ffn_norm")
        b.attention(i, bias=bias, out_bias=out_bias)
        if shape.head_norms:
            b.head_norms(i)
        if shape.gate:
            b.gated_mlp(i, bias=mlp_bias)
        else:
            b.mlp(i, bias=mlp_bias)
        if shape.norms == "post":
            b.norm(i, "post_attention_norm")
            b.norm(i, "post_ffw_norm")


def _shaped(f: Fields) -> Conversion:
    """Any family of `_SHAPES`."""
    shape = _SHAPES[f.text("model_type")]
    dense_only(f)
    if shape.window_flag:
        window_ignored(f)
    s = sizes(f, need_kv=shape.need_kv, need_head_dim=shape.need_head_dim, kv_lists=True)
    b = Build(shape.arch, s)
    _layers(b, f, shape)
    if shape.llama3:
        add_llama3(b, f)
    _extra_keys(b, f)
    return b.done(tied=tied(f, default=shape.tied_default), norm=shape.norms != "none")


def _extra_keys(b: Build, f: Fields) -> None:
    """Keys that the loader of one architecture wants beside the usual ones."""
    if b.arch == "apertus":
        for name in ("alpha_n", "alpha_p", "beta", "eps"):
            b.metadata["xielu." + name] = [1.0] * b.s.layers
    elif b.arch == "granite":
        b.key("logit_scale", 1.0)
    elif b.arch == "exaone4" and f.has("sliding_window"):
        b.key("attention.sliding_window", f.integer("sliding_window"))
        b.key("attention.sliding_window_pattern", _exaone_pattern(f, b.s.layers))


def _exaone_pattern(f: Fields, layers: int) -> list[bool]:
    """layer_types, else its pattern: "LLLG" repeated, or every nth layer full."""
    if f.has("layer_types"):
        return sliding_layers(f, layers, None)
    value = f.values.get("sliding_window_pattern")
    if isinstance(value, str) and value and not value.strip("LG"):
        return [value[i % len(value)] == "L" for i in range(layers)]
    return all_but_every(layers, f.integer("sliding_window_pattern"))


def _qwen2_vl(f: Fields) -> Conversion:
    dense_only(f)
    window_ignored(f)
    b = Build("qwen2vl", sizes(f, need_kv=True))
    for i in range(b.s.layers):
        b.norm(i, "attn_norm")
        b.attention(i, bias=True)
        b.norm(i, "ffn_norm")
        b.gated_mlp(i)
    add_sections(b, f)
    return b.done(tied=tied(f, default=False))


def _qwen3_vl(f: Fields) -> Conversion:
    dense_only(f)
    b = Build("qwen3vl", sizes(f, need_kv=True, need_head_dim=True))
    bias = f.flag_or("attention_bias", default=False)
    for i in range(b.s.layers):
        b.norm(i, "attn_norm")
        b.attention(i, bias=bias, out_bias=bias)
        b.head_norms(i)
        b.norm(i, "ffn_norm")
        b.gated_mlp(i)
    add_sections(b, f)
    return b.done(tied=tied(f, default=False))


def _olmo2(f: Fields) -> Conversion:
    dense_only(f)
    b = Build("olmo2", sizes(f))
    bias = f.flag_or("attention_bias", default=False)
    for i in range(b.s.layers):
        b.attention(i, bias=bias, out_bias=bias)
        b.norm(i, "post_attention_norm")
        b.head_norms(i, b.s.q, b.s.kv)
        b.gated_mlp(i)
        b.norm(i, "post_ffw_norm")
    if f.text("model_type") == "olmo3":
        b.key("attention.sliding_window", f.integer("sliding_window"))
        sliding = sliding_layers(f, b.s.layers, all_but_every(b.s.layers, 4))
        b.key("attention.sliding_window_pattern", sliding)
    return b.done(tied=tied(f, default=False))


def _seed_oss(f: Fields) -> Conversion:
    dense_only(f)
    b = Build("seed_oss", sizes(f, need_kv=True, need_head_dim=True))
    bias, out = (
        f.flag_or("attention_bias", default=True),
        f.flag_or("attention_out_bias", default=False),
    )
    for i in range(b.s.layers):
        b.norm(i, "attn_norm")
        b.attention(i, bias=bias, out_bias=out)
        b.norm(i, "post_attention_norm")
        b.gated_mlp(i, bias=f.flag_or("mlp_bias", default=False))
    return b.done(tied=tied(f, default=False))


def _plamo(f: Fields) -> Conversion:
    """One norm; every KV head serves `n_shared_head` query heads."""
    dense_only(f)
    heads = f.integer("num_attention_heads")
    shared = f.integer("n_shared_head", 1, heads)
    if heads % shared != 0:
        raise f.fault("n_shared_head", f"{shared} does not divide {heads} heads")
    b = Build(
        "plamo", sizes(Fields({**f.values, "num_key_value_heads": heads // shared}, f.prefix))
    )
    for i in range(b.s.layers):
        b.norm(i, "attn_norm")
        b.attention(i)
        b.gated_mlp(i)
    return b.done(tied=tied(f, default=False))


def _minicpm(f: Fields) -> Conversion:
    """Dense, or with experts in every layer."""
    b = Build("minicpm", sizes(f))
    count = f.integer("num_experts", 0) if f.has("num_experts_per_tok") else 0
    if count > 0:
        b.moe_keys(count, f.integer("num_experts_per_tok", 1, count), b.s.feed_forward)
    for i in range(b.s.layers):
        b.norm(i, "attn_norm")
        b.attention(i)
        b.norm(i, "ffn_norm")
        if count > 0:
            b.experts(i, count, b.s.feed_forward)
        else:
            b.gated_mlp(i)
    add_long(b, f, b.s.head_dim)
    return b.done(tied=tied(f, default=True))


CONVERTERS: dict[str, Callable[[Fields], Conversion]] = {
    "qwen2_5_omni_text": _qwen2_vl,
    "qwen2_vl": _qwen2_vl,
    "qwen2_vl_text": _qwen2_vl,
    "qwen2_5_vl": _qwen2_vl,
    "qwen2_5_vl_text": _qwen2_vl,
    "qwen3_vl_text": _qwen3_vl,
    "olmo2": _olmo2,
    "olmo3": _olmo2,
    "seed_oss": _seed_oss,
    "minicpm": _minicpm,
    "plamo": _plamo,
}
for _name in _SHAPES:
    CONVERTERS[_name] = _shaped
