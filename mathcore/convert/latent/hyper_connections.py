"""Hyper-connections: several residual streams, mixed before and after each half of a layer."""

from mathcore.convert.build import Build
from mathcore.convert.checks import need
from mathcore.convert.conversion import matrix
from mathcore.convert.latent.deepseek import mixture_keys, moe_layer
from mathcore.convert.latent.deepseek_v32 import index_keys
from mathcore.convert.latent.mla import absorbed_keys, latent_decoder, latent_of, refuse_bias
from mathcore.convert.mixture import GATING, leading_dense
from mathcore.model.fields import Fields


def stream_tensors(b: Build, i: int, count: int, mixed: int, scales: int) -> None:
    """What mixes the residual streams around each half of a layer."""
    for half in ("hc_attn", "hc_ffn"):
        b.matrix(i, half + "_fn", count * b.s.hidden, mixed)
        b.vector(i, half + "_base.weight", mixed)
        b.vector(i, half + "_scale.weight", scales)


def join_streams(b: Build, count: int) -> None:
    """What joins the residual streams behind the last layer."""
    b.tensors.append(matrix("output_hc_fn.weight", count * b.s.hidden, count))
    b.top("output_hc_base.weight", count)
    b.top("output_hc_scale.weight", 1)


def hyper_decoder(f: Fields, arch: str) -> tuple[Build, int, int]:
    """The build, how many layers are dense, and how many streams there are."""
    refuse_bias(f)
    need(f, "tie_word_embeddings", wanted=False, default=False)
    lat = latent_of(f, f.integer("q_lora_rank"), 0)
    b = Build(arch, latent_decoder(f, lat, f.integer("intermediate_size")))
    dense, streams = leading_dense(f, b.s.layers), f.integer("hc_mult", 1, 64)
    absorbed_keys(b, lat)
    mixture_keys(b, f, dense)
    index_keys(b, f)
    b.key("expert_gating_func", GATING["sigmoid"])
    b.key("hyper_connection.count", streams)
    b.key("hyper_connection.epsilon", f.number("hc_eps"))
    return b, dense, streams


def hyper_feed_forward(b: Build, i: int, f: Fields, dense: int) -> None:
    b.norm(i, "ffn_norm")
    if i < dense:
        b.gated_mlp(i)
    else:
        moe_layer(b, i, f, bias=True)
