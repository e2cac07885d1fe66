"""The weight tensors of a dense decoder, named and shaped as llama.cpp's converter writes them."""

from dataclasses import dataclass
from typing import final

from mathcore.model import Tensor


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """What a model_type fixes beyond its sizes."""

    architecture: str
    tied_default: bool  # what the library assumes when the config is silent
    qkv_bias: bool = False
    qk_norm: str = ""  # "" | "head" (per head) | "full" (whole projection)
    layer_norms: int = 2
    fused: bool = False  # one qkv tensor, one gate-and-up tensor
    head_dim_required: bool = False  # hidden / heads is not this family's default
    kv_heads_required: bool = False  # heads is not this family's default
    sliding: bool = False  # llama.cpp keeps a window for some of its layers


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Dims:
    """Sizes of a dense decoder."""

    vocab: int
    hidden: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    feed_forward: int
    tied: bool
    attention_bias: bool
    mlp_bias: bool
    rope_tables: tuple[tuple[str, int], ...] = ()


def _matrix(name: str, columns: int, rows: int, layer: int = -1) -> Tensor:
    return Tensor(name=f"{name}.weight", columns=columns, rows=rows, dims=2, layer=layer)


def _vector(name: str, columns: int, layer: int = -1) -> Tensor:
    return Tensor(name=name, columns=columns, rows=1, dims=1, layer=layer)


def _attention(family: Family, dims: Dims, i: int) -> list[Tensor]:
    p, e = f"blk.{i}.", dims.hidden
    q, kv = dims.heads * dims.head_dim, dims.kv_heads * dims.head_dim
    out = [_matrix(p + "attn_output", q, e, i)]
    if family.fused:
        out.append(_matrix(p + "attn_qkv", e, q + 2 * kv, i))
        return out
    for part, rows in (("attn_q", q), ("attn_k", kv), ("attn_v", kv)):
        out.append(_matrix(p + part, e, rows, i))
        if family.qkv_bias or dims.attention_bias:
            out.append(_vector(f"{p}{part}.bias", rows, i))
    if dims.attention_bias:
        out.append(_vector(p + "attn_output.bias", e, i))
    if family.qk_norm:
        head = family.qk_norm == "head"
        out.append(_vector(p + "attn_q_norm.weight", dims.head_dim if head else q, i))
        out.append(_vector(p + "attn_k_norm.weight", dims.head_dim if head else kv, i))
    return out


def _feed_forward(family: Family, dims: Dims, i: int) -> list[Tensor]:
    p, e, f = f"blk.{i}.", dims.hidden, dims.feed_forward
    out = [_matrix(p + "ffn_down", f, e, i)]
    if family.fused:
        out.append(_matrix(p + "ffn_up", e, 2 * f, i))
        return out
    out.append(_matrix(p + "ffn_gate", e, f, i))
    out.append(_matrix(p + "ffn_up", e, f, i))
    if dims.mlp_bias:
        out.append(_vector(p + "ffn_gate.bias", f, i))
        out.append(_vector(p + "ffn_up.bias", f, i))
        out.append(_vector(p + "ffn_down.bias", e, i))
    return out


def dense_tensors(family: Family, dims: Dims) -> tuple[Tensor, ...]:
    """Every tensor of the model, embedding first."""
    out = [_matrix("token_embd", dims.hidden, dims.vocab)]
    for i in range(dims.layers):
        norms = [f"blk.{i}.norm{n}.weight" for n in range(family.layer_norms)]
        out.extend([_vector(name, dims.hidden, i) for name in norms])
        out.extend(_attention(family, dims, i))
        out.extend(_feed_forward(family, dims, i))
    out.append(_vector("output_norm.weight", dims.hidden))
    if not dims.tied:
        out.append(_matrix("output", dims.hidden, dims.vocab))
    for name, size in dims.rope_tables:
        out.append(_vector(name, size))
    return tuple(out)
