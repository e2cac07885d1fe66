"""ggml's graph allocator: the most bytes a graph of tensors holds at once, gaps included.

Follows ggml-alloc.c (llama.cpp 0.5): inputs first, nodes in order of use, best fit among the free
blocks, an operation that can works in its source's place, and a tensor dies with its last reader.
"""

from typing import final

ALIGN = 64  # of a CPU buffer; every tensor starts on it
UNBOUNDED = 1 << 62  # what is left behind the last tensor


def _aligned(size: int) -> int:
    return (size + ALIGN - 1) // ALIGN * ALIGN


@final
class Arena:
    """Free blocks by address; `peak` is the highest byte ever used."""

    __slots__ = ("peak", "sizes", "starts")

    def __init__(self) -> None:
        self.starts: list[int] = [0]
        self.sizes: list[int] = [UNBOUNDED]
        self.peak = 0

    def take(self, size: int) -> int:
        """Where a tensor of `size` goes: the tightest gap, else behind everything."""
        size = _aligned(size)
        last = len(self.starts) - 1
        best, best_size = last, UNBOUNDED
        for i in range(last):
            if size <= self.sizes[i] <= best_size:
                best, best_size = i, self.sizes[i]
        start = self.starts[best]
        self.starts[best] = start + size
        self.sizes[best] -= size
        if self.sizes[best] == 0:
            del self.starts[best]
            del self.sizes[best]
        self.peak = max(self.peak, start + size)
        return start

    def give(self, start: int, size: int) -> None:
        """Frees a block and joins it with its free neighbours."""
        size = _aligned(size)
        if size == 0:
            return
        at = 0
        while at < len(self.starts) and self.starts[at] < start:
            at += 1
        self.starts.insert(at, start)
        self.sizes.insert(at, size)
        self._join(at)
        if at > 0:
            self._join(at - 1)

    def _join(self, at: int) -> None:
        if at + 1 < len(self.starts) and self.starts[at] + self.sizes[at] == self.starts[at + 1]:
            self.sizes[at] += self.sizes[at + 1]
            del self.starts[at + 1]
            del self.sizes[at + 1]


@final
class Graph:
    """Tensors by number, weights left out (they have a buffer of their own).

    `inputs` live from the start; `order` is how the engine computes: a tensor follows all it reads.
    """

    __slots__ = (
        "always",
        "children",
        "done",
        "held",
        "inputs",
        "is_leaf",
        "kept",
        "layout",
        "listed",
        "order",
        "owner",
        "reuses",
        "size",
        "sources",
        "staged",
        "start",
        "until",
        "views",
    )

    def __init__(self) -> None:
        self.size: list[int] = []
        self.layout: list[int] = []  # equal for tensors one may overwrite the other; 0 = never
        self.owner: list[int] = []  # whose memory a view shows; -1 = its own, -2 = a weight's
        self.sources: list[list[int]] = []
        self.reuses: list[bool] = []
        self.kept: list[bool] = []  # an output, or an input nobody reads
        self.done: list[bool] = []
        self.is_leaf: list[bool] = []
        self.order: list[int] = []
        self.inputs: list[int] = []
        self.start: list[int] = []
        self.held: list[bool] = []
        self.children: list[int] = []
        self.views: list[int] = []
        self.listed: list[bool] = []  # inputs that a split has
        self.staged: dict[int, list[int]] = {}  # bytes a result reads that lie on another device
        self.until: dict[int, int] = {}  # what frees a result's copies, where not the result itself
        self.always: list[int] = []  # there from the start to the end, read or not

    def _new(
        self, size: int, sources: list[int], layout: int, owner: int, *, reuses: bool = False
    ) -> int:
        self.size.append(size)
        self.layout.append(layout)
        self.owner.append(owner)
        self.sources.append(sources)
        self.reuses.append(reuses)
        self.kept.append(False)
        self.done.append(False)
        self.is_leaf.append(False)
        self.start.append(0)
        self.held.append(False)
        self.children.append(0)
        self.listed.append(False)
        self.views.append(0)
        return len(self.size) - 1

    def leaf(self, size: int, *, kept: bool = False) -> int:
        """An input the program fills in before the graph runs."""
        t = self._new(size, [], size, -1)
        self.kept[t] = kept
        self.is_leaf[t] = True
        return t

    def node(self, size: int, sources: list[int]) -> int:
        """A result in memory of its own."""
        return self._new(size, sources, size, -1)

    def over(self, size: int, sources: list[int]) -> int:
        """A result that takes a source's place when nobody else needs it."""
        return self._new(size, sources, size, -1, reuses=True)

    def view(self, of: int, size: int = 0) -> int:
        """A reshape of the whole tensor, or with `size` a part or another order of it."""
        owner = self.owner[of] if self.owner[of] != -1 else of
        if size == 0:
            return self._new(self.size[of], [of], self.layout[of], owner)
        return self._new(size, [of], 0, owner)

    def view_of(self, of: int, sources: list[int]) -> int:
        """A write into `of` that yields it again, after `sources`."""
        owner = self.owner[of] if self.owner[of] != -1 else of
        return self._new(self.size[of], sources, 0, owner)

    def sink(self, sources: list[int]) -> int:
        """Writes into a weight or a cache; no memory."""
        return self._new(0, sources, 0, -2)

    def stage(self, t: int, size: int) -> None:
        """Notes that `t` reads `size` bytes of another device: copied here while it is computed."""
        if size > 0:
            self.staged.setdefault(t, []).append(size)

    def expand(self, t: int) -> None:
        """Puts a tensor into the order of use, after what it reads."""
        if self.done[t]:
            return
        self.done[t] = True
        for source in self.sources[t]:
            self.expand(source)
        if self.is_leaf[t]:
            self.inputs.append(t)
        else:
            self.order.append(t)

    def copy_inputs(self, copies: int) -> None:
        """Keeps every input that is read, so many of each: as many batches are on their way."""
        for t in list(self.inputs):
            if not self.kept[t]:
                self.kept[t] = True
                self.inputs += [self.leaf(self.size[t], kept=True) for _ in range(copies - 1)]

    def _split(self) -> None:
        """Orders the graph as ggml_backend_sched splits it between this device and the host.

        A split's inputs come before it: weights and rows copied here, and what the program fills in
        that no split had before. A new one begins where the device changes, and at a weight to be
        copied, so that the place of the last one can be used again.
        """
        out: list[int] = []
        nodes: list[int] = []
        inputs: list[int] = []
        here = False
        for t in self.order:
            if self.owner[t] >= 0:
                nodes.append(t)
                continue
            sizes, on_card = self.staged.get(t, []), self.owner[t] == -1
            if on_card != here or (sizes and inputs):
                out += inputs + nodes
                nodes, inputs, here = [], [], on_card
            if on_card:
                self._copy_here(t, sizes, inputs)
            nodes.append(t)
        self.order, self.inputs = self.always + out + inputs + nodes, []

    def _copy_here(self, t: int, sizes: list[int], inputs: list[int]) -> None:
        """Adds to a split's inputs what `t` reads and no split had before."""
        leaves = [source for source in self.sources[t] if self.is_leaf[source]]
        for size in sizes:
            copy = self._new(size, [], 0, -1)
            inputs.append(copy)
            end = self.until.get(t, t)
            self.sources[end] = [*self.sources[end], copy]
        for leaf in leaves:
            if not self.listed[leaf]:
                self.listed[leaf] = True
                inputs.append(leaf)

    def _own(self, t: int, arena: Arena) -> None:
        """Gives a tensor memory, where possible that of a source."""
        if self.held[t] or self.owner[t] != -1:
            return
        self.held[t] = True
        if self.reuses[t]:
            for p in self.sources[t]:
                # A view has no memory of its own to hand on.
                if self.owner[p] != -1 or self.kept[p] or self.layout[p] != self.layout[t]:
                    continue
                if self.children[p] == 1 and self.views[p] == 0:
                    self.start[t] = self.start[p]
                    self.held[p] = False
                    return
        self.start[t] = arena.take(self.size[t])

    def _release(self, t: int, arena: Arena) -> None:
        """One reader less; the last one frees the memory."""
        self.children[t] -= 1
        if self.children[t] != 0 or self.views[t] != 0:
            return
        owner = self.owner[t]
        if owner == -1:
            owner = t
        elif owner >= 0:
            self.views[owner] -= 1
            if self.views[owner] != 0 or self.children[owner] != 0:
                return
        else:
            return
        if self.held[owner] and not self.kept[owner]:
            arena.give(self.start[owner], self.size[owner])
            self.held[owner] = False

    def peak_bytes(self) -> int:
        """Size of the buffer the engine reserves; call once, it uses the graph up."""
        arena = Arena()
        if self.staged:
            self._split()
        for t in self.inputs:
            self._own(t, arena)
        for t in self.order:
            if self.owner[t] >= 0:
                self.views[self.owner[t]] += 1
            for source in self.sources[t]:
                self.children[source] += 1
        for t in self.order:
            self._own(t, arena)
            for source in self.sources[t]:
                self._release(source, arena)
        return arena.peak
