"""MiniMax-Text-01 and M1: lightning attention among full, experts in every layer."""

from collections.abc import Callable

from mathcore.convert.conversion import Conversion
from mathcore.convert.parts import Build, experts_used, sizes, tied
from mathcore.model.fields import Fields

# The engine's loader takes every 8th layer for full attention; no key of its file says otherwise.
_EVERY = 8
_ALPHA = 1.0  # the loader wants one; no size depends on it


def _check_pattern(f: Fields, layers: int) -> None:
    """The config's own list, 1 = full attention."""
    kinds = f.integers("attn_type_list", layers, 0, 1)
    if kinds != [int((i + 1) % _EVERY == 0) for i in range(layers)]:
        raise f.fault("attn_type_list", f"is not full attention in every {_EVERY}th layer")


def _mixer(b: Build, i: int) -> None:
    s = b.s
    b.matrix(i, "attn_qkv", s.hidden, 3 * s.q)
    b.matrix(i, "attn_gate", s.hidden, s.q)
    b.norm(i, "attn_norm_2", size=s.q)
    b.matrix(i, "attn_output", s.q, s.hidden)


def _minimax(f: Fields) -> Conversion:
    s = sizes(f, need_kv=True, need_head_dim=True)
    if f.integer_or("shared_intermediate_size", 0, 0) > 0:
        raise f.fault("shared_intermediate_size", "above 0 is not supported yet")
    _check_pattern(f, s.layers)
    b = Build("minimax-01", s, f.integer("rotary_dim"))
    count = f.integer("num_local_experts")
    b.key("expert_count", count)
    b.key("expert_used_count", experts_used(f, "num_experts_per_tok", count))
    alpha = "layernorm_full_attention_alpha"
    b.key("residual_scale", f.number(alpha) if f.has(alpha) else _ALPHA)
    for i in range(s.layers):
        b.norm(i, "attn_norm")
        if (i + 1) % _EVERY == 0:
            b.attention(i)
        else:
            _mixer(b, i)
        b.norm(i, "ffn_norm")
        b.experts(i, count, s.feed_forward)
    return b.done(tied(f, False))


CONVERTERS: dict[str, Callable[[Fields], Conversion]] = {
    "minimax_text_01": _minimax,
    "minimax_m1": _minimax,
}
