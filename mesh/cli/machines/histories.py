"""The histories that one key signed, and the command that keeps each: a person must choose."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import click

from mesh.cli.output import show_at
from mesh.cli.table import Column, emit

Row = Mapping[str, Any]

# Of more nobody can choose by looking; an event's id can still be named.
MAX_SHOWN: Final = 16
# Enough of an id to name one event.
SHORT: Final = 16
COLUMNS: Final[tuple[Column[Row], ...]] = (
    Column(title="HISTORY", value=lambda row: row["number"], right=True),
    Column(title="EVENTS", value=lambda row: row["count"], right=True),
    Column(title="FIRST", value=lambda row: show_at(row["first_ms"])),
    Column(title="LAST", value=lambda row: show_at(row["last_ms"])),
    Column(title="FIRST EVENT", value=lambda row: row["first"][:SHORT], rank=20),
    Column(title="LAST EVENT", value=lambda row: row["last"][:SHORT], rank=10),
)


def show_histories(rows: Sequence[Row], command: str) -> None:
    """Each history from the fork on, then `command` with the `--keep` that keeps it."""
    shown = [{**row, "number": number} for number, row in enumerate(rows[:MAX_SHOWN], 1)]
    emit(COLUMNS, shown)
    if len(rows) > MAX_SHOWN:
        click.echo(f"and {len(rows) - MAX_SHOWN} more")
    for row in shown:
        click.echo(f"{row['number']}: {command} --keep {str(row['keep'])[:SHORT]}")
