"""Multi-head latent attention (MLA): what its families share."""

from dataclasses import dataclass
from typing import final

from mathcore.convert.build import Build
from mathcore.convert.sizes import Sizes
from mathcore.model.fields import MAX_LAYERS, Fields

# Loaded with this many layers, a deepseek2 file has no rank for Q (llama.cpp's is_lite).
_LITE_LAYERS: tuple[int, ...] = (26, 27)


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Latent:
    """Ranks, and the parts of a query head: `nope` numbers without position, `rope` with."""

    q_rank: int  # 0 = Q is not compressed
    kv_rank: int
    nope: int
    rope: int
    value: int


def q_rank_of(f: Fields, layers: int) -> int:
    """Rank of Q's latent, 0 when null. Only a config of few layers may leave it out."""
    if "q_lora_rank" not in f.values and layers not in _LITE_LAYERS:
        raise f.fault("q_lora_rank", "is missing")
    return f.integer_or("q_lora_rank", 0)


def latent_of(f: Fields, q_rank: int, least_rope: int = 1) -> Latent:
    """`least_rope` 0 for the families whose heads may have no rotary part."""
    return Latent(
        q_rank=q_rank,
        kv_rank=f.integer("kv_lora_rank"),
        nope=f.integer("qk_nope_head_dim"),
        rope=f.integer("qk_rope_head_dim", least_rope),
        value=f.integer("v_head_dim"),
    )


def latent_decoder(f: Fields, l: Latent, feed_forward: int) -> Sizes:  # noqa: E741
    """The sizes of a decoder whose heads come from a latent."""
    heads = f.integer("num_attention_heads")
    return Sizes(
        vocab=f.integer("vocab_size"),
        hidden=f.integer("hidden_size"),
        layers=f.integer("num_hidden_layers", 1, MAX_LAYERS),
        heads=heads,
        kv_heads=heads,
        head_dim=l.nope + l.rope,
        feed_forward=feed_forward,
        context=f.integer_or("max_position_embeddings", 0),
    )


def refuse_bias(f: Fields) -> None:
    """Refuses attention biases: GGUF has no tensor for them."""
    if f.flag_or("attention_bias", default=False):
        raise f.fault("attention_bias", "true is not supported yet with latent attention")


def absorbed_keys(b: Build, lat: Latent) -> None:
    """One head of compressed K, and the sizes of the heads it decompresses to."""
    if lat.q_rank > 0:
        b.key("attention.q_lora_rank", lat.q_rank)
    b.key("attention.kv_lora_rank", lat.kv_rank)
    b.key("attention.head_count_kv", 1)
    b.key("attention.key_length", lat.kv_rank + lat.rope)
    b.key("attention.value_length", lat.kv_rank)
    b.key("attention.key_length_mla", lat.nope + lat.rope)
    b.key("attention.value_length_mla", lat.value)
    b.key("rope.dimension_count", lat.rope)


def queries(b: Build, i: int, lat: Latent) -> None:
    """Q, through a latent where it has one, and the compressed K and V."""
    hidden, width = b.s.hidden, b.s.heads * (lat.nope + lat.rope)
    if lat.q_rank > 0:
        b.matrix(i, "attn_q_a", hidden, lat.q_rank)
        b.norm(i, "attn_q_a_norm", size=lat.q_rank)
        b.matrix(i, "attn_q_b", lat.q_rank, width)
    else:
        b.matrix(i, "attn_q", hidden, width)
    b.matrix(i, "attn_kv_a_mqa", hidden, lat.kv_rank + lat.rope)
    b.norm(i, "attn_kv_a_norm", size=lat.kv_rank)


def absorbed_attention(b: Build, i: int, lat: Latent) -> None:
    """K and V decompressed per head by tensors of their own."""
    queries(b, i, lat)
    b.planes(i, "attn_k_b", lat.nope, lat.kv_rank, b.s.heads)
    b.planes(i, "attn_v_b", lat.kv_rank, lat.value, b.s.heads)
    b.matrix(i, "attn_output", b.s.heads * lat.value, b.s.hidden)


def expanded_attention(b: Build, i: int, lat: Latent) -> None:
    """K and V decompressed together, as before llama.cpp absorbed them."""
    queries(b, i, lat)
    b.matrix(i, "attn_kv_b", lat.kv_rank, b.s.heads * (lat.nope + lat.value))
    b.matrix(i, "attn_output", b.s.heads * lat.value, b.s.hidden)
