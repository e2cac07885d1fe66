"""A column of a table as bars: an SVG that a notebook shows, drawn without a library."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from math import isfinite
from typing import Any, Final, final

from mesh.client.words import one_line

Row = Mapping[str, Any]

# As many as a screen shows; the rest is counted below them.
MAX_BARS: Final = 50
MAX_LABEL: Final = 32  # letters
# Pixels.
LABEL_WIDTH, BAR_WIDTH, VALUE_WIDTH = 230, 420, 110
LINE, BAR, FONT = 22, 14, 12
BLUE: Final = "#3a6fd8"  # legible on white and on black; text has the notebook's own colour
UNKNOWN: Final = "unknown"
MIDDLE, LOW, HIGH = ".p50", ".p10", ".p90"


@final
class Picture(str):
    """SVG as text: Path("x.svg").write_text(picture) keeps it."""

    __slots__ = ()

    def _repr_svg_(self) -> str:
        return str(self)


def bars(rows: Sequence[Row], column: str, label: str = "") -> Picture:
    """`column` of each row as a bar, with p10 to p90 as a line where it is a ".p50".

    `label` names the rows: a column, the first with text unless said. A value of None is drawn as
    unknown. ValueError names a column that is not there, or has no numbers.
    """
    _demand_numbers(rows, column)
    label = label or _first_text(rows, column)
    shown = rows[:MAX_BARS]
    bands = [_band(row, column) for row in shown]
    ends = [one for band in bands if band for one in band]
    low, high = min([0, *ends]), max([0, *ends])
    scale = BAR_WIDTH / ((high - low) or 1)
    lines = [
        _line(number, escape(one_line(row.get(label), MAX_LABEL)), band, low, scale)
        for number, (row, band) in enumerate(zip(shown, bands, strict=True))
    ]
    more = len(rows) - len(shown)
    return _svg(column, lines, f"{more} more rows" if more > 0 else "")


def _demand_numbers(rows: Sequence[Row], column: str) -> None:
    numbers = [name for name in (rows[0] if rows else ()) if _has_numbers(rows, name)]
    if rows and column not in numbers:
        raise ValueError(f"no column {column!r} with numbers: one of {', '.join(numbers)}")


def _has_numbers(rows: Sequence[Row], name: str) -> bool:
    return any(_number(row[name]) is not None for row in rows)


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value):
        return None
    return float(value)


def _first_text(rows: Sequence[Row], column: str) -> str:
    """The first column in which the rows differ by their text; the counted one where none does."""
    names = list(rows[0]) if rows else []
    texts = [name for name in names if all(isinstance(row[name], str) for row in rows)]
    telling = [name for name in texts if len({row[name] for row in rows}) == len(rows)]
    return next(iter([*telling, *texts]), column)


def _band(row: Row, column: str) -> tuple[float, float, float] | None:
    """(value, low, high); None for what nobody knows."""
    value = _number(row[column])
    if value is None:
        return None
    name = column.removesuffix(MIDDLE)
    ends = [_number(row.get(name + end)) for end in (LOW, HIGH)] if name != column else []
    low, high = (value if end is None else end for end in (ends or [None, None]))
    return value, low, high


def _line(
    number: int, label: str, band: tuple[float, float, float] | None, low: float, scale: float
) -> str:
    """One row; x runs from `low` at the left edge of the bars."""
    y = LINE * number + LINE
    middle, text_y = y + BAR / 2, y + FONT
    named = f'<text x="{LABEL_WIDTH - 8}" y="{text_y}" text-anchor="end">{label}</text>'
    if band is None:
        return f'{named}<text x="{LABEL_WIDTH}" y="{text_y}">{UNKNOWN}</text>'
    value, *ends = band
    zero, at = (LABEL_WIDTH + (one - low) * scale for one in (0.0, value))
    left, right = (LABEL_WIDTH + (one - low) * scale for one in ends)
    bar = (
        f'<rect x="{min(zero, at):.1f}" y="{y}" width="{abs(at - zero):.1f}" height="{BAR}" '
        f'fill="{BLUE}"/>'
    )
    span = (
        f'<line x1="{left:.1f}" x2="{right:.1f}" y1="{middle}" y2="{middle}" '
        'stroke="currentColor"/>'
        if right > left
        else ""
    )
    x = max(at, right, zero) + 6
    return f'{named}{bar}{span}<text x="{x:.1f}" y="{text_y}">{value:,.6g}</text>'


def _svg(title: str, lines: Sequence[str], note: str) -> Picture:
    width = LABEL_WIDTH + BAR_WIDTH + VALUE_WIDTH
    height = LINE * (len(lines) + 2)
    end = f'<text x="{LABEL_WIDTH}" y="{height - 6}">{note}</text>' if note else ""
    return Picture(
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" role="img" '
        f'font-family="sans-serif" font-size="{FONT}" fill="currentColor">'
        f'<title>{escape(title)}</title><text x="{LABEL_WIDTH}" y="{FONT}">{escape(title)}</text>'
        f"{''.join(lines)}{end}</svg>"
    )
