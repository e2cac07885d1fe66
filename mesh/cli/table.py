"""One table for every command: columns that say how much they matter, fitted to the terminal.

What does not fit goes in the order of its columns' ranks, the highest first: a column gives its
short form, then leaves; when only those of rank 0 are left, the widest text is shortened. A line
below names the columns that left. In a pipe nothing is left out, unless COLUMNS says how wide.
"""

import os
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Generic, TypeVar, final

from mesh.cli.output import NONE, clean, say, wide

Row = TypeVar("Row")
Value = Callable[[Row], object]

GAP: Final = 2  # blanks between columns
# A text that is to be read in full stays legible down to this before other columns leave.
ROOMY: Final = 2  # times its least width
NARROWEST: Final = 20  # a terminal that claims less is not believed


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Column(Generic[Row]):
    """A title and how to read its cell from a row.

    `rank` 0 stays; of the others the highest leaves first. `brief` is the cell's short form, taken
    at `brief_rank` on the same scale. `least` > 0: a text that may be shortened, or with `wrap`
    continued on the next line, down to that many characters. `optional`: not shown where no row
    says anything.
    """

    title: str
    value: Value[Row]
    rank: int = 0
    brief: Value[Row] | None = None
    brief_rank: int = 0
    right: bool = False
    least: int = 0
    wrap: bool = False
    optional: bool = False


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Shown(Generic[Row]):
    """A column as it is shown: which of its forms, and how wide."""

    column: Column[Row]
    value: Value[Row]
    width: int

    def lines(self, row: Row) -> list[str]:
        """The cell, cut or continued to the width."""
        text = cell(self.value, row)
        if wide(text) <= self.width:
            return [text]
        return wrapped(text, self.width) if self.column.wrap else [shortened(text, self.width)]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Table(Generic[Row]):
    """A fitted table: it can write lines for rows that come later, too."""

    shown: tuple[Shown[Row], ...]
    hidden: tuple[str, ...]  # titles of the columns that left
    width: int | None

    def head(self) -> str:
        """The titles."""
        return self._joined([shortened(one.column.title, one.width) for one in self.shown])

    def lines(self, row: Row) -> Iterator[str]:
        """The lines of one row."""
        cells = [one.lines(row) for one in self.shown]
        for n in range(max(map(len, cells), default=0)):
            yield self._joined([lines[n] if n < len(lines) else "" for lines in cells])

    def footer(self, more: str) -> str:
        """What was left out and where it is, on one line; "" where nothing was."""
        if not self.hidden:
            return ""
        text = f"hidden: {', '.join(self.hidden)}; {more}"
        if self.width is not None and wide(text) > self.width:
            text = f"hidden: {len(self.hidden)} columns; {more}"
        return text if self.width is None else shortened(text, self.width)

    def _joined(self, cells: Sequence[str]) -> str:
        padded = [
            pad(text, one.width, right=one.column.right)
            for text, one in zip(cells, self.shown, strict=True)
        ]
        line = (" " * GAP).join(padded).rstrip()
        return line if self.width is None else shortened(line, self.width)


def terminal_width() -> int | None:
    """Columns to fill: $COLUMNS, else the terminal's; None, no bound, where nobody looks at one."""
    asked = os.environ.get("COLUMNS", "")
    if asked.isascii() and asked.isdigit() and int(asked):
        return max(NARROWEST, int(asked))
    if not sys.stdout.isatty():
        return None
    return max(NARROWEST, shutil.get_terminal_size().columns)


def emit(
    columns: Sequence[Column[Row]],
    rows: Sequence[Row],
    empty: str = "",
    *,
    more: str = "-o json has all",
) -> None:
    """Print the table, fitted to the terminal; `empty` where there is no row."""
    if not rows:
        say(empty)
        return
    for line in table_lines(columns, rows, terminal_width(), more):
        say(line)


def emit_wide(columns: Sequence[Column[Row]], rows: Sequence[Row], empty: str = "") -> None:
    """Print the whole table, however narrow the terminal is."""
    for line in table_lines(columns, rows, None, "") if rows else (empty,):
        say(line)


def table_lines(
    columns: Sequence[Column[Row]], rows: Sequence[Row], width: int | None, more: str
) -> Iterator[str]:
    """Titles, rows and what was left out, each line at most `width` wide."""
    table = fitted(columns, rows, width)
    yield table.head()
    for row in rows:
        yield from table.lines(row)
    if footer := table.footer(more):
        yield footer


def emit_text(text: str, indent: str = "") -> None:
    """A paragraph, continued below `indent` where the terminal ends."""
    width = terminal_width()
    for n, line in enumerate([text] if width is None else wrapped(text, width - len(indent))):
        say(f"{indent if n else ''}{line}")


def emit_table(heads: Sequence[str], rows: Sequence[Sequence[object]], empty: str) -> None:
    """A small table of texts; where it is too wide the columns leave from the right."""
    count = len(heads)
    columns: list[Column[Sequence[object]]] = [
        Column(title=head, value=_item(i), rank=i, least=0 if i else 8)
        for i, head in enumerate(heads[:count])
    ]
    emit(columns, rows, empty)


def _item(at: int) -> Value[Sequence[object]]:
    return lambda row: row[at]


def fitted(columns: Sequence[Column[Row]], rows: Sequence[Row], width: int | None) -> Table[Row]:
    """The table with as much in it as `width` holds."""
    told = [one for one in columns if not one.optional or _says(one, rows)]
    steps = _steps(told) if width is not None else []
    for count in range(len(steps) + 1):
        taken = steps[:count]
        left = {id(one) for one, drops in taken if drops}
        briefed = {id(one) for one, drops in taken if not drops}
        kept = [one for one in told if id(one) not in left]
        values = [one.brief if one.brief and id(one) in briefed else one.value for one in kept]
        natural = [_natural(o, v, rows) for o, v in zip(kept, values, strict=True)]
        if width is None or _taken(_floors(kept, natural, ROOMY)) <= width or count == len(steps):
            break
    widths = natural if width is None else _narrowed(kept, natural, width)
    shown = [
        Shown(column=o, value=v, width=w) for o, v, w in zip(kept, values, widths, strict=True)
    ]
    hidden = tuple([one.title for one in told if id(one) in left])
    return Table(shown=tuple(shown), hidden=hidden, width=width)


def _steps(columns: Sequence[Column[Row]]) -> list[tuple[Column[Row], bool]]:
    """(column, whether it leaves) in the order in which room is made."""
    found = [(one.rank, n, one, True) for n, one in enumerate(columns) if one.rank]
    found += [(one.brief_rank, n, one, False) for n, one in enumerate(columns) if one.brief]
    return [(one, leaves) for _, _, one, leaves in sorted(found, key=lambda s: (-s[0], -s[1]))]


def _says(column: Column[Row], rows: Sequence[Row]) -> bool:
    return any(cell(column.value, row) != NONE for row in rows)


def _natural(column: Column[Row], value: Value[Row], rows: Sequence[Row]) -> int:
    return max([wide(column.title), *(wide(cell(value, row)) for row in rows)])


def _taken(widths: Sequence[int]) -> int:
    return sum(widths) + GAP * (len(widths) - 1)


def _floors(columns: Sequence[Column[Row]], natural: Sequence[int], times: int) -> list[int]:
    """How narrow each column may become: a text's least, or `times` of it where that is asked."""
    return [
        min(width, times * one.least) if one.least else width
        for one, width in zip(columns, natural, strict=True)
    ]


def _narrowed(columns: Sequence[Column[Row]], natural: list[int], width: int) -> list[int]:
    """Widths that fit: the widest text gives first, none below its least."""
    widths = list(natural)
    for times in (ROOMY, 1):
        floors = _floors(columns, natural, times)
        while _taken(widths) > width:
            spare = [(widths[i], i) for i in range(len(widths)) if widths[i] > floors[i]]
            if not spare:
                break
            widths[max(spare)[1]] -= 1
    return widths


def cell(value: Value[Row], row: Row) -> str:
    """A cell's text on one line."""
    return clean(value(row))


def pad(text: str, width: int, *, right: bool = False) -> str:
    """The text with blanks to its width, on its left for numbers."""
    blanks = " " * max(0, width - wide(text))
    return blanks + text if right else text + blanks


def shortened(text: str, width: int) -> str:
    """The text, its end replaced by "…" where it is too long."""
    if wide(text) <= width:
        return text
    mark = clean("…")
    kept = text
    while kept and wide(kept) > width - wide(mark):
        kept = kept[:-1]
    return kept.rstrip() + mark


def wrapped(text: str, width: int) -> list[str]:
    """The text on lines of at most `width`, broken at blanks where that can be."""
    lines: list[str] = []
    line = ""
    for word in text.split():
        while wide(word) > width:  # a path or a URL: it must break somewhere
            room = width - wide(line) - 1 if line else width
            cut = room if room >= 8 else width
            if line and cut == width:
                lines, line = [*lines, line], ""
            lines, line = [*lines, f"{line} {word[:cut]}".strip()], ""
            word = word[cut:]
        if not word:
            continue
        if line and wide(line) + 1 + wide(word) > width:
            lines, line = [*lines, line], word
        else:
            line = f"{line} {word}".strip()
    return [*lines, line] if line or not lines else lines
