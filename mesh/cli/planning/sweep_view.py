"""How a sweep looks: two tables for people, one document for programs."""

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Final

import click

from mesh.cli.output import NONE, clean
from mesh.cli.planning.models import tokens as short
from mesh.cli.planning.plan_view import aligned, gib, rate, terminal_width

if TYPE_CHECKING:
    from mathcore.planner.sweep import Grid, Length

# A table is read, not searched: more of a sweep than this belongs in a file.
MOST_ROWS: Final = 16
MOST_COLUMNS: Final = 16
CELL_WIDTH: Final = 8


def emit_json_rows(rows: Iterable[dict[str, object]]) -> None:
    """A JSON list, one cell a line, written as it is made."""
    import json

    before = "["
    for row in rows:
        click.echo(f"{before}\n  {json.dumps(row, ensure_ascii=False)}", nl=False)
        before = ","
    click.echo("\n]" if before == "," else "[]")


def show_grids(grids: "list[Grid]", batches: list[int], lengths: "list[Length]") -> None:
    """Memory needed and tokens a second, per device and quantisation."""
    rows = picked(len(batches), MOST_ROWS)
    room = max(2, (terminal_width() - CELL_WIDTH) // (CELL_WIDTH + 2))
    columns = picked(len(lengths), min(MOST_COLUMNS, room))
    for n, grid in enumerate(grids):
        cards = f"{grid.device.count} x " if grid.device.count > 1 else ""
        free = f"{cards}{gib(grid.device.free_bytes)} GiB free"
        click.echo(f"{chr(10) * (n > 0)}{clean(grid.device.name)}, {grid.quant}, {free}")
        _table("GiB", _memory, grid, batches, lengths, rows, columns)
        click.echo()
        _table("tok/s", _speed, grid, batches, lengths, rows, columns)
    click.echo("\nRows: sequences at once. Columns: tokens each. ! tight, – does not fit.")
    if len(rows) < len(batches) or len(columns) < len(lengths):
        click.echo(f"{len(batches) * len(lengths)} cells a device; -o csv has them all.")


def picked(count: int, most: int) -> list[int]:
    """At most this many places of `count`, evenly, both ends among them."""
    if count <= most:
        return list(range(count))
    return [round(i * (count - 1) / (most - 1)) for i in range(most)]


def _table(
    head: str,
    cell: "Callable[[Grid, int, int], str]",
    grid: "Grid",
    batches: list[int],
    lengths: "list[Length]",
    rows: Sequence[int],
    columns: Sequence[int],
) -> None:
    lines = [[head, *(short(lengths[j].context) for j in columns)]]
    lines += [[str(batches[i]), *(cell(grid, i, j) for j in columns)] for i in rows]
    for line in aligned(lines, [True] * (1 + len(columns))):
        click.echo(f"  {line}")


def _memory(grid: "Grid", i: int, j: int) -> str:
    """ "12.3", "31.2!" where it is tight, "–" with what it would take where it does not fit."""
    verdict = int(grid.verdicts[i, j])
    mark = {0: "", 1: "!"}.get(verdict, NONE)
    return NONE if verdict == 3 else f"{gib(int(grid.needs[i, j]))}{mark}"


def _speed(grid: "Grid", i: int, j: int) -> str:
    at = int(grid.times[i, j])
    return NONE if at < 0 else rate(grid.placements[at].tokens_per_s.p50)
