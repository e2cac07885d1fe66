"""The one reader of data tables: files in a folder `data` beside the modules of a room.

They are opened as plain files, which costs a cold start less than importlib.resources does, and
only when their rows are first asked for.
"""

import csv
from pathlib import Path

_HERE = Path(__file__).parent


def read_text(room: str, name: str) -> str:
    """The text of mathcore/ROOM/data/NAME; OSError where an installation lost it."""
    return (_HERE / room / "data" / name).read_text(encoding="utf-8")


def read_rows(room: str, name: str) -> list[dict[str, str]]:
    """The rows of a CSV table by the names in its first line."""
    lines = list(csv.reader(read_text(room, name).splitlines()))
    return [dict(zip(lines[0], line, strict=True)) for line in lines[1:]]
