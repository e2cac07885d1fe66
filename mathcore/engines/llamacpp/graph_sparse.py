"""Block-sparse attention (MiniMax-M3) in the graph: an indexer picks blocks of the cache."""

from typing import final

from mathcore.engines.llamacpp.graph import (
    F32,
    Builder,
    GraphLayer,
    Inputs,
    keep,
    projected_heads,
    rope,
    store,
)

BLOCK = 128  # tokens of one block; of a batch's buffers it decides only small ones
TOP_BLOCKS = 16
F16 = 2


@final
class BlockInputs:
    """What all sparse layers share: which positions exist, and the mask in 32 bits."""

    __slots__ = ("bias", "cells", "key_index", "mask", "places", "positions")

    def __init__(self, b: Builder, given: Inputs) -> None:
        graph, cells = b.graph, given.cells
        self.bias = graph.leaf(_blocks(cells) * b.tokens * F32)
        self.positions = graph.leaf(cells * b.tokens * F32)
        self.places = graph.leaf(cells * b.streams * F32)
        self.cells = graph.leaf(cells * b.streams * F32)
        self.mask = graph.node(cells * b.tokens * F32, [given.mask])
        self.key_index = graph.leaf(8 * b.tokens)


def _blocks(cells: int) -> int:
    return (cells + BLOCK - 1) // BLOCK


def _one_stream(
    b: Builder, layer: GraphLayer, q: int, iq: int, given: Inputs, shared: BlockInputs
) -> int:
    """Scores of blocks, the mask they open, and attention under it."""
    graph, tokens, cells = b.graph, b.tokens // b.streams, given.cells
    heads = layer.width("indexer.q_proj.weight") // layer.spec.index_elements
    rows = heads * tokens
    blocks = _blocks(cells)
    keys = graph.node(cells * layer.spec.index_elements * F32, [graph.view(shared.places, 1)])
    scores = graph.node(cells * rows * F32, [keys, graph.view(iq, rows)])
    seen = graph.view(scores)
    seen = graph.view_of(seen, [seen, graph.view(shared.positions, 1)])
    best = graph.node(blocks * rows * F32, [seen])
    best = graph.over(graph.size[best], [best, graph.view(shared.bias, 1)])
    chosen = graph.node(min(TOP_BLOCKS, blocks) * rows * F32, [best])
    shut = graph.node(
        blocks * tokens * F16, [b.copy(graph.view(shared.bias, blocks * tokens * F32))]
    )
    shut = graph.node(blocks * rows * F16, [shut])
    zero = b.same(b.copy(chosen))
    opened = graph.view_of(
        graph.view(shut), [graph.view(zero), graph.view(chosen), graph.view(shut)]
    )
    lanes = b.copy(graph.view(opened, blocks * rows * F16))
    lanes = b.copy(graph.view(lanes, blocks * rows * F16))
    wide = graph.node(cells * rows * F32, [lanes, graph.view(shared.cells, 1)])
    wide = graph.node(cells * rows * F32, [graph.view(wide, graph.size[wide])])
    wide = graph.view_of(graph.view(wide), [graph.view(wide), graph.view(shared.mask, 1)])
    mask = graph.node(cells * rows * F16, [graph.view(wide, graph.size[wide])])
    spec = layer.spec
    part = graph.view(q, spec.heads * spec.head_dim * tokens * F32)
    out = graph.node(spec.heads * spec.v_head_dim * tokens * F32, [part, mask])
    return graph.node(graph.size[out], [graph.view(out, graph.size[out])])


def block_attention(
    b: Builder, layer: GraphLayer, x: int, given: Inputs, shared: BlockInputs
) -> int:
    """One sparse layer, stream by stream."""
    graph, spec = b.graph, layer.spec
    q, k, v, _ = projected_heads(b, layer, x, given)
    iq = graph.view(b.f32(layer.width("indexer.q_proj.weight"), [x]))
    ik = graph.view(b.f32(spec.index_elements, [x]))
    iq, ik = rope(b, b.norm(iq)), rope(b, b.norm(ik))
    store(b, ik, shared.key_index)
    keep(b, q, k, v, given)
    out = _one_stream(b, layer, q, iq, given, shared)
    for _ in range(1, b.streams):
        more = _one_stream(b, layer, q, iq, given, shared)
        out = graph.node(graph.size[out] + graph.size[more], [out, more])
    return b.multiply("attn_output.weight", b.hidden, [b.hadamard(out, given.hadamard_v)])
