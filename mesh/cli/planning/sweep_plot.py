"""A sweep drawn: memory and speed over context, a line per batch, a row per device and type."""

from collections.abc import Sequence
from math import log2
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mesh.cli.exits import CANNOT, USAGE, stop
from mesh.cli.output import gib
from mesh.cli.planning.svg import BAR_OPACITY, LIMIT, SHADES, Line, Panel, shade, svg
from mesh.cli.planning.sweep_view import NO_CONTEXT, nothing, picked, speed_note, title

if TYPE_CHECKING:
    from mathcore.planner.grids.arrays import Grid, Length

GIB: Final = 1 << 30
MOST_LINES: Final = 8
MOST_POINTS: Final = 400
MOST_ROWS: Final = 32


def draw(
    path: Path, name: str, grids: "list[Grid]", batches: list[int], lengths: "list[Length]"
) -> None:
    """Write the picture; Stop where it cannot be."""
    if len(grids) > MOST_ROWS:
        stop(USAGE, f"{len(grids)} plots are more than {MOST_ROWS}", "fewer devices or types")
    rows = [panels(grid, batches, lengths) for grid in grids]
    shaded = f"Shaded: p10 to p90 of batch {batches[0]}."
    note = f"Lines: batch, the sequences at once. {speed_note(lengths)} {shaded}"
    try:
        if path.suffix.lower() == ".png":
            _png(path, name, rows)
        else:
            text = svg(f"{name}: memory and speed by context", note, rows)
            path.write_text(text, encoding="utf-8")
    except OSError as error:
        stop(CANNOT, f"cannot write {path}: {error.strerror}", "check the path")


def panels(grid: "Grid", batches: list[int], lengths: "list[Length]") -> list[Panel]:
    """Memory needed, and tokens a second where it fits, with how sure those of one batch are."""
    columns = picked(len(lengths), MOST_POINTS)
    rows = picked(len(batches), MOST_LINES)
    contexts = [length.context for length in lengths]
    memory = [_line(batches[i], [(contexts[j], _need(grid, i, j)) for j in columns]) for i in rows]
    speed = [_line(batches[i], [(contexts[j], _rate(grid, i, j)) for j in columns]) for i in rows]
    free = grid.device.free_bytes * grid.device.count / GIB
    most = _most(memory)
    # Twice what there is shows how far off the rest is; more would flatten what fits.
    top = min(max(most, 1.05 * free), 2.0 * free) if free else most
    return [
        Panel(
            title=f"{title(grid)}: memory",
            unit="GiB",
            lines=memory,
            contexts=contexts,
            top=1.05 * top,
            limit=free,
            limit_name=f"{gib(round(free * GIB))} GiB free",
        ),
        Panel(
            title=f"{title(grid)}: speed",
            unit="tok/s",
            lines=speed,
            contexts=contexts,
            top=1.1 * _most(speed),
            empty=nothing(grid),
            bar=_bar(grid, contexts, columns),
        ),
    ]


def _bar(
    grid: "Grid", contexts: list[int], columns: Sequence[int]
) -> list[tuple[float, float, float]]:
    """p10 and p90 of the smallest batch, where it fits."""
    places = [(log2(contexts[j]), int(grid.times[0, j])) for j in columns]
    rates = [(x, grid.placements[at].tokens_per_s) for x, at in places if at >= 0]
    return [(x, float(rate.p10), float(rate.p90)) for x, rate in rates]


def _line(batch: int, values: Sequence[tuple[int, float]]) -> Line:
    """Values that are none (below 0) are left out."""
    return Line(name=f"batch {batch}", points=[(log2(x), y) for x, y in values if y >= 0])


def _most(lines: Sequence[Line]) -> float:
    return max((y for line in lines for _, y in line.points), default=1.0)


def _need(grid: "Grid", i: int, j: int) -> float:
    """GiB over all cards, -1 where the model takes no such context."""
    return -1.0 if grid.verdicts[i, j] == NO_CONTEXT else int(grid.needs[i, j]) / GIB


def _rate(grid: "Grid", i: int, j: int) -> float:
    at = int(grid.times[i, j])
    return -1.0 if at < 0 else float(grid.placements[at].tokens_per_s.p50)


def _png(path: Path, name: str, rows: list[list[Panel]]) -> None:
    try:
        from importlib import import_module

        figure = import_module("matplotlib.figure").Figure(
            figsize=(14, 4 * len(rows)), layout="constrained"
        )
    except ImportError:
        stop(
            USAGE,
            "a .png needs matplotlib, which is not installed",
            f"--plot {path.with_suffix('.svg')}, or pip install matplotlib",
        )
    for n, panel in enumerate(panel for row in rows for panel in row):
        axes = figure.add_subplot(len(rows), 2, n + 1)
        for i, line in enumerate(panel.lines):
            xs, ys = [2**x for x, _ in line.points], [y for _, y in line.points]
            axes.plot(xs, ys, label=line.name, color=shade(i, len(panel.lines)))
        if panel.bar:
            at, lows, highs = zip(*panel.bar, strict=True)
            axes.fill_between([2**x for x in at], lows, highs, color=SHADES[0], alpha=BAR_OPACITY)
        if panel.limit:
            axes.axhline(panel.limit, color=LIMIT, linestyle="--", label=panel.limit_name)
        axes.set_xscale("log", base=2)
        axes.set(title=f"{name}: {panel.title}", xlabel="tokens of context", ylabel=panel.unit)
        axes.set_ylim(0, panel.top)
        axes.legend()
    figure.savefig(path)
