"""Answers that show themselves: dicts and lists as they came, a table for eyes and for pandas."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any, Final, final

from mesh.client.picture import Picture, bars
from mesh.client.words import one_line

# A notebook keeps what it shows: as much as a screen has, the rest is in the rows.
MAX_ROWS_SHOWN: Final = 50
MAX_COLUMNS_SHOWN: Final = 12
MAX_CELL: Final = 40
NOTHING: Final = "nothing"

Row = dict[str, Any]


@final
class Rows(list[Row]):
    """A list of dicts, such as every device."""

    def table(self) -> list[Row]:
        """One flat row each, all with the same columns: pandas.DataFrame(rows.table())."""
        return flat(self)

    def plot(self, column: str, label: str = "") -> Picture:
        """A column of its table as bars: rows.plot("free_bytes"); ValueError for one it lacks."""
        return bars(self.table(), column, label)

    def __repr__(self) -> str:
        return as_text(self.table())

    def _repr_html_(self) -> str:
        return as_html(self.table())


@final
class Answer(dict[str, Any]):
    """A dict; `of` names the list in it that is its table, "" for its own fields as one row."""

    def __init__(self, found: Mapping[str, Any], of: str = "") -> None:
        super().__init__(found)
        self._of: Final = of

    def table(self) -> list[Row]:
        """One flat row for each entry of the list: pandas.DataFrame(answer.table())."""
        return flat(self[self._of] if self._of else [self])

    def plot(self, column: str, label: str = "") -> Picture:
        """A column of its table as bars: plan.plot("tokens_per_s.p50"); ValueError for one it
        lacks."""
        return bars(self.table(), column, label)

    def __repr__(self) -> str:
        return as_text(self.table())

    def _repr_html_(self) -> str:
        return as_html(self.table())


def flat(rows: Iterable[Mapping[str, Any]]) -> list[Row]:
    """The rows with dicts in them taken apart, "tokens_per_s.p50"; None where one has nothing."""
    found = [dict(_parts("", row)) for row in rows]
    names = list(dict.fromkeys(name for row in found for name in row))
    return [{name: row.get(name) for name in names} for row in found]


def _parts(before: str, row: Mapping[str, Any]) -> Iterable[tuple[str, Any]]:
    for name, value in row.items():
        if isinstance(value, Mapping):
            yield from _parts(f"{before}{name}.", value)
        else:
            yield f"{before}{name}", value


def as_text(rows: Sequence[Row]) -> str:
    """The first rows and columns, aligned, and how many more there are."""
    if not rows:
        return NOTHING
    names = _columns(rows)
    cells = [names, *([_cell(row[name]) for name in names] for row in rows[:MAX_ROWS_SHOWN])]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = ["  ".join(map(str.ljust, line, widths)).rstrip() for line in cells]
    return "\n".join([*lines, *_more(rows, names)])


def as_html(rows: Sequence[Row]) -> str:
    """The same as HTML. Names in a fleet are other people's words, so everything is escaped."""
    names = _columns(rows)
    head = "".join(f"<th>{escape(name)}</th>" for name in names)
    body = "".join(
        "<tr>" + "".join(f"<td>{escape(_cell(row[name]))}</td>" for name in names) + "</tr>"
        for row in rows[:MAX_ROWS_SHOWN]
    )
    more = "".join(f"<p>{escape(line)}</p>" for line in _more(rows, names))
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{more}"


def _columns(rows: Sequence[Row]) -> list[str]:
    """Those that say something, the first ones."""
    every = list(rows[0]) if rows else []
    telling = [name for name in every if any(row[name] not in (None, "", [], {}) for row in rows)]
    return telling[:MAX_COLUMNS_SHOWN]


def _more(rows: Sequence[Row], names: Sequence[str]) -> list[str]:
    if not rows:
        return [NOTHING]
    left = [(len(rows) - MAX_ROWS_SHOWN, "rows"), (len(rows[0]) - len(names), "columns")]
    told = [f"{count} more {what}" for count, what in left if count > 0]
    return [f"({', '.join(told)}: .table())"] if told else []


def _cell(value: Any) -> str:
    """One value, on one line, without what moves a terminal's cursor; None is not known, and
    empty."""
    if value is None:
        return ""
    if isinstance(value, list):
        plain = all(isinstance(one, str | int) for one in value)
        value = ", ".join(map(str, value)) if plain else f"{len(value)} entries"
    return one_line(value, MAX_CELL)
