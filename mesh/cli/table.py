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
    at `brief_rank` on the same scale, then under `brief_title`. `least` > 0: a text that may be
    shortened, or with `wrap` continued on the next line, down to that many characters. `optional`:
    not shown where no row says anything.
    """

    title: str
    value: Value[Row]
    rank: int = 0
    brief: Value[Row] | None = None
    brief_rank: int = 0
    brief_title: str = ""
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

    @property
    def is_brief(self) -> bool:
        """Whether it is the short form."""
        return self.value is self.column.brief

    @property
    def title(self) -> str:
        """What stands above it."""
        return (self.is_brief and self.column.brief_title) or self.column.title

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
        return self._joined([shortened(one.title, one.width) for one in self.shown])

    def lines(self, row: Row) -> Iterator[str]:
        """The lines of one row."""
        cells = [one.lines(row) for one in self.shown]
        for n in range(max(map(len, cells), default=0)):
            yield self._joined([lines[n] if n < len(lines) else "" for lines in cells])

    def all_lines(self, rows: Sequence[Row], more: str) -> Iterator[str]:
        """Titles, rows, and what was left out."""
        yield self.head()
        for row in rows:
            yield from self.lines(row)
        if footer := self.footer(more):
            yield footer

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
        emit_text(empty)
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
    return fitted(columns, rows, width).all_lines(rows, more)


def emit_text(text: str, below: str = "", first: str = "", *, err: bool = False) -> None:
    """A paragraph after `first`, continued after `below` where the terminal ends."""
    width = terminal_width()
    room = 0 if width is None else max(NARROWEST, width) - max(len(below), wide(first))
    for n, line in enumerate([text] if width is None or not text else wrapped(text, max(8, room))):
        say(f"{below if n else first}{line}", err=err)


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
    plan = _Fit(told, rows)
    if width is not None:
        plan.make_room(width)
    widths = plan.natural() if width is None else _narrowed(plan.kept(), plan.natural(), width)
    shown = [
        Shown(column=one, value=value, width=wide_)
        for one, value, wide_ in zip(plan.kept(), plan.values(), widths, strict=True)
    ]
    hidden = tuple([one.title for one in told if one not in plan.kept()])
    return Table(shown=tuple(shown), hidden=hidden, width=width)


@final
class _Fit(Generic[Row]):
    """Which columns stay, and in which form."""

    def __init__(self, columns: Sequence[Column[Row]], rows: Sequence[Row]) -> None:
        self.columns = columns
        self.taken: list[tuple[int, bool]] = []  # (column, whether it leaves)
        self._full = [_natural(one.title, one.value, rows) for one in columns]
        self._brief = [
            _natural(one.brief_title or one.title, one.brief or one.value, rows) for one in columns
        ]

    def make_room(self, width: int) -> None:
        """Take steps until the rest fits; then give back the full forms there is still room for."""
        for step in _steps(self.columns):
            if self._fits(width):
                break
            self.taken.append(step)
        for step in reversed(self.taken[:]):
            if not step[1]:
                at = self.taken.index(step)
                self.taken.remove(step)
                if _taken(self.natural()) > width:
                    self.taken.insert(at, step)

    def _fits(self, width: int) -> bool:
        return _taken(_floors(self.kept(), self.natural(), ROOMY)) <= width

    def _indices(self) -> list[int]:
        return [i for i in range(len(self.columns)) if (i, True) not in self.taken]

    def kept(self) -> list[Column[Row]]:
        """The columns that stay."""
        return [self.columns[i] for i in self._indices()]

    def values(self) -> list[Value[Row]]:
        """How each of them reads its cell."""
        return [
            self.columns[i].brief or self.columns[i].value
            if (i, False) in self.taken
            else self.columns[i].value
            for i in self._indices()
        ]

    def natural(self) -> list[int]:
        """How wide each of them is by itself."""
        return [
            self._brief[i] if (i, False) in self.taken else self._full[i] for i in self._indices()
        ]


def _steps(columns: Sequence[Column[Row]]) -> list[tuple[int, bool]]:
    """(column, whether it leaves) in the order in which room is made."""
    found = [(one.rank, i, True) for i, one in enumerate(columns) if one.rank]
    found += [(one.brief_rank, i, False) for i, one in enumerate(columns) if one.brief]
    return [(i, leaves) for _, i, leaves in sorted(found, key=lambda s: (-s[0], -s[1]))]


def _says(column: Column[Row], rows: Sequence[Row]) -> bool:
    return any(cell(column.value, row) != NONE for row in rows)


def _natural(title: str, value: Value[Row], rows: Sequence[Row]) -> int:
    return max([wide(title), *(wide(cell(value, row)) for row in rows)])


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
