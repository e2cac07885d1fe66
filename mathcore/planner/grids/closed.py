"""A sweep in closed form: what llama.cpp starts by itself needs no plan for each cell."""

from dataclasses import replace

from mathcore.device import DeviceSpec
from mathcore.engines.flags import DEFAULTS, reads_at_once
from mathcore.planner.grids.arrays import (
    ENGINE,
    MAX_CELLS,
    NO_CONTEXT,
    Grid,
    Length,
    Sizes,
    SweepError,
    laid_out,
)
from mathcore.planner.grids.timing import Timing, cell_query
from mathcore.planner.query import Query
from mathcore.planner.refusals import NO_QUANT, device_refusal, query_refusal
from mathcore.quant.weights import Weights, weigh


def is_closed(base: Query) -> bool:
    """Whether a grid's bytes have a closed form here: llama.cpp's as it starts by itself."""
    asked = replace(base.flags, backend="")
    return (
        base.engine in (None, ENGINE)
        and asked == DEFAULTS
        and base.draft is None
        and not reads_at_once(base.model)
    )


def cell_count(batches: list[int], lengths: list[Length], grids: int) -> int:
    """Cells of a sweep; SweepError when they are too many, too few or do not ascend."""
    count = len(batches) * len(lengths) * grids
    if not 0 < count <= MAX_CELLS:
        raise SweepError("cells", f"{count} cells, 1 to {MAX_CELLS} at once")
    if min(batches) < 1 or min([length.context for length in lengths]) < 1:
        raise SweepError("cells", "batch and context must be at least 1")
    return count


def check_types(base: Query, quant: str) -> None:
    """SweepError for a quantisation or a cache type that no cell could have."""
    shortest = Length(context=2, prompt_tokens=1, tokens=1)
    no = query_refusal(cell_query(base, quant, 1, shortest))
    if no is not None:
        raise SweepError("quant" if no[0] == NO_QUANT else "kv_type", no[1])


def sweep(
    base: Query,
    devices: list[DeviceSpec],
    quants: list[str],
    batches: list[int],
    lengths: list[Length],
) -> list[Grid]:
    """A grid for each device and quantisation, in their order; the base's shape is ignored.

    The base must be one that `is_closed`. SweepError for what no device could do: an unknown
    quantisation or cache type, too many cells.
    """
    cell_count(batches, lengths, len(devices) * len(quants))
    kv_type = base.kv_type or "f16"
    base = replace(base, engine=ENGINE, kv_type=kv_type)
    for quant in quants:
        check_types(base, quant)
    sizes = Sizes(base.model, kv_type, batches, lengths, base.beside)
    out: list[Grid] = []
    for quant in quants:
        weights = weigh(base.model, quant)
        # In RAM beside the cards a model is another question, which a plan answers.
        out += [
            _grid(base, replace(device, ram_free_bytes=0), quant, sizes, weights)
            for device in devices
        ]
    return out


def _grid(base: Query, device: DeviceSpec, quant: str, sizes: Sizes, weights: Weights) -> Grid:
    shortest = cell_query(base, quant, 1, sizes.lengths[0])
    no = device_refusal(shortest, device)
    if no is not None:
        raise SweepError(device.name, no[1])
    grid = laid_out(sizes, weights, device, quant, base.flags.backend)
    trained = base.longest
    for j, length in enumerate(sizes.lengths):
        asked = length.prompt_tokens + length.tokens
        if asked > length.context or 0 < trained < length.context:
            grid.verdicts[:, j] = NO_CONTEXT
    Timing(base, device, sizes, grid).run()
    return grid
