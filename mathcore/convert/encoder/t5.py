"""T5 and Flan-T5: an encoder, and a decoder that also attends to it."""

from collections.abc import Callable

from mathcore.convert.build import Build
from mathcore.convert.checks import tied
from mathcore.convert.conversion import Conversion, matrix, vector
from mathcore.convert.sizes import Sizes
from mathcore.model.fields import MAX_LAYERS, Fields

# The library's when a config names none: llama.cpp's converter takes it too.
_POSITIONS = 512
_ACTIVATIONS: tuple[str, ...] = ("relu", "gelu", "silu", "gelu_new")


def _sizes(f: Fields) -> Sizes:
    heads, size = f.integer("num_heads"), f.integer("d_kv")
    return Sizes(
        vocab=f.integer("vocab_size"),
        hidden=f.integer("d_model"),
        layers=f.integer("num_layers", 1, MAX_LAYERS),
        heads=heads,
        kv_heads=heads,
        head_dim=size,
        feed_forward=f.integer("d_ff"),
        context=f.integer_or("n_positions", _POSITIONS),
    )


def _gated(f: Fields) -> bool:
    """Whether the feed-forward has a gate: feed_forward_proj starts with "gated-" then."""
    if f.has("feed_forward_proj") or not f.has("is_gated_act"):
        words = f.text("feed_forward_proj").split("-")
        if len(words) > 2 or words[-1] not in _ACTIVATIONS or words[:-1] not in ([], ["gated"]):
            raise f.fault("feed_forward_proj", f"'{'-'.join(words)}' is not supported yet")
        return len(words) == 2
    return f.flag_or("is_gated_act", default=False)


def _attention(b: Build, place: str, i: int, name: str, table: int) -> None:
    """Norm, a table of distances (T5 has it in its first layer only) and four projections."""
    s = b.s
    at = f"{place}.blk.{i}."
    b.tensors.append(vector(f"{at}{name}_norm.weight", s.hidden, i))
    if table > 0:
        b.tensors.append(matrix(f"{at}{name}_rel_b.weight", s.heads, table, i))
    for letter in ("q", "k", "v"):
        b.tensors.append(matrix(f"{at}{name}_{letter}.weight", s.hidden, s.q, i))
    b.tensors.append(matrix(f"{at}{name}_o.weight", s.q, s.hidden, i))


def _feed(b: Build, place: str, i: int, *, gated: bool) -> None:
    s = b.s
    at = f"{place}.blk.{i}."
    b.tensors.append(vector(f"{at}ffn_norm.weight", s.hidden, i))
    for name in ("ffn_gate", "ffn_up") if gated else ("ffn_up",):
        b.tensors.append(matrix(f"{at}{name}.weight", s.hidden, s.feed_forward, i))
    b.tensors.append(matrix(f"{at}ffn_down.weight", s.feed_forward, s.hidden, i))


def _t5(f: Fields) -> Conversion:
    s = _sizes(f)
    decoder = f.integer_or("num_decoder_layers", s.layers, 1, MAX_LAYERS)
    if decoder != s.layers:
        raise f.fault("num_decoder_layers", "other than num_layers is not supported yet")
    buckets, gated = f.integer("relative_attention_num_buckets"), _gated(f)
    b = Build("t5", s)
    b.key("attention.relative_buckets_count", buckets)
    b.key("decoder_block_count", decoder)
    every = f.text("model_type") == "umt5"
    for i in range(s.layers):
        _attention(b, "enc", i, "attn", buckets if i == 0 or every else 0)
        _feed(b, "enc", i, gated=gated)
    for i in range(decoder):
        _attention(b, "dec", i, "attn", buckets if i == 0 or every else 0)
        _attention(b, "dec", i, "cross_attn", 0)
        _feed(b, "dec", i, gated=gated)
    for place in ("enc", "dec"):
        b.tensors.append(vector(f"{place}.output_norm.weight", s.hidden))
    if not tied(f, default=True):
        b.tensors.append(matrix("output.weight", s.hidden, s.vocab))
    return b.conversion()


CONVERTERS: dict[str, Callable[[Fields], Conversion]] = {"t5": _t5, "mt5": _t5, "umt5": _t5}
