"""A model in a few numbers a person compares: what its cache costs, whatever the engine.

Engines round these up in their own ways; their allocators say what they take.
"""

from mathcore.model.spec import Layer, ModelSpec

F16_BYTES = 2
F32_BYTES = 4  # recurrent states are kept in full precision

# Kinds of attention that keep every token; the others keep a bounded number.
_GROWING: tuple[str, ...] = ("full", "latent")


def cache_bytes(spec: ModelSpec, tokens: int) -> int:
    """f16 bytes one sequence of `tokens` keeps: caches, windows no longer than theirs, states."""
    return sum([layer_cache_bytes(layer, tokens) for layer in spec.layers])


def layer_cache_bytes(layer: Layer, tokens: int) -> int:
    """What one layer has of `cache_bytes`."""
    total = 0
    if layer.state is not None:
        total += (layer.state.conv_elements + layer.state.state_elements) * F32_BYTES
    if layer.kind == "none" or layer.reads >= 0:
        return total
    kept = tokens if layer.kind in _GROWING else min(tokens, layer.window)
    width, index = layer.k_elements + layer.v_elements, _index(layer)
    if layer.ratio > 0:  # beside its window, one compressed row for `ratio` tokens
        rows = -(-tokens // layer.ratio)
        total += rows * (layer.compressed_elements + index) * F16_BYTES
    else:
        width += index
    return total + kept * width * F16_BYTES


def _index(layer: Layer) -> int:
    return layer.index_elements + layer.index_v_elements


def growth_bytes(spec: ModelSpec, tokens: int) -> int:
    """f16 bytes `tokens` more cost a long sequence, whose windows are full."""
    far = 1 << 24  # beyond any window
    return cache_bytes(spec, far + tokens) - cache_bytes(spec, far)
