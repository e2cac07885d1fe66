"""GLM-5.3: Kimi delta attention, latent attention with a pooled indexer, several streams."""

from collections.abc import Callable

from mathcore.convert.build import Build
from mathcore.convert.checks import layer_names
from mathcore.convert.conversion import Conversion
from mathcore.convert.latent.deepseek_v32 import indexer, own_indexer
from mathcore.convert.latent.hyper_connections import (
    hyper_decoder,
    hyper_feed_forward,
    stream_tensors,
)
from mathcore.convert.latent.mla import absorbed_attention, latent_of
from mathcore.convert.recurrent.kda import kda_mixer, kda_sizes
from mathcore.model.fields import Fields


def _linear(f: Fields, layers: int) -> list[bool]:
    names = layer_names(f, "layer_types", layers, ("linear_attention", "indexed_attention"))
    return [name == "linear_attention" for name in names]


def _pooled_indexer(b: Build, i: int, f: Fields, q_rank: int) -> None:
    """An indexer that pools its keys with a gate before it scores them."""
    size = f.integer("index_head_dim")
    indexer(b, i, f, q_rank)
    b.matrix(i, "indexer_compressor_gate", b.s.hidden, size)
    b.matrix(i, "indexer_compressor_ape", size, f.integer("index_kpool", 2))


def _glm5_next(f: Fields) -> Conversion:
    b, dense, streams = hyper_decoder(f, "glm5-next")
    if streams != 4:
        raise f.fault("hc_mult", "other than 4 is not supported yet")
    lat = latent_of(f, f.integer("q_lora_rank"), 0)
    size, kernel = kda_sizes(f)
    linear, own = _linear(f, b.s.layers), own_indexer(f, b.s.layers, default=True)
    b.key("attention.head_count_kv", [0 if here else 1 for here in linear])
    b.key("ssm.conv_kernel", kernel)
    b.key("kda.head_dim", size)
    b.key("attention.indexer.kpool", f.integer("index_kpool", 2))
    b.key("attention.indexer.types", own)
    b.key("hyper_connection.sinkhorn_iterations", f.integer("hc_sinkhorn_iters"))
    for i in range(b.s.layers):
        b.norm(i, "attn_norm")
        if linear[i]:
            kda_mixer(b, i, size, kernel)
        else:
            absorbed_attention(b, i, lat)
            if own[i]:
                _pooled_indexer(b, i, f, lat.q_rank)
        stream_tensors(b, i, streams, (2 + streams) * streams, 3)
        hyper_feed_forward(b, i, f, dense)
    return b.done(tied=False)


CONVERTERS: dict[str, Callable[[Fields], Conversion]] = {
    "glm5_next": _glm5_next,
    "glm5_next_text": _glm5_next,
}
