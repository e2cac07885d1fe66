"""Whole grids of questions at once: batch x context on one device, equal to the planner's answers.

Bytes are worked out over arrays: cells and cache in closed form, compute buffers from
`compute_by_length`. Times come from the planner itself, once per number of sequences, cards, and
lengths of prompt and answer: it takes no notice of how long a context may become beyond what is
written into it (checked at both ends of every grid). A speed that belongs to a context is asked
with a prompt that fills it (`Length`), each such length a plan of its own.
Models lie wholly on the accelerators; what a plan would keep in RAM counts as not fitting.
"""

from dataclasses import dataclass
from typing import TypeAlias, final

import numpy as np
import numpy.typing as npt

from mathcore.device import DeviceKind, DeviceSpec
from mathcore.engines.footprint import (
    CPU_OVERHEAD_BYTES,
    NOTHING,
    Beside,
    ContextShape,
)
from mathcore.engines.llamacpp.cache import CELL_PAD, kv_bytes, layer_cache_bytes, state_bytes
from mathcore.engines.llamacpp.compute_by_length import ComputeByLength, alike
from mathcore.engines.llamacpp.device.backends import backend_bytes
from mathcore.engines.llamacpp.memory import (
    PIPELINE_COPIES,
    WHOLE,
    cache_groups,
    output_bytes,
)
from mathcore.engines.llamacpp.offload import ALL_LAYERS, Sums, bounds_of
from mathcore.model.spec import ModelSpec
from mathcore.planner.answer import Fit, Placement
from mathcore.planner.layouts import backend_of
from mathcore.planner.limits import kept_bytes
from mathcore.planner.refusals import RefusalCode
from mathcore.quant.weights import Weights
from mathcore.units import MAX_BYTES

Cells: TypeAlias = npt.NDArray[np.int64]

FIT, TIGHT, NO_MEMORY, NO_CONTEXT = 0, 1, 2, 3
VERDICTS: tuple[Fit | RefusalCode, ...] = ("fit", "tight", "NoFit(mem)", "NoFit(ctx)")
ENGINE = "llama.cpp"
# A million cells are what a second's work covers; each takes some 60 bytes while it is worked on.
MAX_CELLS = 2_000_000


class SweepError(Exception):
    """A grid that cannot be filled: `field` names what was asked for, `text` says why not."""

    def __init__(self, field: str, text: str) -> None:
        super().__init__(f"{field}: {text}")
        self.field = field
        self.text = text


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Length:
    """A context, and how many tokens are prompt and answer: NoFit(ctx) where it holds fewer."""

    context: int
    prompt_tokens: int
    tokens: int


@final
class Grid:
    """One device and quantisation: arrays of [batch, context], and the times they point to.

    `times` is -1 where nothing fits, else the place in `placements` of the planner's own answer
    for the same rates, durations and cost.
    """

    __slots__ = (
        "cards",
        "device",
        "host_needs",
        "host_spare",
        "needs",
        "placements",
        "quant",
        "spare",
        "times",
        "verdicts",
    )

    def __init__(self, device: DeviceSpec, quant: str, needs: Cells, spare: Cells, cards: Cells):
        self.device = device
        self.quant = quant
        self.needs = needs  # bytes over all cards
        self.spare = spare  # bytes left on the fullest card, below 0 missing
        self.cards = cards
        self.host_needs: Cells = np.zeros(needs.shape, np.int64)  # in RAM, where flags leave it
        self.host_spare: Cells = np.zeros(needs.shape, np.int64)  # below 0 missing there
        self.verdicts: Cells = np.zeros(needs.shape, np.int64)
        self.times: Cells = np.full(needs.shape, -1, np.int64)
        self.placements: list[Placement] = []

    def missing(self) -> Cells:
        """Bytes cells lack on all their cards, or where those have room in RAM; 0 where it fits."""
        on_host = np.maximum(0, -self.host_spare)
        found: Cells = np.where(self.spare < 0, -self.spare * self.cards, on_host)
        return found


@final
class Sizes:
    """What does not depend on device or quantisation: cache, states, compute buffer and logits."""

    __slots__ = (
        "batches",
        "beside",
        "cells",
        "computes",
        "distinct",
        "index",
        "kv",
        "kv_type",
        "lengths",
        "logits",
        "spec",
        "state",
    )

    def __init__(
        self,
        spec: ModelSpec,
        kv_type: str,
        batches: list[int],
        lengths: list[Length],
        beside: Beside = NOTHING,
    ) -> None:
        self.beside = beside
        self.spec = spec
        self.kv_type = kv_type
        self.batches = batches
        self.lengths = lengths
        contexts = np.array([length.context for length in lengths], np.int64)
        sequences = np.array(batches, np.int64).reshape(len(batches), 1)
        whole = _padded(contexts * sequences)
        self.cells: Cells = _padded(whole // sequences)
        steps = self.cells // CELL_PAD
        self.distinct: Cells = np.unique(steps)
        self.index: Cells = np.asarray(np.searchsorted(self.distinct, steps), np.int64)
        cache = cache_groups(spec)
        each = [kv_bytes(cache, self.shape(int(step) * CELL_PAD)) for step in self.distinct]
        if max(each) * max(batches) > MAX_BYTES:
            raise SweepError("context", "this many sequences this long need more than any machine")
        self.kv: Cells = np.array(each, np.int64)[self.index] * sequences
        self.state: Cells = sequences * state_bytes(cache, self.shape(1))
        self.logits: Cells = sequences * output_bytes(spec, self.shape(1))
        self.computes: dict[tuple[object, ...], Cells] = {}

    def compute(self, kind: DeviceKind, layers: tuple[int, int] = WHOLE, copies: int = 1) -> Cells:
        """The compute buffer of each cell on a kind of device, or on one of several cards."""
        model = cache_groups(self.spec).graph_model
        part = model.stretch(layers[0], min(layers[1], len(model.every) + 1))
        key = (kind == "cpu", part.key, copies)
        found = self.computes.get(key)
        if found is None:
            found = self._compute(layers, copies, card=kind != "cpu")
            self.computes[key] = found
        return found

    def _compute(self, layers: tuple[int, int], copies: int, *, card: bool) -> Cells:
        steps = self.cells // CELL_PAD
        found: Cells = np.zeros(steps.shape, np.int64)
        groups: dict[tuple[int, int], ComputeByLength] = {}
        for i, count in enumerate(self.batches):
            own, where = np.unique(steps[i], return_inverse=True)
            key = least, most = alike(count)
            if key not in groups:
                groups[key] = ComputeByLength(
                    self.spec,
                    least,
                    self.kv_type,
                    card=card,
                    layers=layers,
                    copies=copies,
                    most=most,
                )
            table = groups[key].table([int(step) for step in own], count)
            found[i] = np.array(table, np.int64)[where]
        return found

    def shape(self, context: int, sequences: int = 1) -> ContextShape:
        return ContextShape(
            context=context, sequences=sequences, kv_type=self.kv_type, beside=self.beside
        )

    def layer_caches(self) -> Cells:
        """Bytes of [distinct cells, layer] for one sequence, its state included."""
        cache = cache_groups(self.spec)
        rows = [
            layer_cache_bytes(cache, self.shape(int(step) * CELL_PAD)) for step in self.distinct
        ]
        found: Cells = np.array(rows, np.int64)
        return found


def _padded(tokens: Cells) -> Cells:
    found: Cells = (tokens + (CELL_PAD - 1)) // CELL_PAD * CELL_PAD
    return found


def _single(sizes: Sizes, weights: Weights, kind: DeviceKind, overhead: int) -> Cells:
    """Bytes of one device that holds everything (llamacpp.memory.footprint)."""
    if kind == "cpu":
        beside = sizes.logits + (weights.total_bytes + CPU_OVERHEAD_BYTES)
    else:
        beside = np.array(weights.device_bytes + overhead, np.int64)
    held = beside + sizes.beside.total_bytes
    found: Cells = sizes.kv + sizes.state + sizes.compute(kind) + held
    return found


def _shared(sizes: Sizes, sums: Sums, cards: int, overhead: int) -> tuple[Cells, Cells]:
    """(bytes of all cards, of the fullest) with the layers dealt out evenly (llamacpp.offload)."""
    bounds = bounds_of(sums.layers, ALL_LAYERS, (1,) * cards)
    caches = sizes.layer_caches()
    sequences = np.array(sizes.batches, np.int64).reshape(len(sizes.batches), 1)
    total: Cells = np.zeros(sizes.cells.shape, np.int64)
    fullest: Cells = np.zeros(sizes.cells.shape, np.int64)
    for low, high in zip(bounds, bounds[1:], strict=False):
        if low == high:
            continue
        last = min(high, sums.layers)
        held = sums.on_card(low, high, 0, overhead) - sums.caches[last] + sums.caches[low]
        load: Cells = caches[:, low:last].sum(axis=1)[sizes.index] * sequences + held
        load = load + sizes.compute("gpu", sums.in_graph(low, high), PIPELINE_COPIES)
        total = total + load
        fullest = np.maximum(fullest, load)
    return total, fullest


def laid_out(
    sizes: Sizes, weights: Weights, device: DeviceSpec, quant: str, built_for: str
) -> Grid:
    """On as few cards as hold it, as `layouts.DeviceFit` tries them."""
    free = device.free_bytes
    overhead = backend_bytes(sizes.spec, quant, backend_of(device, built_for))
    needs = _single(sizes, weights, device.kind, overhead)
    sums = Sums(sizes.spec, weights, sizes.shape(1))
    grid = Grid(device, quant, needs, free - needs, np.ones(needs.shape, np.int64))
    start: Cells = needs // max(1, free) + 1
    open_cells = grid.spare < 0
    cards = 2
    while cards <= device.count and bool(open_cells.any()):
        total, fullest = _shared(sizes, sums, cards, overhead)
        tried = open_cells & (np.minimum(start, device.count) <= cards)
        grid.needs = np.where(tried, total, grid.needs)
        grid.spare = np.where(tried, free - fullest, grid.spare)
        grid.cards = np.where(tried, cards, grid.cards)
        open_cells = open_cells & ~(tried & (grid.spare >= 0))
        cards += 1
    tight = np.where(grid.spare >= kept_bytes(device), FIT, TIGHT)
    grid.verdicts = np.where(grid.spare >= 0, tight, NO_MEMORY)
    return grid
