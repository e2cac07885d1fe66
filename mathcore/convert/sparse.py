"""Attention that an indexer makes sparse: DeepSeek V3.2, GLM-5 and MiniMax-M3."""

from collections.abc import Callable

from mathcore.convert.conversion import Conversion
from mathcore.convert.deepseek import moe_keys, moe_layer
from mathcore.convert.mla import (
    absorbed_attention,
    absorbed_keys,
    draft_keys,
    draft_tensors,
    gating,
    latent_decoder,
    latent_of,
    leading_dense,
    refuse_bias,
)
from mathcore.convert.parts import Build, experts_used, sizes, tied
from mathcore.model.fields import Fields


def indexer(b: Build, i: int, f: Fields, q_rank: int) -> None:
    """Keys of the hidden state, queries of Q's latent, a weight per index head."""
    heads, size = f.integer("index_n_heads"), f.integer("index_head_dim")
    b.norm(i, "indexer.k_norm", bias=True, size=size)
    b.matrix(i, "indexer.proj", b.s.hidden, heads)
    b.matrix(i, "indexer.attn_k", b.s.hidden, size)
    b.matrix(i, "indexer.attn_q_b", q_rank, heads * size)


def index_keys(b: Build, f: Fields) -> None:
    b.key("attention.indexer.head_count", f.integer("index_n_heads"))
    b.key("attention.indexer.key_length", f.integer("index_head_dim"))
    b.key("attention.indexer.top_k", f.integer("index_topk"))


def _index_types(b: Build, f: Fields) -> None:
    """Which layers run their own indexer; the others still hold tensors for one."""
    if not f.has("indexer_types"):
        return
    names = f.texts("indexer_types", b.s.layers)
    for name in names:
        if name not in ("full", "shared"):
            raise f.fault("indexer_types", f"'{name}' is not supported yet")
    b.key("attention.indexer.types", [name == "full" for name in names])


def _decoder(f: Fields, arch: str, draft: int) -> Conversion:
    refuse_bias(f)
    lat = latent_of(f, f.integer("q_lora_rank"))
    b = Build(arch, latent_decoder(f, lat, f.integer("intermediate_size")))
    absorbed_keys(b, lat)
    draft_keys(b, draft)
    index_keys(b, f)
    gating(b, f, "sigmoid")
    if arch == "glm-dsa":
        _index_types(b, f)
    dense = leading_dense(f, b.s.layers)
    moe_keys(b, f, dense)
    for i in range(b.s.layers + draft):
        b.norm(i, "attn_norm")
        absorbed_attention(b, i, lat)
        b.norm(i, "ffn_norm")
        indexer(b, i, f, lat.q_rank)
        if i < dense:
            b.gated(i)
        else:
            moe_layer(b, i, f, True)
        if i >= b.s.layers:
            draft_tensors(b, i)
    return b.done(tied(f, False))


def _drafts(f: Fields) -> int:
    return f.integer("num_nextn_predict_layers", 0, 8)


def _deepseek_v32(f: Fields) -> Conversion:
    return _decoder(f, "deepseek32", 0)


def _glm_dsa(f: Fields) -> Conversion:
    return _decoder(f, "glm-dsa", 0)


def _deepseek_v32_draft(f: Fields) -> Conversion:
    return _decoder(f, "deepseek32", _drafts(f))


def _glm_dsa_draft(f: Fields) -> Conversion:
    return _decoder(f, "glm-dsa", _drafts(f))


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
    """The leading layers with neither experts nor indexer; llama.cpp takes one for the other."""
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
            b.gated(i)
            continue
        b.experts(i, count, width)
        b.vector(i, "exp_probs_b.bias", count)
        b.shared(i, width * shared)
        _minimax_index(b, i, heads, size)
    if tied(f, False):
        raise f.fault("tie_word_embeddings", "true is not supported yet for minimax_m3")
    return b.done(False)


CONVERTERS: dict[str, Callable[[Fields], Conversion]] = {
    "deepseek_v32": _deepseek_v32,
    "glm_moe_dsa": _glm_dsa,
    "minimax_m3": _minimax_m3,
    "minimax_m3_text": _minimax_m3,
    "minimax_m3_vl": _minimax_m3,
    "minimax_m3_vl_text": _minimax_m3,
}
DRAFT_CONVERTERS: dict[str, Callable[[Fields], Conversion]] = {
    "deepseek_v32": _deepseek_v32_draft,
    "glm_moe_dsa": _glm_dsa_draft,
}
