"""Tencent's Hunyuan: versions 1 and 3 with experts, 4 with latent attention on several streams."""

from collections.abc import Callable

from mathcore.convert.conversion import Conversion, matrix, vector
from mathcore.convert.latent.deepseek_v32 import indexer
from mathcore.convert.latent.hyper_connections import (
    hyper_decoder,
    hyper_feed_forward,
    own_indexer,
    stream_tensors,
)
from mathcore.convert.latent.mla import absorbed_attention, latent_of
from mathcore.model.fields import Fields


def _hy_v4(f: Fields) -> Conversion:
    b, dense, streams = hyper_decoder(f, "hy_v4")
    lat = latent_of(f, f.whole("q_lora_rank"), 0)
    own = own_indexer(f, b.s.layers, False)
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
    b.tensors.append(matrix("output_hc_fn.weight", streams * b.s.hidden, streams))
    b.tensors.append(vector("output_hc_base.weight", streams))
    b.tensors.append(vector("output_hc_scale.weight", 1))
    return b.done(False)


CONVERTERS: dict[str, Callable[[Fields], Conversion]] = {
    "hy_v4": _hy_v4,
}
