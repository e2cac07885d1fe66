"""Tables for other programs: amounts with all their digits, and no text that a spreadsheet runs."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any, Final

from mathcore.units import HOUR_MS, NUSD

Cell = str | int | float | None
FIRST_SHOWN: Final = " "  # what comes before it is a control character


def usd(nusd: int | None) -> str | None:
    """Dollars with nine decimals, "0.456621004", which is exact; None for unknown."""
    if nusd is None:
        return None
    sign = "-" if nusd < 0 else ""
    return f"{sign}{abs(nusd) // NUSD}.{abs(nusd) % NUSD:09d}"


def hours(ms: int) -> str:
    """Hours with nine decimals, rounded down: "12.500000000"."""
    nano = ms * NUSD // HOUR_MS
    return f"{nano // NUSD}.{nano % NUSD:09d}"


def plain(text: str) -> str:
    """A name as a cell that no spreadsheet runs: one that begins like a formula gets a quote in
    front. Of an amount it would make a text: -5 is no formula."""
    first = text[:1]
    return f"'{text}" if first and (first in "=+-@" or first < FIRST_SHOWN) else text


def csv_lines(head: Sequence[str], rows: Iterable[Sequence[Cell]]) -> Iterator[str]:
    """CSV of any texts, by lines that end in one character each."""
    out = io.StringIO()
    # It quotes what its own line ends have in them, so also a carriage return that stands alone.
    writer = csv.writer(out, lineterminator="\r\n")
    for row in chain([head], rows):
        writer.writerow(row)
        yield out.getvalue().removesuffix("\r\n") + "\n"
        out.seek(0)
        out.truncate()


def table(head: Sequence[str], rows: Iterable[Sequence[Cell]]) -> str:
    """CSV of any texts."""
    return "".join(csv_lines(head, rows))


def named_rows(head: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> Iterator[list[Cell]]:
    """The columns of each row; their texts are names, and run in no spreadsheet."""
    for row in rows:
        cells = (row[name] for name in head)
        yield [plain(one) if isinstance(one, str) else one for one in cells]
