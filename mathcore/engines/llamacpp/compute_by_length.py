"""llama.cpp's compute buffer for every length of context and many sequences, from few layouts.

Between a few known bends every size of a graph is affine in the cells, so one layout (`growing`)
serves all lengths up to the first other choice of the allocator. Numbers of sequences differ in
what follows the last layer's attention, where a row for each is picked: up to there they share it.
"""

from typing import final

from mathcore.engines.footprint import MICRO_BATCH, ContextShape
from mathcore.engines.llamacpp.allocator import ALIGN, Graph
from mathcore.engines.llamacpp.cache import CELL_PAD, CacheGroups
from mathcore.engines.llamacpp.compute_buffer import compute_graph
from mathcore.engines.llamacpp.graph import F32
from mathcore.engines.llamacpp.growing import GrowingLayout, Growth, growth_of
from mathcore.engines.llamacpp.memory import (
    SERVER,
    WHOLE,
    cache_groups,
    compute_bytes,
    micro_batch_of,
)
from mathcore.model.spec import ModelSpec

# Fewer lengths than this are worked out one by one: finding bends costs about as much.
FEW = 10
# Numbers of sequences whose list of picked rows, an input, takes the same aligned bytes.
ALIKE = ALIGN // F32


def alike(sequences: int) -> tuple[int, int]:
    """The least and the most sequences that share layouts with so many."""
    least = (sequences - 1) // ALIKE * ALIKE + 1
    return least, least + ALIKE - 1


@final
class Span:
    """Steps `first` to `last`, between which every size of the graph is affine in the cells.

    Where `shared`, it is so in the sequences, too: `more` bytes of each tensor for one more. Up to
    the node `cut` nothing depends on them.
    """

    __slots__ = ("cut", "first", "growth", "heads", "last", "layouts_more", "more", "shared")

    def __init__(self, growth: Growth, last: int) -> None:
        self.growth = growth
        self.first = growth.first
        self.last = last
        self.shared = False
        self.more: list[int] = []
        self.layouts_more: list[int] = []
        self.cut = len(growth.graph.order)
        self.heads: dict[int, GrowingLayout] = {}

    def share(self, others: int, next_one: Graph, most: Growth) -> None:
        """Whether the graphs of one and of `others` more sequences are on one line with this."""
        own, count = self.growth, len(self.growth.raw)
        if len(next_one.size) != count or len(most.raw) != count:
            return
        self.more = [next_one.size[i] - own.raw[i] for i in range(count)]
        self.layouts_more = [next_one.layout[i] - own.layouts[i] for i in range(count)]
        self.shared = (
            most.grows == own.grows
            and most.layouts_grow == own.layouts_grow
            and most.raw == [own.raw[i] + others * self.more[i] for i in range(count)]
            and most.layouts
            == [own.layouts[i] + others * self.layouts_more[i] for i in range(count)]
            and all([own.sizes[t] == most.sizes[t] for t in own.graph.inputs])
        )
        self._cut_at([self.layouts_more[i] != 0 or self.more[i] != 0 for i in range(count)])

    def _cut_at(self, varies: list[bool]) -> None:
        graph = self.growth.graph
        for at, t in enumerate(graph.order):
            if varies[t] or any([varies[source] for source in graph.sources[t]]):
                self.cut = at
                return

    def with_more(self, sequences: int) -> Growth:
        """The growth with so many more sequences."""
        own, count = self.growth, len(self.growth.raw)
        if sequences == 0:
            return own
        return Growth(
            own.first,
            own.graph,
            [own.raw[i] + sequences * self.more[i] for i in range(count)],
            own.grows,
            [own.layouts[i] + sequences * self.layouts_more[i] for i in range(count)],
            own.layouts_grow,
        )

    def head(self, at: int) -> GrowingLayout:
        """The layout at a step, up to where sequences begin to matter."""
        found = self.heads.get(at)
        if found is None:
            found = GrowingLayout(self.growth, at)
            found.start()
            found.go(0, self.cut)
            self.heads[at] = found
        return found


@final
class ComputeByLength:
    """Compute buffer of one model with `sequences` sequences or up to `most`, by cells per stream.

    Of a `card` with all layers, or with `layers` and `copies` of its inputs (memory.compute_bytes).
    """

    __slots__ = (
        "cache",
        "card",
        "copies",
        "evaluated",
        "kv_type",
        "layers",
        "most",
        "sequences",
        "spans",
        "spec",
    )

    def __init__(
        self,
        spec: ModelSpec,
        sequences: int,
        kv_type: str,
        *,
        card: bool = False,
        layers: tuple[int, int] = WHOLE,
        copies: int = 1,
        most: int = 0,
    ) -> None:
        self.card = card
        self.layers = layers
        self.copies = copies
        self.spec = spec
        self.sequences = sequences
        self.most = max(most, sequences)
        self.kv_type = kv_type
        self.cache: CacheGroups = cache_groups(spec)
        self.evaluated = 0
        self.spans: list[Span] = []

    def _graph(self, step: int, sequences: int) -> Graph:
        self.evaluated += 1
        batch = micro_batch_of(self.cache, self._shape(step, sequences), SERVER)
        batch.card, batch.copies = self.card, self.copies
        model = self.cache.graph_model
        low, high = self.layers
        return compute_graph(model, batch, model.stretch(low, min(high, len(model.every) + 1)))

    def _shape(self, step: int, sequences: int) -> ContextShape:
        return ContextShape(context=step * CELL_PAD, sequences=sequences, kv_type=self.kv_type)

    def _bends(self) -> list[int]:
        """Steps at which a window stops growing, longest first; other bends are searched for."""
        windows = {group.window for group in self.cache.groups if group.window > 0}
        return [
            (window + MICRO_BATCH + CELL_PAD - 1) // CELL_PAD
            for window in sorted(windows, reverse=True)
        ]

    def _span(self, first: int, last: int) -> Span:
        """How sizes grow from `first` on, and the last step up to which they do.

        Sizes stop growing at a bend at the latest or not at all (a minimum of a length and a
        constant), so equal growth at both ends is equal growth between.
        """
        for span in self.spans:
            if span.first <= first <= span.last:
                return span
        own = self.sequences
        growth = growth_of(first, self._graph(first, own), self._graph(first + 1, own))
        bends = [bend for bend in self._bends() if first < bend < last]
        while last > first + 1 and not growth.reaches(last, self._graph(last, own)):
            last = bends.pop() if bends else first + (last - first) // 2
        made = Span(growth, max(last, first + 1))
        if self.most > own:
            self._share(made)
        self.spans.append(made)
        return made

    def _share(self, span: Span) -> None:
        first, most = span.first, self.most
        far = growth_of(first, self._graph(first, most), self._graph(first + 1, most))
        if far.reaches(span.last, self._graph(span.last, most)):
            span.share(most - self.sequences, self._graph(first, self.sequences + 1), far)

    def table(self, steps: list[int], sequences: int = 0) -> list[int]:
        """Its bytes at these many times 256 cells, ascending; 0 sequences are the fewest."""
        asked = sequences or self.sequences
        out: list[int] = []
        while len(out) < len(steps):
            at, left = steps[len(out)], len(steps) - len(out)
            # A first batch smaller than the micro batch grows with the cells in more than one way.
            if left < FEW or at * CELL_PAD * self.sequences < MICRO_BATCH:
                self._alone(at, asked, out)
                continue
            span = self._span(at, steps[-1])
            if asked != self.sequences and not span.shared:
                alone = ComputeByLength(
                    self.spec,
                    asked,
                    self.kv_type,
                    card=self.card,
                    layers=self.layers,
                    copies=self.copies,
                )
                return alone.table(steps)
            self._stretch(steps, span, asked, out)
        return out

    def _alone(self, step: int, sequences: int, out: list[int]) -> None:
        shape = self._shape(step, sequences)
        out.append(
            compute_bytes(self.spec, shape, card=self.card, layers=self.layers, copies=self.copies)
        )

    def _stretch(self, steps: list[int], span: Span, sequences: int, out: list[int]) -> None:
        """Appends what comes next, up to the span's end, within which all sizes are affine."""
        growth = span.with_more(sequences - self.sequences)
        while len(out) < len(steps) and steps[len(out)] <= span.last:
            at = steps[len(out)]
            if not growth.in_steps:
                self._alone(at, sequences, out)
                continue
            layout = GrowingLayout(growth, at)
            layout.take_over(span.head(at))
            layout.go(span.cut, len(growth.graph.order))
            size, grows, held = layout.found()
            end = min(span.last, at + held)
            while len(out) < len(steps) and steps[len(out)] <= end:
                out.append(size + grows * (steps[len(out)] - at))
