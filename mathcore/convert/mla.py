"""Multi-head latent attention: what the converters of its families share."""

from dataclasses import dataclass
from typing import final

from mathcore.convert.parts import Build, Sizes
from mathcore.model.fields import MAX_LAYERS, Fields
from mathcore.model.spec import Tensor

# llama.cpp's numbers for how a router scores (llama-hparams.h).
GATING: dict[str, int] = {"softmax": 1, "sigmoid": 2, "sqrtsoftplus": 4}
# Loaded with this many layers, a deepseek2 file has no rank for Q (llama.cpp's is_lite).
_LITE_LAYERS: tuple[int, ...] = (26, 27)


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Latent:
    """Ranks and head parts: `nope` numbers of a query head without position, `rope` with."""

    q_rank: int  # 0 = Q is not compressed
    kv_rank: int
    nope: int
    rope: int
    value: int


def q_rank_of(f: Fields, layers: int) -> int:
    """0 when null; absent only in the small ones, where the engine knows none either."""
    if "q_lora_rank" not in f.values and layers not in _LITE_LAYERS:
        raise f.fault("q_lora_rank", "is missing")
    return f.integer_or("q_lora_rank", 0)


def latent_of(f: Fields, q_rank: int, least_rope: int = 1) -> Latent:
    """`least_rope` 0 for the families whose heads may have no turned part."""
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
    """No engine file has a place for these biases."""
    if f.flag_or("attention_bias", default=False):
        raise f.fault("attention_bias", "true is not supported yet with latent attention")


def absorbed_keys(b: Build, lat: Latent) -> None:
    """One head of compressed K, and the head sizes it stands for."""
    if lat.q_rank > 0:
        b.key("attention.q_lora_rank", lat.q_rank)
    b.key("attention.kv_lora_rank", lat.kv_rank)
    b.key("attention.head_count_kv", 1)
    b.key("attention.key_length", lat.kv_rank + lat.rope)
    b.key("attention.value_length", lat.kv_rank)
    b.key("attention.key_length_mla", lat.nope + lat.rope)
    b.key("attention.value_length_mla", lat.value)
    b.key("rope.dimension_count", lat.rope)


def planes(b: Build, i: int, name: str, columns: int, rows: int, count: int) -> None:
    """`count` matrices in one tensor that every token goes through."""
    b.tensors.append(
        Tensor(
            name=f"blk.{i}.{name}.weight",
            columns=columns,
            rows=rows * count,
            dims=3,
            layer=i,
            planes=count,
        )
    )


def queries(b: Build, i: int, lat: Latent) -> None:
    """Q, through its own latent where there is one."""
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
    planes(b, i, "attn_k_b", lat.nope, lat.kv_rank, b.s.heads)
    planes(b, i, "attn_v_b", lat.kv_rank, lat.value, b.s.heads)
    b.matrix(i, "attn_output", b.s.heads * lat.value, b.s.hidden)


def expanded_attention(b: Build, i: int, lat: Latent) -> None:
    """K and V decompressed together, as before llama.cpp absorbed them."""
    queries(b, i, lat)
    b.matrix(i, "attn_kv_b", lat.kv_rank, b.s.heads * (lat.nope + lat.value))
    b.matrix(i, "attn_output", b.s.heads * lat.value, b.s.hidden)


def leading_dense(f: Fields, layers: int) -> int:
    """How many layers at the start have no experts; those of transformers 5 are listed."""
    if f.integer_or("moe_layer_freq", 1) != 1:
        raise f.fault("moe_layer_freq", "other than 1 is not supported yet")
    if f.has("first_k_dense_replace") or not f.has("mlp_layer_types"):
        return f.integer("first_k_dense_replace", 0, layers)
    names = f.texts("mlp_layer_types", layers)
    dense = 0
    while dense < layers and names[dense] == "dense":
        dense += 1
    for name in names[dense:]:
        if name != "sparse":
            raise f.fault("mlp_layer_types", f"'{name}' after the leading dense layers")
    return dense


def gating(b: Build, f: Fields, default: str = "") -> None:
    """How the router scores; the default is the family's own library's."""
    name = f.text("scoring_func") if f.has("scoring_func") or not default else default
    if name not in GATING:
        raise f.fault("scoring_func", f"'{name}' is not supported yet")
    b.key("expert_gating_func", GATING[name])


def draft_tensors(b: Build, i: int) -> None:
    """What joins the trunk's last state and the token of a multi-token-prediction layer."""
    hidden = b.s.hidden
    b.matrix(i, "nextn.eh_proj", 2 * hidden, hidden)
    for name in ("nextn.enorm", "nextn.hnorm", "nextn.shared_head_norm"):
        b.norm(i, name)


def draft_keys(b: Build, draft: int) -> None:
    """Draft layers are counted among the blocks."""
    if draft > 0:
        b.key("block_count", b.s.layers + draft)
        b.key("nextn_predict_layers", draft)
