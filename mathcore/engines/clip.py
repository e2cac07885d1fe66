"""A picture tower's graph (llama.cpp's tools/mtmd): the compute buffer it is warmed up with.

The tower is loaded beside the language model, and its buffer reserved for one picture of a fixed
size; a larger one makes it grow. Equal to the MiB to what llama.cpp reported of four families with
and without flash attention (gguf-parser-go#44), gemma3 without it 3 % low.
"""

from math import isqrt
from typing import final

from mathcore.engines.llamacpp.allocator import Graph
from mathcore.model.spec import Projector

F32 = 4
# Tokens of the picture a tower is warmed up with, where pictures come in any size.
WARM_UP_TOKENS: dict[str, int] = {
    "qwen2vl_merger": 46 * 46,
    "qwen2.5vl_merger": 46 * 46,
    "qwen3vl_merger": 46 * 46,
    "pixtral": 16 * 16,
}
USUAL_TOKENS = 16 * 16


def warm_up_side(projector: Projector) -> int:
    """Pixels a side of the picture memory is reserved for."""
    if projector.image_size > 0:
        return projector.image_size
    tokens = WARM_UP_TOKENS.get(projector.kind, USUAL_TOKENS)
    return isqrt(tokens) * projector.patch * projector.merge


@final
class Tower:
    """The graph under construction; every tensor is `wide` unless said otherwise."""

    __slots__ = ("flash", "graph", "p", "patches", "positions", "raw", "wide", "window")

    def __init__(self, projector: Projector, side: int, *, flash: bool) -> None:
        self.graph = Graph()
        self.p = projector
        self.flash = flash
        across = max(1, side // projector.patch)
        self.patches = across * across
        self.wide = projector.hidden * self.patches * F32
        self.raw = self.graph.leaf(side * side * 3 * F32)
        self.positions = self.graph.leaf(4 * F32 * self.patches)
        self.window = -1
        if projector.windowed:
            self.window = self.graph.leaf(self.patches * self.patches * F32)

    def same(self, source: int, *, bias: bool = True) -> int:
        """A sum with a weight, in its place."""
        return self.graph.over(self.graph.size[source], [source]) if bias else source

    def norm(self, source: int) -> int:
        """Layer norm needs a place of its own; then the weight, and a bias with it."""
        graph, wide = self.graph, self.graph.size[source]
        first = graph.node(wide, [source]) if self.p.layer_norm else graph.over(wide, [source])
        return self.same(graph.over(wide, [first]), bias=self.p.layer_norm)

    def cut(self) -> int:
        """Patches as numbers: a convolution by way of columns in 16 bits."""
        graph, p = self.graph, self.p
        columns = graph.node(3 * p.patch * p.patch * self.patches * 2, [self.raw])
        out = graph.node(self.wide, [graph.view(columns)])
        return graph.node(self.wide, [graph.view(out, self.wide)])

    def start(self) -> int:
        """Patches in the order of the tower, with their positions."""
        graph, p = self.graph, self.p
        x = self.cut()
        for _ in range(1, p.frames):
            x = graph.over(self.wide, [x, self.cut()])
        x = graph.node(self.wide, [graph.view(x, self.wide)])
        if p.frames > 1:
            x = graph.node(self.wide, [graph.view(graph.view(x), self.wide)])
        if p.layer_norm and not p.rotary or p.resized:
            x = self.same(x)
        if p.resized:
            table = graph.node(self.wide, [])
            for _ in range(2):
                table = graph.node(self.wide, [graph.view(table, self.wide)])
            x = graph.over(self.wide, [x, table])
        return x

    def heads(self, x: int) -> tuple[int, int, int]:
        """Q, K and V, rotated where the tower does."""
        graph, p, wide = self.graph, self.p, self.wide
        if p.fused:
            all_three = self.same(graph.node(3 * wide, [x]), bias=p.biases)
            q, k, v = (graph.view(all_three, wide) for _ in range(3))
        else:
            q, k, v = (
                graph.view(self.same(graph.node(wide, [x]), bias=p.biases)) for _ in range(3)
            )
        if p.rotary:
            at = self.positions
            q = graph.node(wide, [q, at]) if p.fused else graph.over(wide, [q, at])
            k = graph.node(wide, [k, at]) if p.fused else graph.over(wide, [k, at])
        for one in (q, k, v):
            graph.expand(one)
        return q, k, v

    def attend(self, q: int, k: int, v: int) -> int:
        """Fused over copies in 16 bits, or with the scores of all heads laid out."""
        graph, wide = self.graph, self.wide
        mask = [self.window] if self.window >= 0 else []
        q, k = graph.view(q, wide), graph.view(k, wide)
        if self.flash:
            halves = [graph.node(wide // 2, [k]), graph.node(wide // 2, [graph.view(v, wide)])]
            return graph.view(graph.node(wide, [q, *halves, *mask]))
        values = graph.node(wide, [graph.view(v, wide)])
        scores = self.p.heads * self.patches * self.patches * F32
        kq = graph.over(scores, [graph.node(scores, [k, q]), *mask])
        out = graph.node(wide, [values, kq])
        return graph.node(wide, [graph.view(out, wide)])

    def feed_forward(self, x: int) -> int:
        """Up, an activation in its place or with a gate, and down."""
        graph, p = self.graph, self.p
        inner = p.feed_forward * self.patches * F32
        up = self.same(graph.node(inner, [x]), bias=p.biases)
        if p.gated:
            gate = self.same(graph.node(inner, [x]), bias=p.biases)
            inside = graph.node(inner, [gate, up])
        else:
            inside = graph.over(inner, [up])
        return self.same(graph.node(self.wide, [inside]), bias=p.biases)

    def layer(self, x: int) -> int:
        """Attention and its residual, the feed-forward and its own."""
        graph = self.graph
        q, k, v = self.heads(self.norm(x))
        out = self.same(graph.node(self.wide, [self.attend(q, k, v)]), bias=self.p.biases)
        x = graph.over(self.wide, [out, x])
        return graph.over(self.wide, [x, self.feed_forward(self.norm(x))])

    def merged(self, x: int, *, normed: bool) -> int:
        """Patches joined to tokens and projected to the language model's width."""
        graph, p = self.graph, self.p
        x = graph.view(x)
        if normed:
            x = graph.over(self.wide, [graph.over(self.wide, [graph.node(self.wide, [x])])])
        inside = graph.over(self.wide, [self.same(graph.node(self.wide, [x]))])
        tokens = max(1, self.patches // (p.merge * p.merge))
        return self.same(graph.node(p.out * tokens * F32, [inside]))

    def build(self) -> Graph:
        """The whole tower, its deep stacks beside the last output."""
        graph, x, deep = self.graph, self.start(), -1
        for i in range(self.p.layers):
            x = self.layer(x)
            if i in self.p.deep:
                one = self.merged(x, normed=True)
                size = graph.size[one] + (graph.size[deep] if deep >= 0 else 0)
                deep = one if deep < 0 else graph.node(size, [deep, one])
        out = self.merged(self.norm(x), normed=False)
        if deep >= 0:
            out = graph.node(graph.size[out] + graph.size[deep], [out, deep])
        graph.kept[out] = True
        graph.expand(out)
        return graph


def clip_compute_bytes(projector: Projector, *, flash: bool = True, side: int = 0) -> int:
    """The tower's compute buffer for a picture of `side` pixels a side; 0 = the warm-up's."""
    least = warm_up_side(projector)
    tower = Tower(projector, max(least, side), flash=flash)
    return tower.build().peak_bytes()


def clip_weights_bytes(projector: Projector) -> int:
    """Its file as llama.cpp's converter writes it: matrices in 16 bits, the rest in 32."""
    total = 0
    for tensor in projector.tensors:
        wide = tensor.dims < 2 or tensor.name.startswith("v.position_embd")
        total += tensor.columns * tensor.rows * (4 if wide else 2)
    return total
