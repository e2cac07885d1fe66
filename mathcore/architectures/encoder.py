"""Layers of encoders, which keep nothing, and of decoders that attend to one.

Mirrors which architectures llama.cpp's `create_memory` (src/llama-model.cpp) gives a cache.
"""

from mathcore.architectures.hparams import Hparams
from mathcore.architectures.parts import Reader, build, uncached
from mathcore.model.spec import Layer


def _none(h: Hparams) -> tuple[Layer, ...]:
    """Embedding models: one pass, no cache."""
    return tuple([uncached(h, i) for i in range(h.count)])


def _decoder_width(h: Hparams, i: int) -> int:
    tensor = h.tensors.get(f"dec.blk.{i}.ffn_down.weight")
    return 0 if tensor is None else tensor.columns


def _t5(h: Hparams) -> tuple[Layer, ...]:
    """The decoder's layers; K and V of the encoder's output are computed anew, not cached."""
    if h.fields.integer_or("decoder_block_count", h.count) != h.count:
        raise h.fields.fault("decoder_block_count", "other than block_count is not supported yet")
    out: list[Layer] = []
    for i in range(h.count):
        k, v = h.kv_heads[i] * h.k_dim, h.kv_heads[i] * h.v_dim
        out.append(
            Layer(
                kind="full",
                heads=h.heads[i],
                kv_heads=h.kv_heads[i],
                head_dim=h.k_dim,
                v_head_dim=h.v_dim,
                k_elements=k,
                v_elements=v,
                cross=True,
                feed_forward=_decoder_width(h, i),
            )
        )
    return tuple(out)


def _t5_encoder(h: Hparams) -> tuple[Layer, ...]:
    """llama.cpp allocates a cache, although its graph stores nothing there."""
    out: list[Layer] = []
    for i in range(h.count):
        k, v = h.kv_heads[i] * h.k_dim, h.kv_heads[i] * h.v_dim
        out.append(build(h, i, "full", k, v, k_dim=h.k_dim, v_dim=h.v_dim))
    return tuple(out)


NONE: tuple[str, ...] = (
    "bert",
    "nomic-bert",
    "nomic-bert-moe",
    "jina-bert-v2",
    "jina-bert-v3",
    "modern-bert",
    "eurobert",
    "neo-bert",
    "gemma-embedding",
)

READERS: dict[str, Reader] = {"t5": _t5, "t5encoder": _t5_encoder}
for _arch in NONE:
    READERS[_arch] = _none
