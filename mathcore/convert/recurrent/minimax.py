"""MiniMax: Text-01 and M1 with lightning attention, M2 with plain, M3 with sparse attention."""

from collections.abc import Callable

from mathcore.convert.build import Build
from mathcore.convert.checks import tied
from mathcore.convert.conversion import Conversion
from mathcore.convert.mixture import (
    GATING,
    experts_used,
    find_experts,
    gating,
    leading_dense,
    moe_keys,
)
from mathcore.convert.sizes import sizes
from mathcore.model.fields import Fields

# The engine's loader takes every 8th layer for full attention; no key of its file says otherwise.
_EVERY = 8
_ALPHA = 1.0  # the loader wants one; no size depends on it


def _check_pattern(f: Fields, layers: int) -> None:
    """The config lists each layer, 1 = full attention."""
    kinds = f.integers("attn_type_list", layers, 0, 1)
    if kinds != [int((i + 1) % _EVERY == 0) for i in range(layers)]:
        raise f.fault("attn_type_list", f"is not full attention in every {_EVERY}th layer")


def _mixer(b: Build, i: int) -> None:
    s = b.s
    b.matrix(i, "attn_qkv", s.hidden, 3 * s.q)
    b.matrix(i, "attn_gate", s.hidden, s.q)
    b.norm(i, "attn_norm_2", size=s.q)
    b.matrix(i, "attn_output", s.q, s.hidden)


def _minimax_01(f: Fields) -> Conversion:
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
    return b.done(tied=tied(f, default=False))


def _minimax_m2(f: Fields) -> Conversion:
    s = sizes(f, need_kv=True, need_head_dim=True)
    b = Build("minimax-m2", s, f.integer_or("rotary_dim", s.head_dim, 1, s.head_dim))
    e = find_experts(f, "num_local_experts", "intermediate_size")
    moe_keys(b, e)
    b.key("expert_gating_func", GATING["sigmoid"])
    for i in range(s.layers):
        b.norm(i, "attn_norm")
        b.attention(i)
        b.head_norms(i, s.q, s.kv)
        b.norm(i, "ffn_norm")
        b.experts(i, e.count, e.width)
        b.vector(i, "exp_probs_b.bias", e.count)
    return b.done(tied=tied(f, default=False))


# Index heads, their size, blocks chosen, tokens of a block, blocks always read.
_RELEASED: tuple[str, ...] = (
    "sparse_num_index_heads",
    "sparse_index_dim",
    "sparse_topk_blocks",
    "sparse_block_size",
    "sparse_local_block",
)


_NEWER: tuple[str, ...] = (
    "index_n_heads",
    "index_head_dim",
    "index_topk_blocks",
    "index_block_size",
    "index_local_blocks",
)


def _minimax_index(b: Build, i: int, heads: int, size: int) -> None:
    b.matrix(i, "indexer.q_proj", b.s.hidden, heads * size)
    b.matrix(i, "indexer.k_proj", b.s.hidden, size)
    b.norm(i, "indexer.q_norm", size=size)
    b.norm(i, "indexer.k_norm", size=size)


def _minimax_dense(f: Fields, layers: int) -> int:
    """How many layers at the start have neither experts nor indexer: one count in llama.cpp."""
    if not f.has("moe_layer_freq") and f.has("mlp_layer_types"):
        return leading_dense(f, layers)
    kinds = f.integers("moe_layer_freq", layers, 0, 1)
    dense = kinds.index(1) if 1 in kinds else layers
    if 0 in kinds[dense:]:
        raise f.fault("moe_layer_freq", "has a dense layer after one with experts")
    sparse = f.nested("sparse_attention_config")
    if sparse.integers("sparse_attention_freq", layers, 0, 1) != kinds:
        raise sparse.fault("sparse_attention_freq", "differs from moe_layer_freq")
    return dense


def _minimax_shared(f: Fields, width: int) -> int:
    """How many shared experts: counted, or as the width of all of them."""
    if f.has("n_shared_experts") or not f.has("shared_intermediate_size"):
        return f.integer("n_shared_experts")
    wide = f.integer("shared_intermediate_size")
    if wide % width != 0:
        raise f.fault("shared_intermediate_size", f"{wide} is no multiple of {width}")
    return wide // width


def _minimax_indexer(b: Build, f: Fields) -> tuple[int, int]:
    """Index heads and their size, under the names of the release or of transformers 5."""
    if f.has("sparse_attention_config"):
        sparse = f.nested("sparse_attention_config")
        names = _RELEASED
    else:
        sparse, names = f, _NEWER
    heads, size = sparse.integer(names[0]), sparse.integer(names[1])
    b.key("attention.indexer.head_count", heads)
    b.key("attention.indexer.key_length", size)
    b.key("attention.indexer.top_k", sparse.integer(names[2]))
    b.key("attention.indexer.block_size", sparse.integer(names[3]))
    b.key("attention.indexer.local_blocks", sparse.integer(names[4], 0))
    return heads, size


def _minimax_m3(f: Fields) -> Conversion:
    s = sizes(f, need_kv=True, need_head_dim=True, feed_forward="dense_intermediate_size")
    b = Build("minimax-m3", s, f.integer("rotary_dim"))
    dense = _minimax_dense(f, s.layers)
    heads, size = _minimax_indexer(b, f)
    count, width = f.integer("num_local_experts"), f.integer("intermediate_size")
    shared = _minimax_shared(f, width)
    b.moe_keys(count, experts_used(f, "num_experts_per_tok", count), width)
    b.key("expert_shared_count", shared)
    b.key("leading_dense_block_count", dense)
    gating(b, f, "sigmoid")
    for i in range(s.layers):
        b.norm(i, "attn_norm")
        b.attention(i)
        b.head_norms(i)
        b.norm(i, "ffn_norm")
        if i < dense:
            b.gated_mlp(i)
            continue
        b.experts(i, count, width)
        b.vector(i, "exp_probs_b.bias", count)
        b.shared(i, width * shared)
        _minimax_index(b, i, heads, size)
    if tied(f, default=False):
        raise f.fault("tie_word_embeddings", "true is not supported yet for minimax_m3")
    return b.done(tied=False)


CONVERTERS: dict[str, Callable[[Fields], Conversion]] = {
    "minimax_text_01": _minimax_01,
    "minimax_m1": _minimax_01,
    "minimax_m2": _minimax_m2,
    "minimax_m3": _minimax_m3,
    "minimax_m3_text": _minimax_m3,
    "minimax_m3_vl": _minimax_m3,
    "minimax_m3_vl_text": _minimax_m3,
}
