"""How answers look: aligned plain columns for people, one JSON document for programs.

No colour and no boxes anywhere, so a pipe, a terminal and NO_COLOR all see the same bytes.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import click

NONE: Final = "–"

json_option: Final = click.option(
    "-o", "--output", type=click.Choice(["text", "json"]), default="text", help="text or json"
)


def emit_json(value: object) -> None:
    """One JSON document on stdout."""
    import json

    click.echo(json.dumps(value, indent=2, ensure_ascii=False))


def emit_table(heads: Sequence[str], rows: Sequence[Sequence[object]], empty: str) -> None:
    """Columns as wide as their widest cell; `empty` where there is no row."""
    if not rows:
        click.echo(empty)
        return
    lines = [list(heads), *([clean(cell) for cell in row] for row in rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(heads))]
    for line in lines:
        padded = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        click.echo("  ".join(padded).rstrip())


def clean(cell: object) -> str:
    """A cell's text on one line, without control characters another peer could smuggle in."""
    text = "" if cell is None else str(cell)
    return "".join(c if c.isprintable() else " " for c in text) or NONE


def number(row: Mapping[str, Any], key: str) -> int:
    """The integer at `key`, 0 where it is missing."""
    value = row.get(key)
    return value if isinstance(value, int) else 0


def band(value: Mapping[str, Any], show: Callable[[Any], str]) -> str:
    """ "21.3 (18.0–24.1)": the middle, and the p10–p90 band it lies in."""
    return f"{show(value['p50'])} ({show(value['p10'])}–{show(value['p90'])})"


def show_age(age_ms: int) -> str:
    """ "12s", "5m", "3h", "2d": how old a reading is, rounded down."""
    for unit, ms in (("d", 86_400_000), ("h", 3_600_000), ("m", 60_000)):
        if age_ms >= ms:
            return f"{age_ms // ms}{unit}"
    return f"{max(0, age_ms) // 1000}s"


def show_at(at_ms: int) -> str:
    """An instant in UTC, to the second."""
    from datetime import UTC, datetime

    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S") if at_ms else ""


def now_ms() -> int:
    """Milliseconds UTC."""
    import time

    return time.time_ns() // 1_000_000
