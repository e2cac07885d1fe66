"""DeepSeek V3.2 and GLM-5: latent attention that an indexer makes sparse."""

from collections.abc import Callable

from mathcore.convert.build import Build
from mathcore.convert.checks import tied
from mathcore.convert.conversion import Conversion
from mathcore.convert.latent.deepseek import mixture_keys, moe_layer
from mathcore.convert.latent.mla import (
    absorbed_attention,
    absorbed_keys,
    latent_decoder,
    latent_of,
    refuse_bias,
)
from mathcore.convert.mixture import gating, leading_dense
from mathcore.model.fields import Fields


def indexer(b: Build, i: int, f: Fields, q_rank: int) -> None:
    """Keys from the hidden state, queries from Q's latent, a weight for each index head."""
    heads, size = f.integer("index_n_heads"), f.integer("index_head_dim")
    b.norm(i, "indexer.k_norm", bias=True, size=size)
    b.matrix(i, "indexer.proj", b.s.hidden, heads)
    b.matrix(i, "indexer.attn_k", b.s.hidden, size)
    b.matrix(i, "indexer.attn_q_b", q_rank, heads * size)


def index_keys(b: Build, f: Fields) -> None:
    b.key("attention.indexer.head_count", f.integer("index_n_heads"))
    b.key("attention.indexer.key_length", f.integer("index_head_dim"))
    b.key("attention.indexer.top_k", f.integer("index_topk"))


def own_indexer(f: Fields, layers: int, *, default: bool) -> list[bool]:
    """Which layers run an indexer of their own."""
    if not f.has("indexer_types") and default:
        return [True] * layers
    names = f.texts("indexer_types", layers)
    for name in names:
        if name not in ("full", "shared"):
            raise f.fault("indexer_types", f"'{name}' is not supported yet")
    return [name == "full" for name in names]


def _decoder(f: Fields, arch: str, draft: int) -> Conversion:
    refuse_bias(f)
    lat = latent_of(f, f.integer("q_lora_rank"))
    b = Build(arch, latent_decoder(f, lat, f.integer("intermediate_size")))
    absorbed_keys(b, lat)
    b.draft_keys(draft)
    index_keys(b, f)
    gating(b, f, "sigmoid")
    if arch == "glm-dsa" and f.has("indexer_types"):
        # Layers without an indexer of their own still hold tensors for one.
        b.key("attention.indexer.types", own_indexer(f, b.s.layers, default=True))
    dense = leading_dense(f, b.s.layers)
    mixture_keys(b, f, dense)
    for i in range(b.s.layers + draft):
        b.norm(i, "attn_norm")
        absorbed_attention(b, i, lat)
        b.norm(i, "ffn_norm")
        indexer(b, i, f, lat.q_rank)
        if i < dense:
            b.gated_mlp(i)
        else:
            moe_layer(b, i, f, bias=True)
        if i >= b.s.layers:
            b.draft_tensors(i)
    return b.done(tied=tied(f, default=False))


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


CONVERTERS: dict[str, Callable[[Fields], Conversion]] = {
    "deepseek_v32": _deepseek_v32,
    "glm_moe_dsa": _glm_dsa,
}
DRAFT_CONVERTERS: dict[str, Callable[[Fields], Conversion]] = {
    "deepseek_v32": _deepseek_v32_draft,
    "glm_moe_dsa": _glm_dsa_draft,
}
