"""Tencent's Hunyuan: versions 1 and 3 with experts, 4 with latent attention on several streams."""

from collections.abc import Callable

from mathcore.convert.build import Build
from mathcore.convert.checks import tied
from mathcore.convert.conversion import Conversion
from mathcore.convert.latent.deepseek_v32 import indexer, own_indexer
from mathcore.convert.latent.hyper_connections import (
    hyper_decoder,
    hyper_feed_forward,
    join_streams,
    stream_tensors,
)
from mathcore.convert.latent.mla import absorbed_attention, latent_of
from mathcore.convert.mixture import Experts, feed_forward, find_experts, moe_keys
from mathcore.convert.sizes import sizes
from mathcore.model.fields import Fields


def _hy_v4(f: Fields) -> Conversion:
    b, dense, streams = hyper_decoder(f, "hy_v4")
    lat = latent_of(f, f.integer("q_lora_rank"), 0)
    own = own_indexer(f, b.s.layers, default=False)
    if not own[0]:
        raise f.fault("indexer_types", "the first layer has no indexer to share")
    b.key("attention.indexer.types", own)
    b.key("hyper_connection.magnitude", f.number("hc_magnitude"))
    for i in range(b.s.layers):
        b.norm(i, "attn_norm")
        b.vector(i, "attn_sinks.weight", b.s.heads)
        absorbed_attention(b, i, lat)
        b.matrix(i, "attn_gate", b.s.hidden, b.s.heads * lat.value)
        if own[i]:
            indexer(b, i, f, lat.q_rank)
        stream_tensors(b, i, streams, 2 * streams, 2)
        hyper_feed_forward(b, i, f, dense)
    join_streams(b, streams)
    return b.done(tied=False)


def _same(f: Fields, field: str, layers: int) -> int:
    """One number, or a list that repeats it for every layer."""
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
        b.attention(i, bias=bias, out_bias=bias)
        b.head_norms(i)
        b.norm(i, "ffn_norm")
        feed_forward(b, i, e)
    return b.done(tied=tied(f, default=False))


def _hy_v3(f: Fields) -> Conversion:
    """Hunyuan 3, without its draft layers."""
    s = sizes(f, need_kv=True, need_head_dim=True)
    b = Build("hy_v3", s)
    e = find_experts(f, "num_experts", "moe_intermediate_size")
    e = Experts(
        count=e.count,
        used=e.used,
        width=e.width,
        sigmoid=True,
        shared=f.integer("num_shared_experts", 0) * e.width,
        dense=f.integer("first_k_dense_replace", 0, s.layers),
    )
    moe_keys(b, e)
    for i in range(s.layers):
        b.norm(i, "attn_norm")
        b.attention(i)
        b.head_norms(i)
        b.norm(i, "ffn_norm")
        feed_forward(b, i, e)
        if i >= e.dense:
            b.vector(i, "exp_probs_b", e.count)  # no ".bias" here
    return b.done(tied=tied(f, default=False))


CONVERTERS: dict[str, Callable[[Fields], Conversion]] = {
    "hy_v4": _hy_v4,
    "hunyuan_v1_moe": _hunyuan_moe,
    "hunyuan": _hunyuan_moe,
    "hy_v3": _hy_v3,
}
