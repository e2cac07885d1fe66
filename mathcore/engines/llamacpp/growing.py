"""How llama.cpp's compute buffer is laid out while the context grows: exact, in one layout.

Its size is no convex function of the cells: best fit jumps where a tensor starts or stops fitting
a gap. But every size in the graph is affine in the cells between a few known bends, and so is what
the allocator compares; as long as each comparison comes out the same, so does the buffer's layout.
So one run of the `allocator` on affine sizes tells the buffer's size and slope, and up
to which length they hold.
"""

from typing import final

from mathcore.engines.llamacpp.allocator import ALIGN, UNBOUNDED, Graph

FOREVER = 1 << 40


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

    def copied(self, reach: Reach) -> "GrowingArena":
        """The same for a layout that goes on by itself."""
        out = GrowingArena(reach)
        out.starts, out.start_grow = list(self.starts), list(self.start_grow)
        out.sizes, out.grow = list(self.sizes), list(self.grow)
        out.peak, out.peak_grows = self.peak, self.peak_grows
        return out

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

    __slots__ = ("first", "graph", "grows", "in_steps", "layouts", "layouts_grow", "raw", "sizes")

    def __init__(
        self,
        first: int,
        graph: Graph,
        raw: list[int],
        grows: list[int],
        layouts: list[int],
        layouts_grow: list[int],
    ) -> None:
        self.first = first
        self.graph = graph
        self.raw = raw
        self.sizes = [(size + ALIGN - 1) // ALIGN * ALIGN for size in raw]
        self.grows = grows
        self.layouts = layouts
        self.layouts_grow = layouts_grow
        # Whether rounding up to the alignment keeps every growth as it is.
        self.in_steps = all([size % ALIGN == 0 for size in grows])

    def reaches(self, step: int, graph: Graph) -> bool:
        """Whether the sizes at `step` are what growing so far makes them."""
        steps, now, far = step - self.first, self.raw, graph.size
        return len(far) == len(now) and all(
            [far[i] - now[i] == self.grows[i] * steps for i in range(len(now))]
        )


def growth_of(first: int, now: Graph, then: Graph) -> Growth:
    """From the graphs at `first` and one step on."""
    grows, layouts_grow = _less(then.size, now.size), _less(then.layout, now.layout)
    return Growth(first, now, now.size, grows, now.layout, layouts_grow)


def _less(a: list[int], b: list[int]) -> list[int]:
    return [a[i] - b[i] for i in range(len(b))]


@final
class GrowingLayout:
    """allocator.Graph.peak_bytes at the step `at` of a growing graph."""

    __slots__ = (
        "arena",
        "children",
        "graph",
        "held",
        "kind",
        "reach",
        "starts",
        "steps",
        "views",
    )

    def __init__(self, kind: Growth, at: int) -> None:
        count = len(kind.sizes)
        self.graph = kind.graph
        self.kind = kind
        self.steps = at - kind.first
        self.reach = Reach()
        self.arena = GrowingArena(self.reach)
        self.starts: list[tuple[int, int]] = [(0, 0)] * count
        self.held = [False] * count
        self.children = [0] * count
        self.views = [0] * count

    def _size(self, t: int) -> int:
        return self.kind.sizes[t] + self.kind.grows[t] * self.steps

    def _same_layout(self, a: int, b: int) -> bool:
        now, grow, steps = self.kind.layouts, self.kind.layouts_grow, self.steps
        one, other = now[a] + grow[a] * steps, now[b] + grow[b] * steps
        return self.reach.equal(one, grow[a], other, grow[b])

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
        self.starts[t] = self.arena.take(self._size(t), self.kind.grows[t])

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
            self.arena.give(start, grows, self._size(owner), self.kind.grows[owner])
            self.held[owner] = False

    def start(self) -> None:
        """Gives inputs their memory, and counts who reads what."""
        graph = self.graph
        for t in graph.inputs:
            self._own(t)
        for t in graph.order:
            if graph.owner[t] >= 0:
                self.views[graph.owner[t]] += 1
            for source in graph.sources[t]:
                self.children[source] += 1

    def go(self, low: int, high: int) -> None:
        """Computes what stands at `low` to `high` in the graph's order."""
        graph = self.graph
        for at in range(low, high):
            t = graph.order[at]
            self._own(t)
            for source in graph.sources[t]:
                self._release(source)

    def run(self) -> tuple[int, int, int]:
        """(bytes now, bytes more per step, steps both hold for)."""
        self.start()
        self.go(0, len(self.graph.order))
        return self.found()

    def found(self) -> tuple[int, int, int]:
        """(bytes now, bytes more per step, steps both hold for) of all so far."""
        return self.arena.peak, self.arena.peak_grows, self.reach.steps

    def take_over(self, other: "GrowingLayout") -> None:
        """Goes on from where another one, so far the same, has come to."""
        self.reach.steps = other.reach.steps
        self.arena = other.arena.copied(self.reach)
        self.starts, self.held = list(other.starts), list(other.held)
        self.children, self.views = list(other.children), list(other.views)
