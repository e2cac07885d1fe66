"""The times of a grid's cells: the planner asked about few cells of each kind."""

from dataclasses import replace
from typing import final

import numpy as np

from mathcore.device import DeviceSpec
from mathcore.planner.answer import Placement
from mathcore.planner.grids.arrays import TIGHT, Cells, Grid, Length, Sizes, SweepError
from mathcore.planner.placing import place
from mathcore.planner.query import NO_LIMITS, Query

# Answers asked of the planner one by one, at about a millisecond each, before we call it a fault.
MAX_PLANS = 20_000


def cell_query(base: Query, quant: str, batch: int, length: Length) -> Query:
    """The planner's question of one cell, of whatever engine the base names."""
    return replace(
        base.resized(batch, length.context),
        quant=quant,
        prompt_tokens=length.prompt_tokens,
        tokens=length.tokens,
        limits=NO_LIMITS,
        on=None,
        sets=False,
    )


def _alike(a: Placement, b: Placement) -> bool:
    return (
        a.duration_ms == b.duration_ms
        and a.tokens_per_s == b.tokens_per_s
        and a.cost_nusd == b.cost_nusd
        and a.ttft_ms == b.ttft_ms
    )


@final
class Timing:
    """Fills in a grid's times: the planner asked about few cells of each kind."""

    __slots__ = ("asked", "base", "device", "grid", "sizes", "varied")

    def __init__(self, base: Query, device: DeviceSpec, sizes: Sizes, grid: Grid) -> None:
        self.base = base
        self.device = device
        self.sizes = sizes
        self.grid = grid
        self.asked = 0
        self.varied = False  # whether the length matters after all: then every cell is asked about

    def ask(self, i: int, j: int) -> Placement:
        self.asked += 1
        if self.asked > MAX_PLANS:
            raise SweepError("context", f"needs more than {MAX_PLANS} plans: ask for fewer cells")
        sizes = self.sizes
        query = cell_query(self.base, self.grid.quant, sizes.batches[i], sizes.lengths[j])
        return place(query, [self.device], {}).placements[0]

    def run(self) -> None:
        classes: dict[tuple[int, int], int] = {}
        kinds = np.array(
            [
                classes.setdefault((length.prompt_tokens, length.tokens), len(classes))
                for length in self.sizes.lengths
            ],
            np.int64,
        )
        for i in range(len(self.sizes.batches)):
            fits = np.flatnonzero(self.grid.verdicts[i] <= TIGHT)
            keys = (self.grid.cards[i] * len(classes) + kinds)[fits]
            for key in np.unique(keys):
                self._group(i, fits[keys == key])

    def _group(self, i: int, members: Cells) -> None:
        """Cells that differ in their length only."""
        first = self.ask(i, int(members[0]))
        # The fewest sequences stand for the rest.
        if i == 0 and not self.varied and len(members) > 1:
            self.varied = not _alike(first, self.ask(i, int(members[-1])))
        if not self.varied:
            self.grid.times[i, members] = self._keep(first)
            return
        for j in members:
            self.grid.times[i, j] = self._keep(self.ask(i, int(j)))

    def _keep(self, placed: Placement) -> int:
        self.grid.placements.append(placed)
        return len(self.grid.placements) - 1
