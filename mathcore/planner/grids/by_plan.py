"""Grids of questions whose bytes have no closed form: one plan a cell; and which way a grid goes.

llama.cpp's grids are worked out over arrays (`grids.arrays`) where it starts by itself. Told by its
flags where layers lie or how to compute, or with a model that drafts, and under vLLM, SGLang, TGI,
MLX and Ollama, cells are asked of the planner one by one, at about a millisecond each.
"""

from dataclasses import replace

import numpy as np

from mathcore.device import DeviceSpec
from mathcore.planner.grids import closed
from mathcore.planner.grids.arrays import (
    ENGINE,
    FIT,
    NO_CONTEXT,
    NO_MEMORY,
    TIGHT,
    Grid,
    Length,
    SweepError,
)
from mathcore.planner.grids.closed import cell_count, check_types
from mathcore.planner.grids.timing import MAX_PLANS, cell_query
from mathcore.planner.placing import place
from mathcore.planner.query import Query
from mathcore.planner.refusals import device_refusal
from mathcore.planner.search import Search
from mathcore.quant.families import CACHE_TYPES, FAMILIES

SIXTEEN_BITS = "f16"  # the cache of a grid that names none


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
    if query.flags.places:
        grid.host_needs[i, j] = layout.footprint.host_bytes
        grid.host_spare[i, j] = layout.host_spare_bytes
    grid.cards[i, j] = layout.cards


def sweep(
    base: Query,
    devices: list[DeviceSpec],
    quants: list[str],
    batches: list[int],
    lengths: list[Length],
) -> list[Grid]:
    """A grid for each device and quantisation under the query's engine, llama.cpp if it names none.

    SweepError for a device that does not run it, an unknown type, or too many cells.
    """
    way = closed.sweep if closed.is_closed(base) else sweep_by_plan
    return way(base, devices, quants, batches, lengths)


def sweep_by_plan(
    base: Query,
    devices: list[DeviceSpec],
    quants: list[str],
    batches: list[int],
    lengths: list[Length],
) -> list[Grid]:
    """The same, every cell a plan of its own."""
    base = replace(base, engine=base.engine or ENGINE, kv_type=base.kv_type or SIXTEEN_BITS)
    types = CACHE_TYPES[FAMILIES[base.engine or ENGINE]]
    if base.kv_type not in types:
        text = f"{base.engine} has no cache of {base.kv_type}: {', '.join(types)}"
        raise SweepError("kv_type", text)
    cells = cell_count(batches, lengths, len(devices) * len(quants))
    if cells > MAX_PLANS:
        raise SweepError("cells", f"{cells} plans, {MAX_PLANS} at once under {base.engine}")
    shape = (len(batches), len(lengths))
    out: list[Grid] = []
    for quant in quants:
        check_types(base, quant)
        for device in devices:
            if base.engine not in device.engines:
                raise SweepError(device.name, f"does not run {base.engine}")
            no = device_refusal(base, device)
            if no is not None:
                raise SweepError(device.name, no[1])
            # What flags leave to the host must fit there; of itself nothing is left to it.
            ram = device.ram_free_bytes if base.flags.places else 0
            here = replace(device, ram_free_bytes=ram)
            zeros = np.zeros(shape, np.int64)
            grid = Grid(here, quant, zeros, np.zeros(shape, np.int64), np.ones(shape, np.int64))
            for i, batch in enumerate(batches):
                for j, length in enumerate(lengths):
                    _fill(grid, cell_query(base, quant, batch, length), i, j)
            out.append(grid)
    return out
