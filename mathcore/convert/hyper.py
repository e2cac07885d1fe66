"""Latent attention on several residual streams: Hunyuan 4 and GLM-5.3, whose others are KDA."""

from collections.abc import Callable

from mathcore.convert.conversion import Conversion, matrix, vector
from mathcore.convert.deepseek import moe_keys, moe_layer
from mathcore.convert.kimi_parts import delta_of
from mathcore.convert.mla import (
    GATING,
    absorbed_attention,
    absorbed_keys,
    latent_decoder,
    latent_of,
    leading_dense,
    planes,
    refuse_bias,
)
from mathcore.convert.parts import Build
from mathcore.convert.sparse import index_keys, indexer
from mathcore.convert.states import need
from mathcore.model.fields import Fields


def _streams(b: Build, i: int, count: int, mixed: int, scales: int) -> None:
    """What mixes the residual streams around each half of a layer."""
    for half in ("hc_attn", "hc_ffn"):
        b.matrix(i, half + "_fn", count * b.s.hidden, mixed)
        b.vector(i, half + "_base.weight", mixed)
        b.vector(i, half + "_scale.weight", scales)


def _own_indexer(f: Fields, layers: int, default: bool) -> list[bool]:
    """Which layers run an indexer of their own."""
    if not f.has("indexer_types") and default:
        return [True] * layers
    names = f.texts("indexer_types", layers)
    for name in names:
        if name not in ("full", "shared"):
            raise f.fault("indexer_types", f"'{name}' is not supported yet")
    return [name == "full" for name in names]


def _common(f: Fields, arch: str) -> tuple[Build, int, int]:
    """The build, how many layers are dense, and how many streams there are."""
    refuse_bias(f)
    need(f, "tie_word_embeddings", False, False)
    lat = latent_of(f, f.integer("q_lora_rank"), 0)
    b = Build(arch, latent_decoder(f, lat, f.integer("intermediate_size")))
    dense, streams = leading_dense(f, b.s.layers), f.integer("hc_mult", 1, 64)
    absorbed_keys(b, lat)
    moe_keys(b, f, dense)
    index_keys(b, f)
    b.key("expert_gating_func", GATING["sigmoid"])
    b.key("hyper_connection.count", streams)
    b.key("hyper_connection.epsilon", f.number("hc_eps"))
    return b, dense, streams


def _feed(b: Build, i: int, f: Fields, dense: int) -> None:
    b.norm(i, "ffn_norm")
    if i < dense:
        b.gated(i)
    else:
        moe_layer(b, i, f, True)


def _hy_v4(f: Fields) -> Conversion:
    b, dense, streams = _common(f, "hy_v4")
    lat = latent_of(f, f.integer("q_lora_rank"), 0)
    own = _own_indexer(f, b.s.layers, False)
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
        _streams(b, i, streams, 2 * streams, 2)
        _feed(b, i, f, dense)
    b.tensors.append(matrix("output_hc_fn.weight", streams * b.s.hidden, streams))
    b.tensors.append(vector("output_hc_base.weight", streams))
    b.tensors.append(vector("output_hc_scale.weight", 1))
    return b.done(False)


def _mixer(b: Build, i: int, size: int, kernel: int) -> None:
    hidden, inner = b.s.hidden, b.s.heads * size
    for name in ("q", "k", "v"):
        b.matrix(i, f"attn_{name}", hidden, inner)
        planes(b, i, f"ssm_conv1d_{name}", kernel, 1, inner)
    for name in ("f", "g"):
        b.matrix(i, f"ssm_{name}_a", hidden, size)
        b.matrix(i, f"ssm_{name}_b", size, inner)
    b.matrix(i, "ssm_beta", hidden, b.s.heads)
    b.vector(i, "ssm_a", b.s.heads)
    b.vector(i, "ssm_dt.bias", inner)
    b.norm(i, "ssm_norm", size=size)
    b.matrix(i, "attn_output", inner, hidden)


def _linear(f: Fields, layers: int) -> list[bool]:
    names = f.texts("layer_types", layers)
    for name in names:
        if name not in ("linear_attention", "indexed_attention"):
            raise f.fault("layer_types", f"'{name}' is not supported yet")
    return [name == "linear_attention" for name in names]


def _pooled_indexer(b: Build, i: int, f: Fields, q_rank: int) -> None:
    """Its keys are pooled with a gate before they are scored."""
    size = f.integer("index_head_dim")
    indexer(b, i, f, q_rank)
    b.matrix(i, "indexer_compressor_gate", b.s.hidden, size)
    b.matrix(i, "indexer_compressor_ape", size, f.integer("index_kpool", 2))


def _glm5_next(f: Fields) -> Conversion:
    b, dense, streams = _common(f, "glm5-next")
    if streams != 4:
        raise f.fault("hc_mult", "other than 4 is not supported yet")
    lat = latent_of(f, f.integer("q_lora_rank"), 0)
    size, kernel = delta_of(f)
    linear, own = _linear(f, b.s.layers), _own_indexer(f, b.s.layers, True)
    b.key("attention.head_count_kv", [0 if here else 1 for here in linear])
    b.key("ssm.conv_kernel", kernel)
    b.key("kda.head_dim", size)
    b.key("attention.indexer.kpool", f.integer("index_kpool", 2))
    b.key("attention.indexer.types", own)
    b.key("hyper_connection.sinkhorn_iterations", f.integer("hc_sinkhorn_iters"))
    for i in range(b.s.layers):
        b.norm(i, "attn_norm")
        if linear[i]:
            _mixer(b, i, size, kernel)
        else:
            absorbed_attention(b, i, lat)
            if own[i]:
                _pooled_indexer(b, i, f, lat.q_rank)
        _streams(b, i, streams, (2 + streams) * streams, 3)
        _feed(b, i, f, dense)
    return b.done(False)


CONVERTERS: dict[str, Callable[[Fields], Conversion]] = {
    "hy_v4": _hy_v4,
    "glm5_next": _glm5_next,
    "glm5_next_text": _glm5_next,
}
