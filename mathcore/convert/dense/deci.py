"""Deci's and NVIDIA's pruned models: each block has its own KV heads and width, or none."""

from collections.abc import Callable

from mathcore.convert.build import Build
from mathcore.convert.checks import tied
from mathcore.convert.conversion import Conversion
from mathcore.convert.rope import add_llama3
from mathcore.convert.sizes import sizes
from mathcore.model.fields import MAX_LAYERS, Fields

_STEP = 256  # widths are rounded up to this


def _blocks(f: Fields, layers: int) -> list[Fields]:
    found = f.values.get("block_configs")
    if not isinstance(found, list) or len(found) != layers:
        raise f.fault("block_configs", f"is not a list of {layers} blocks")
    out: list[Fields] = []
    for i, block in enumerate(found):
        if not isinstance(block, dict):
            raise f.fault("block_configs", f"entry {i} is not an object")
        values: dict[str, object] = {}
        for key, value in block.items():
            values[str(key)] = value
        out.append(Fields(values, f"{f.prefix}block_configs[{i}]."))
    return out


def _heads(block: Fields, heads: int) -> tuple[int, int]:
    """Query and KV heads; (heads, 0) = a linear layer, (0, 0) = no attention."""
    attention = block.nested("attention")
    if attention.has("window_length"):
        raise attention.fault("window_length", "is no model llama.cpp loads")
    if attention.has("n_heads_in_group"):
        return heads, heads // attention.integer("n_heads_in_group", 1, heads)
    if attention.flag_or("replace_with_linear", default=False):
        return heads, 0
    if not attention.flag_or("no_op", default=False):
        raise attention.fault("n_heads_in_group", "is missing")
    return 0, 0


def _width(block: Fields, hidden: int) -> int:
    """2/3 of `ffn_mult` times the hidden size, rounded up; 0 = the block has no feed-forward."""
    wide = block.nested("ffn")
    if wide.flag_or("replace_with_linear", default=False):
        raise wide.fault("replace_with_linear", "true is no model llama.cpp loads")
    if wide.flag_or("no_op", default=False):
        return 0
    return -(-int(2 * wide.number("ffn_mult") * hidden / 3) // _STEP) * _STEP


def _layer(b: Build, i: int, heads: int, kv: int, wide: int) -> None:
    s = b.s
    if heads > 0:
        b.norm(i, "attn_norm")
    if kv > 0:
        b.matrix(i, "attn_q", s.hidden, heads * s.head_dim)
        b.matrix(i, "attn_k", s.hidden, kv * s.head_dim)
        b.matrix(i, "attn_v", s.hidden, kv * s.head_dim)
        b.matrix(i, "attn_output", heads * s.head_dim, s.hidden)
    elif heads > 0:
        b.matrix(i, "attn_output", s.hidden, s.hidden)
    if wide > 0:
        b.norm(i, "ffn_norm")
        b.gated_mlp(i, wide)


def _decilm(f: Fields) -> Conversion:
    """DeciLM-7B: only the KV heads differ between layers."""
    layers = f.integer("num_hidden_layers", 1, MAX_LAYERS)
    kv = f.integers("num_key_value_heads_per_layer", layers, 1)
    b = Build("deci", sizes(Fields({**f.values, "num_key_value_heads": kv[0]}, f.prefix)))
    b.key("attention.head_count_kv", kv)
    for i in range(layers):
        if b.s.heads % kv[i] != 0:
            raise f.fault("num_key_value_heads_per_layer", f"{kv[i]} does not divide the heads")
        _layer(b, i, b.s.heads, kv[i], b.s.feed_forward)
    return b.done(tied=tied(f, default=False))


def _deci(f: Fields) -> Conversion:
    given = Fields({**f.values, "num_key_value_heads": None}, f.prefix)
    b = Build("deci", sizes(given, feed_forward=""))
    blocks = _blocks(f, b.s.layers)
    heads = [_heads(block, b.s.heads) for block in blocks]
    widths = [_width(block, b.s.hidden) for block in blocks]
    b.key("attention.head_count", [both[0] for both in heads])
    b.key("attention.head_count_kv", [both[1] for both in heads])
    b.key("feed_forward_length", widths)
    for i in range(b.s.layers):
        _layer(b, i, heads[i][0], heads[i][1], widths[i])
    add_llama3(b, f)
    return b.done(tied=tied(f, default=False))


CONVERTERS: dict[str, Callable[[Fields], Conversion]] = {
    "nemotron-nas": _deci,
    "deci": _decilm,
}
