"""Grids of questions: the request, its axes, and the rows of every device's grid."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, final

from mathcore.device import DeviceSpec
from mathcore.model.spec import SpecError
from mathcore.planner.query import Query
from mathcore.planner.refusals import question_notes
from mathcore.quant.ladder import usual_file
from mesh.api.fields import refuse
from mesh.api.most import Axes, Row, parse_sweep
from mesh.api.numbers import parse_numbers
from mesh.api.requests import PlanRequest, lengths
from mesh.edge.planning import as_told, asked_devices, query_of
from mesh.state.state import State

if TYPE_CHECKING:
    from mathcore.planner.grids.arrays import Grid, Length

# Weights a sweep is about where nobody names a type, of engines that read no GGUF.
USUAL_QUANT: Final = {
    "vllm": "HF-BF16",
    "sglang": "HF-BF16",
    "tgi": "HF-BF16",
    "mlx": "MLX-4bit",
}
DEFAULT_CONTEXT: Final = "2k..128k"
# Cells whose speeds are asked for one by one, at about a millisecond each.
MAX_FILLED: Final = 1024
# Cells of one answer over HTTP: some 500 bytes each, and a second or two of work.
MAX_SENT: Final = 4096
HELP: Final = "fleet sweep --help"
FIELDS: Final = (
    "device",
    "quant",
    "batch",
    "context",
    "prompt_tokens",
    "tokens",
    "verdict",
    "cards",
    "needs_bytes",
    "free_bytes",
    "missing_bytes",
    "tokens_per_s_p10",
    "tokens_per_s_p50",
    "tokens_per_s_p90",
    "duration_ms_p10",
    "duration_ms_p50",
    "duration_ms_p90",
    "cost_nusd_p10",
    "cost_nusd_p50",
    "cost_nusd_p90",
    "host_bytes",
)
TIMED: Final = FIELDS[11:-1]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Swept:
    """The grids, their axes, and what is counted, assumed or left out in all of them."""

    grids: "list[Grid]"
    batches: list[int]
    lengths: "list[Length]"
    notes: tuple[str, ...]


def sweep_of(
    state: Callable[[], State],
    request: PlanRequest,
    axes: Axes,
    named: Sequence[str] = (),
    live: Sequence[DeviceSpec] = (),
    most: int = 0,
    now: int = 0,
) -> Swept:
    """A grid for every device and type; RequestError for axes or flags that cannot be.

    `most` bounds the cells, 0 = as many as the planner takes; devices cost what they do `now`.
    """
    try:
        from mathcore.planner.grids.arrays import SweepError
        from mathcore.planner.grids.by_plan import sweep
    except ImportError:
        refuse("a sweep needs numpy, which is not installed", "pip install numpy")
    batches = parse_numbers(axes.batch, "--batch")
    base, counted = query_of(request)
    asked = _lengths(base, axes, len(batches))
    devices, notes = asked_devices(state, request, named, (base.engine or "",), live, now)
    told, assumed = as_told(base, {one.device_id: one for one in devices})
    quants = list(axes.quants) or [_usual(base)]
    cells = len(batches) * len(asked) * len(quants) * len(told)
    if 0 < most < cells:
        refuse(f"cells: {cells} at once, {most} at most", "larger steps")
    try:
        grids = sweep(base, list(told.values()), quants, batches, asked)
    except (SpecError, SweepError) as error:
        refuse(f"{error.field}: {error.text}", HELP)
    longest = base.resized(1, max(length.context for length in asked))
    said = (*notes, *question_notes(longest), *counted, *assumed)
    return Swept(grids=grids, batches=batches, lengths=asked, notes=said)


def _lengths(base: Query, axes: Axes, batches: int) -> "list[Length]":
    """The contexts, with the prompt and answer of each."""
    from mathcore.planner.grids.arrays import Length

    contexts = parse_numbers(axes.context or DEFAULT_CONTEXT, "--context")
    if not axes.context and base.longest:
        contexts = [number for number in contexts if number <= base.longest] or [base.longest]
    # Every length of prompt is a question of its own, so a large field takes the usual prompt.
    fills = axes.prompt_tokens is None and len(contexts) * batches <= MAX_FILLED
    out = []
    for context in contexts:
        prompt, tokens = lengths(axes.prompt_tokens, axes.tokens, context)
        prompt = max(1, context - tokens) if fills else prompt
        out.append(Length(context=context, prompt_tokens=prompt, tokens=tokens))
    return out


def _usual(base: Query) -> str:
    """The type a sweep is about where nobody names one."""
    return base.model.quant or USUAL_QUANT.get(base.engine or "", "") or usual_file(base.model)


def rows_of(swept: Swept) -> Iterator[Row]:
    """One flat row per cell, in the order device, quantisation, batch, context."""
    from mathcore.planner.grids.arrays import VERDICTS

    for grid in swept.grids:
        free, missing = grid.device.free_bytes, grid.missing()
        of = (grid.verdicts, grid.cards, grid.needs, missing, grid.times, grid.host_needs)
        for i, batch in enumerate(swept.batches):
            cells = zip(*(one[i].tolist() for one in of), strict=True)
            for length, cell in zip(swept.lengths, cells, strict=True):
                verdict, cards, needs, lacks, at, host = cell
                yield {
                    "device": grid.device.name,
                    "quant": grid.quant,
                    "batch": batch,
                    "context": length.context,
                    "prompt_tokens": length.prompt_tokens,
                    "tokens": length.tokens,
                    "verdict": VERDICTS[verdict],
                    "cards": cards,
                    "needs_bytes": needs,
                    "free_bytes": free * cards,
                    "missing_bytes": lacks,
                    **_timed(grid, at),
                    "host_bytes": host,
                }


def _timed(grid: "Grid", at: int) -> Row:
    if at < 0:
        return dict.fromkeys(TIMED)
    placed = grid.placements[at]
    rate, took, cost = placed.tokens_per_s, placed.duration_ms, placed.cost_nusd
    return {
        "tokens_per_s_p10": round(rate.p10, 3),
        "tokens_per_s_p50": round(rate.p50, 3),
        "tokens_per_s_p90": round(rate.p90, 3),
        "duration_ms_p10": round(took.p10),
        "duration_ms_p50": round(took.p50),
        "duration_ms_p90": round(took.p90),
        "cost_nusd_p10": round(cost.p10),
        "cost_nusd_p50": round(cost.p50),
        "cost_nusd_p90": round(cost.p90),
    }


def sweep_query(
    state: State, given: Mapping[str, object], live: Sequence[DeviceSpec] = (), now: int = 0
) -> Row:
    """The JSON for a grid over every device in `state`; bad ones raise RequestError."""
    request, axes = parse_sweep(given)
    named = () if request.on is None else (request.on,)
    swept = sweep_of(lambda: state, request, axes, named, live, MAX_SENT, now)
    return {"cells": list(rows_of(swept)), "notes": list(swept.notes)}
