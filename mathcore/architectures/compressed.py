"""Layers of DeepSeek V4: a window of raw rows, and beside it rows that compress many tokens.

Mirrors src/llama-kv-cache-dsv4.cpp of llama.cpp. Ratio 4 (CSA) also keeps an indexer's row per
compressed row; ratio 128 (HCA) does not. Tokens not compressed yet wait in f32, a value and a score
each.
"""

from mathcore.architectures.hparams import Hparams
from mathcore.architectures.parts import Reader, build
from mathcore.model.spec import Layer, LayerState

_RATIOS = "attention.compress_ratios"
CSA_RATIO = 4
HCA_RATIO = 128


def _ratios(h: Hparams) -> list[int]:
    value = h.fields.values.get(_RATIOS)
    if not isinstance(value, list) or len(value) < h.count:
        raise h.fields.fault(_RATIOS, f"is not a list of {h.count} whole numbers")
    out: list[int] = []
    for item in value[: h.count]:
        if isinstance(item, bool) or item not in (0, CSA_RATIO, HCA_RATIO):
            raise h.fields.fault(_RATIOS, "has a ratio other than 0, 4 and 128")
        assert isinstance(item, int)
        out.append(item)
    return out


def _waiting(ratio: int, row: int, index: int) -> LayerState | None:
    """Values and scores of tokens not compressed yet; overlapping windows of 4 are twice as big."""
    if ratio == CSA_RATIO:
        numbers = 2 * (2 * CSA_RATIO) * (2 * row + 2 * index)
        return LayerState(kind="compressor", conv_elements=0, state_elements=numbers)
    if ratio == HCA_RATIO:
        return LayerState(kind="compressor", conv_elements=0, state_elements=2 * HCA_RATIO * row)
    return None


def _deepseek4(h: Hparams) -> tuple[Layer, ...]:
    window = h.fields.integer("attention.sliding_window")
    index = h.fields.integer("attention.indexer.key_length")
    ratios = _ratios(h)
    out: list[Layer] = []
    for i in range(h.count):
        ratio = ratios[i]
        row = h.kv_heads[i] * h.k_dim
        base = build(h, i, "sliding", row, k_dim=h.k_dim, v_dim=h.v_dim)
        out.append(
            Layer(
                kind="sliding",
                heads=base.heads,
                kv_heads=base.kv_heads,
                head_dim=h.k_dim,
                v_head_dim=h.v_dim,
                k_elements=row,
                window=window,
                ratio=ratio,
                compressed_elements=row if ratio > 0 else 0,
                index_elements=index if ratio == CSA_RATIO else 0,
                state=_waiting(ratio, h.k_dim, index),
                feed_forward=base.feed_forward,
                experts=base.experts,
                experts_used=base.experts_used,
                expert_feed_forward=base.expert_feed_forward,
                shared_feed_forward=base.shared_feed_forward,
            )
        )
    return tuple(out)


READERS: dict[str, Reader] = {"deepseek4": _deepseek4}
