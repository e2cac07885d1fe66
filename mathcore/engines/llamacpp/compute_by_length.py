"""llama.cpp's compute buffer for every length of context, exact, from a few layouts.

Its size is no convex function of the cells: best fit jumps where a tensor starts or stops fitting
a gap. But every size in the graph is affine in the cells between a few known bends, and so is what
the allocator compares; as long as each comparison comes out the same, so does the buffer's layout.
So one run of the `allocator` on affine sizes tells the buffer's size and slope, and up
to which length they hold.
"""

from typing import final

from mathcore.engines.footprint import MICRO_BATCH, ContextShape
from mathcore.engines.llamacpp.allocator import ALIGN, UNBOUNDED, Graph
from mathcore.engines.llamacpp.cache import CELL_PAD, CacheGroups
from mathcore.engines.llamacpp.compute_buffer import compute_graph
from mathcore.engines.llamacpp.memory import (
    SERVER,
    WHOLE,
    cache_groups,
    compute_bytes,
    micro_batch_of,
)
from mathcore.model.spec import ModelSpec

FOREVER = 1 << 40
# Fewer lengths than this are worked out one by one: finding bends costs about as much.
FEW = 10


@final
class Reach:
    """Affine numbers (value now, growth per step), and the steps all answers so far hold for."""

    __slots__ = ("steps",)

    def __init__(self) -> None:
        self.steps = FOREVER

    def not_above(self, a: int, a_grows: int, b: int, b_grows: int) -> bool:
        """Whether a <= b, noting when that would change."""
        gap, grows = b - a, b_grows - a_grows
        if gap >= 0:
            if grows < 0:
                self.steps = min(self.steps, gap // -grows)
            return True
        if grows > 0:
            self.steps = min(self.steps, (-gap + grows - 1) // grows - 1)
        return False

    def equal(self, a: int, a_grows: int, b: int, b_grows: int) -> bool:
        """Whether a == b, noting when that would change."""
        gap, grows = b - a, b_grows - a_grows
        if grows != 0:
            if gap == 0:
                self.steps = 0
            elif gap % grows == 0 and -gap // grows > 0:
                self.steps = min(self.steps, -gap // grows - 1)
        return gap == 0


@final
class GrowingArena:
    """allocator.Arena on affine sizes: the same choices, each noted."""

    __slots__ = ("grow", "peak", "peak_grows", "reach", "sizes", "start_grow", "starts")

    def __init__(self, reach: Reach) -> None:
        self.reach = reach
        self.starts: list[int] = [0]
        self.start_grow: list[int] = [0]
        self.sizes: list[int] = [UNBOUNDED]
        self.grow: list[int] = [0]
        self.peak = 0
        self.peak_grows = 0

    def take(self, size: int, grows: int) -> tuple[int, int]:
        """Start of a tensor: the tightest gap, else behind everything."""
        reach, last = self.reach, len(self.starts) - 1
        best = last
        for i in range(last):
            if not reach.not_above(size, grows, self.sizes[i], self.grow[i]):
                continue
            if best == last or reach.not_above(
                self.sizes[i], self.grow[i], self.sizes[best], self.grow[best]
            ):
                best = i
        start, start_grows = self.starts[best], self.start_grow[best]
        self.starts[best] += size
        self.start_grow[best] += grows
        self.sizes[best] -= size
        self.grow[best] -= grows
        if best != last and reach.equal(self.sizes[best], self.grow[best], 0, 0):
            self._drop(best)
        if not reach.not_above(start + size, start_grows + grows, self.peak, self.peak_grows):
            self.peak, self.peak_grows = start + size, start_grows + grows
        return start, start_grows

    def give(self, start: int, start_grows: int, size: int, grows: int) -> None:
        """Frees a block and joins it with its free neighbours."""
        reach, at = self.reach, 0
        if reach.equal(size, grows, 0, 0):
            return
        while at < len(self.starts) and reach.not_above(
            self.starts[at] + 1, self.start_grow[at], start, start_grows
        ):
            at += 1
        self.starts.insert(at, start)
        self.start_grow.insert(at, start_grows)
        self.sizes.insert(at, size)
        self.grow.insert(at, grows)
        self._join(at)
        if at > 0:
            self._join(at - 1)

    def _join(self, at: int) -> None:
        if at + 1 < len(self.starts) and self.reach.equal(
            self.starts[at] + self.sizes[at],
            self.start_grow[at] + self.grow[at],
            self.starts[at + 1],
            self.start_grow[at + 1],
        ):
            self.sizes[at] += self.sizes[at + 1]
            self.grow[at] += self.grow[at + 1]
            self._drop(at + 1)

    def _drop(self, at: int) -> None:
        del self.starts[at], self.start_grow[at], self.sizes[at], self.grow[at]


@final
class Growth:
    """A graph at one length and one step on: every size, and what it grows by."""

    __slots__ = ("first", "graph", "grows", "in_steps", "layouts", "layouts_grow", "sizes")

    def __init__(self, first: int, now: Graph, then: Graph) -> None:
        count = len(now.size)
        self.first = first
        self.graph = now
        self.sizes = [(size + ALIGN - 1) // ALIGN * ALIGN for size in now.size]
        self.grows = [then.size[i] - now.size[i] for i in range(count)]
        self.layouts = now.layout
        self.layouts_grow = [then.layout[i] - now.layout[i] for i in range(count)]
        # Whether rounding up to the alignment keeps every growth as it is.
        self.in_steps = all([grows % ALIGN == 0 for grows in self.grows])

    def reaches(self, step: int, graph: Graph) -> bool:
        """Whether the sizes at `step` are what growing so far makes them."""
        steps, now, far = step - self.first, self.graph.size, graph.size
        return len(far) == len(now) and all(
            [far[i] - now[i] == self.grows[i] * steps for i in range(len(now))]
        )


@final
class GrowingLayout:
    """allocator.Graph.peak_bytes at the step `at` of a growing graph."""

    __slots__ = (
        "arena",
        "children",
        "graph",
        "growth",
        "held",
        "layouts",
        "layouts_grow",
        "reach",
        "sizes",
        "starts",
        "views",
    )

    def __init__(self, kind: Growth, at: int) -> None:
        count, steps = len(kind.sizes), at - kind.first
        self.graph = kind.graph
        self.growth = kind.grows
        self.layouts_grow = kind.layouts_grow
        self.sizes = [kind.sizes[i] + kind.grows[i] * steps for i in range(count)]
        self.layouts = [kind.layouts[i] + kind.layouts_grow[i] * steps for i in range(count)]
        self.reach = Reach()
        self.arena = GrowingArena(self.reach)
        self.starts: list[tuple[int, int]] = [(0, 0)] * count
        self.held = [False] * count
        self.children = [0] * count
        self.views = [0] * count

    def _same_layout(self, a: int, b: int) -> bool:
        now, grow = self.layouts, self.layouts_grow
        return self.reach.equal(now[a], grow[a], now[b], grow[b])

    def _own(self, t: int) -> None:
        graph = self.graph
        if self.held[t] or graph.owner[t] != -1:
            return
        self.held[t] = True
        if graph.reuses[t]:
            for p in graph.sources[t]:
                if graph.owner[p] != -1 or graph.kept[p] or not self._same_layout(p, t):
                    continue
                if self.children[p] == 1 and self.views[p] == 0:
                    self.starts[t] = self.starts[p]
                    self.held[p] = False
                    return
        self.starts[t] = self.arena.take(self.sizes[t], self.growth[t])

    def _release(self, t: int) -> None:
        graph = self.graph
        self.children[t] -= 1
        if self.children[t] != 0 or self.views[t] != 0:
            return
        owner = t if graph.owner[t] == -1 else graph.owner[t]
        if owner < 0:
            return
        if owner != t:
            self.views[owner] -= 1
            if self.views[owner] != 0 or self.children[owner] != 0:
                return
        if self.held[owner] and not graph.kept[owner]:
            start, grows = self.starts[owner]
            self.arena.give(start, grows, self.sizes[owner], self.growth[owner])
            self.held[owner] = False

    def run(self) -> tuple[int, int, int]:
        """(bytes now, bytes more per step, steps both hold for)."""
        graph = self.graph
        for t in graph.inputs:
            self._own(t)
        for t in graph.order:
            if graph.owner[t] >= 0:
                self.views[graph.owner[t]] += 1
            for source in graph.sources[t]:
                self.children[source] += 1
        for t in graph.order:
            self._own(t)
            for source in graph.sources[t]:
                self._release(source)
        return self.arena.peak, self.arena.peak_grows, self.reach.steps


@final
class ComputeByLength:
    """Compute buffer of one model with `sequences` sequences, by cells per stream.

    Of a `card` with all layers, or with `layers` and `copies` of its inputs (memory.compute_bytes).
    """

    __slots__ = ("cache", "card", "copies", "evaluated", "kv_type", "layers", "sequences", "spec")

    def __init__(
        self,
        spec: ModelSpec,
        sequences: int,
        kv_type: str,
        *,
        card: bool = False,
        layers: tuple[int, int] = WHOLE,
        copies: int = 1,
    ) -> None:
        self.card = card
        self.layers = layers
        self.copies = copies
        self.spec = spec
        self.sequences = sequences
        self.kv_type = kv_type
        self.cache: CacheGroups = cache_groups(spec)
        self.evaluated = 0

    def _graph(self, step: int) -> Graph:
        self.evaluated += 1
        batch = micro_batch_of(self.cache, self._shape(step), SERVER)
        batch.card, batch.copies = self.card, self.copies
        model = self.cache.graph_model
        low, high = self.layers
        return compute_graph(model, batch, model.stretch(low, min(high, len(model.every) + 1)))

    def _shape(self, step: int) -> ContextShape:
        return ContextShape(context=step * CELL_PAD, sequences=self.sequences, kv_type=self.kv_type)

    def _bends(self) -> list[int]:
        """Steps at which a window stops growing, longest first; other bends are searched for."""
        windows = {group.window for group in self.cache.groups if group.window > 0}
        return [
            (window + MICRO_BATCH + CELL_PAD - 1) // CELL_PAD
            for window in sorted(windows, reverse=True)
        ]

    def _growth(self, first: int, last: int) -> tuple[Growth, int]:
        """How sizes grow from `first` on, and the last step up to which they do.

        Sizes stop growing at a bend at the latest or not at all (a minimum of a length and a
        constant), so equal growth at both ends is equal growth between.
        """
        growth = Growth(first, self._graph(first), self._graph(first + 1))
        bends = [bend for bend in self._bends() if first < bend < last]
        while last > first + 1 and not growth.reaches(last, self._graph(last)):
            last = bends.pop() if bends else first + (last - first) // 2
        return growth, max(last, first + 1)

    def table(self, steps: list[int]) -> list[int]:
        """Its bytes at these many times 256 cells, ascending."""
        out: list[int] = []
        while len(out) < len(steps):
            at, left = steps[len(out)], len(steps) - len(out)
            # A first batch smaller than the micro batch grows with the cells in more than one way.
            if left < FEW or at * CELL_PAD * self.sequences < MICRO_BATCH:
                self._alone(at, out)
            else:
                growth, last = self._growth(at, steps[-1])
                self._stretch(steps, growth, last, out)
        return out

    def _alone(self, step: int, out: list[int]) -> None:
        shape = self._shape(step)
        out.append(
            compute_bytes(self.spec, shape, card=self.card, layers=self.layers, copies=self.copies)
        )

    def _stretch(self, steps: list[int], growth: Growth, last: int, out: list[int]) -> None:
        """Appends what comes next, up to the step `last`, within which all sizes are affine."""
        while len(out) < len(steps) and steps[len(out)] <= last:
            at = steps[len(out)]
            if not growth.in_steps:
                self._alone(at, out)
                continue
            size, grows, held = GrowingLayout(growth, at).run()
            end = min(last, at + held)
            while len(out) < len(steps) and steps[len(out)] <= end:
                out.append(size + grows * (steps[len(out)] - at))
