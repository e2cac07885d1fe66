"""How a sweep looks: two tables for people, one document for programs."""

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Final

import click

from mesh.cli.output import NONE, clean, gib, rate, say
from mesh.cli.planning.models import tokens as short
from mesh.cli.table import Column, emit_text, table_lines, terminal_width

if TYPE_CHECKING:
    from mathcore.planner.grids.arrays import Grid, Length

# A table is read, not searched: more of a sweep than this belongs in a file.
MOST_ROWS: Final = 16
MOST_COLUMNS: Final = 16
CELL_WIDTH: Final = 8
FIT, TIGHT, NO_CONTEXT = 0, 1, 3  # places in mathcore.planner.grids.arrays.VERDICTS


def emit_json_rows(rows: Iterable[dict[str, object]]) -> None:
    """A JSON list, one cell a line, written as it is made."""
    import json

    before = "["
    for row in rows:
        click.echo(f"{before}\n  {json.dumps(row)}", nl=False)
        before = ","
    click.echo("\n]" if before == "," else "[]")


def show_grids(grids: "list[Grid]", batches: list[int], lengths: "list[Length]") -> None:
    """Memory needed and tokens a second, per device and quantisation."""
    rows = picked(len(batches), MOST_ROWS)
    room = MOST_COLUMNS
    if (width := terminal_width()) is not None:
        room = max(2, (width - CELL_WIDTH) // (CELL_WIDTH + 2))
    columns = picked(len(lengths), min(MOST_COLUMNS, room))
    holding = [grid for grid in grids if bool((grid.verdicts <= TIGHT).any())]
    for n, grid in enumerate(holding):
        say(f"{chr(10) * (n > 0)}{title(grid)}, {_free(grid)} free")
        _table("GiB", _memory, grid, batches, lengths, rows, columns)
        say()
        _table("tok/s", _speed, grid, batches, lengths, rows, columns)
    if holding:
        say()
    empty = [grid for grid in grids if grid not in holding]
    for grid in empty:
        emit_text(f"{title(grid)}: {nothing(grid)}", "  ")
    if holding and empty:
        say()
    if holding:
        emit_text(legend(lengths), "  ")
    if any(bool(grid.host_needs.any()) for grid in holding):
        emit_text("Memory is the cards'; what flags leave to the host lies in its RAM.", "  ")
    if holding and (len(rows) < len(batches) or len(columns) < len(lengths)):
        say(f"{len(batches) * len(lengths)} cells a device; -o csv has them all.")


def title(grid: "Grid") -> str:
    """The device and how the weights are stored."""
    return f"{clean(grid.device.name)}, {grid.quant}"


def _free(grid: "Grid") -> str:
    cards = f"{grid.device.count} x " if grid.device.count > 1 else ""
    return f"{cards}{gib(grid.device.free_bytes)} GiB"


def nothing(grid: "Grid") -> str:
    """Why no cell of this device can be had."""
    possible = grid.needs[grid.verdicts != NO_CONTEXT]
    if not possible.size:
        return "every context asked about is longer than the model was trained for"
    if not bool((grid.spare[grid.verdicts != NO_CONTEXT] < 0).any()):
        least = gib(int(grid.host_needs[grid.verdicts != NO_CONTEXT].min()))
        there = gib(grid.device.ram_free_bytes)
        return f"nothing fits: at least {least} GiB of RAM needed, {there} GiB free"
    return f"nothing fits: at least {gib(int(possible.min()))} GiB needed, {_free(grid)} free"


def legend(lengths: "list[Length]") -> str:
    """What rows, columns, signs and speeds stand for."""
    return (
        "Rows: sequences at once. Columns: context of each in tokens. "
        f"{speed_note(lengths, 'the prompt above them')} ! tight, {NONE} does not fit."
    )


def speed_note(lengths: "list[Length]", varied: str = "a prompt that fills the context") -> str:
    """The prompt and answer that speeds are of."""
    prompts = {length.prompt_tokens for length in lengths}
    answers = " to ".join(short(n) for n in _ends([length.tokens for length in lengths]))
    prompt = f"a prompt of {short(min(prompts))}" if len(prompts) == 1 else varied
    return f"Speeds: after {prompt}, answering {answers} tokens."


def _ends(numbers: Sequence[int]) -> list[int]:
    return sorted({min(numbers), max(numbers)})


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
    lines = [[str(batches[i]), *(cell(grid, i, j) for j in columns)] for i in rows]
    prompts = [short(lengths[j].prompt_tokens) for j in columns]
    if cell is _speed and len(set(prompts)) > 1:
        lines.insert(0, ["prompt", *prompts])
    heads = [head, *(short(lengths[j].context) for j in columns)]
    shown = [_column(n, name) for n, name in enumerate(heads)]
    for line in table_lines(shown, lines, None, ""):
        say(f"  {line}")


def _column(at: int, title: str) -> Column[list[str]]:
    return Column(title=title, value=lambda row: row[at], right=True)


def _memory(grid: "Grid", i: int, j: int) -> str:
    """ "12.3", "31.2!" where it is tight, "31.2–" with what it would take where it does not fit."""
    verdict = int(grid.verdicts[i, j])
    mark = {FIT: "", TIGHT: "!"}.get(verdict, NONE)
    return NONE if verdict == NO_CONTEXT else f"{gib(int(grid.needs[i, j]))}{mark}"


def _speed(grid: "Grid", i: int, j: int) -> str:
    at = int(grid.times[i, j])
    return NONE if at < 0 else rate(grid.placements[at].tokens_per_s.p50)
