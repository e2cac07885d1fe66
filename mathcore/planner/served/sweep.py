"""Grids of questions for the engines whose bytes have no closed form here: one plan a cell.

llama.cpp's grids are worked out over arrays (`planner.sweep`); vLLM's, SGLang's, TGI's, MLX's and
Ollama's cells are asked of the planner one by one, at about a millisecond each.
"""

from dataclasses import replace

import numpy as np

from mathcore.device import DeviceSpec
from mathcore.planner.placing import place
from mathcore.planner.query import NO_LIMITS, Query
from mathcore.planner.refusals import query_refusal
from mathcore.planner.search import Search
from mathcore.planner.sweep import (
    FIT,
    MAX_PLANS,
    NO_CONTEXT,
    NO_MEMORY,
    TIGHT,
    Grid,
    Length,
    SweepError,
    cell_count,
)


def _query(base: Query, quant: str, batch: int, length: Length) -> Query:
    return replace(
        base,
        quant=quant,
        batch=batch,
        context=length.context,
        prompt_tokens=length.prompt_tokens,
        tokens=length.tokens,
        limits=NO_LIMITS,
        on=None,
        sets=False,
    )


def _fill(grid: Grid, query: Query, i: int, j: int) -> None:
    """One cell: the plan's own answer, or the layout that misses by least."""
    asked = query.prompt_tokens + query.tokens
    if asked > query.context or 0 < query.longest < query.context:
        grid.verdicts[i, j] = NO_CONTEXT
        return
    found = place(query, [grid.device], {}).placements
    if found:
        layout = found[0].layout
        grid.verdicts[i, j] = FIT if found[0].fit == "fit" else TIGHT
        grid.times[i, j] = len(grid.placements)
        grid.placements.append(found[0])
    else:
        near = Search(query, {}).answers(grid.device).nearest
        grid.verdicts[i, j] = NO_MEMORY
        if near is None:
            return
        layout = near
    grid.needs[i, j] = layout.footprint.total_bytes
    grid.spare[i, j] = layout.spare_bytes
    grid.cards[i, j] = layout.cards


def served_sweep(
    base: Query,
    devices: list[DeviceSpec],
    quants: list[str],
    batches: list[int],
    lengths: list[Length],
) -> list[Grid]:
    """A grid for each device and quantisation under the query's engine, in their order.

    SweepError for a device that does not run it, an unknown type, or too many cells.
    """
    cells = cell_count(batches, lengths, len(devices) * len(quants))
    if cells > MAX_PLANS:
        raise SweepError("cells", f"{cells} plans, {MAX_PLANS} at once under {base.engine}")
    shape = (len(batches), len(lengths))
    out: list[Grid] = []
    for quant in quants:
        no = query_refusal(_query(base, quant, 1, Length(context=2, prompt_tokens=1, tokens=1)))
        if no is not None:
            raise SweepError("quant", no[1])
        for device in devices:
            if base.engine not in device.engines:
                raise SweepError(device.name, f"does not run {base.engine}")
            here = replace(device, ram_free_bytes=0)
            zeros = np.zeros(shape, np.int64)
            grid = Grid(here, quant, zeros, np.zeros(shape, np.int64), np.ones(shape, np.int64))
            for i, batch in enumerate(batches):
                for j, length in enumerate(lengths):
                    _fill(grid, _query(base, quant, batch, length), i, j)
            out.append(grid)
    return out
