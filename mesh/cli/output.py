"""How answers look: plain text for people, one JSON document for programs.

No colour and no boxes anywhere, so a pipe, a terminal and NO_COLOR all see the same bytes. What the
terminal's character set lacks is shown by its nearest ASCII.
"""

import sys
from collections.abc import Callable, Collection, Mapping
from typing import Any, Final

import click

NONE: Final = "–"
# Our own signs in ASCII, for terminals that have no other.
PLAIN: Final = {"–": "-", "…": "~", "≥": ">=", "×": "x", "·": "-"}

json_option: Final = click.option(
    "-o",
    "--output",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="how to print",
)
csv_json_option: Final = click.option(
    "-o",
    "--output",
    type=click.Choice(["text", "json", "csv"]),
    default="text",
    show_default=True,
    help="how to print",
)


csv_option: Final = click.option(
    "--csv", "as_csv", is_flag=True, hidden=True, help="the same as -o csv"
)


def output_of(output: str, *, as_csv: bool) -> str:
    """How to print, where --csv is another way to say -o csv."""
    if as_csv and output == "json":
        raise click.UsageError("--csv and -o json are two formats; choose one")
    return "csv" if as_csv else output


def emit_json(value: object) -> None:
    """One JSON document on stdout; escapes where the stream has no room for a character."""
    import json

    text = json.dumps(value, indent=2, ensure_ascii=False)
    click.echo(text if is_encodable(text) else json.dumps(value, indent=2))


def is_encodable(text: str) -> bool:
    """Whether standard output can carry every character of `text`."""
    if text.isascii():
        return True
    try:
        text.encode(sys.stdout.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def clean(cell: object) -> str:
    """A cell's text on one line, without control characters another peer could smuggle in."""
    text = "" if cell is None else str(cell)
    text = "".join(c if c.isprintable() else " " for c in text) or NONE
    return text if is_encodable(text) else plain(text)


def plain(text: str) -> str:
    """The text in the characters standard output has: our signs in ASCII, others as "?"."""
    return "".join(c if is_encodable(c) else PLAIN.get(c, "?") for c in text)


def say(text: str = "", *, err: bool = False) -> None:
    """One line for a person, in the characters the terminal has."""
    click.echo(text if is_encodable(text) else plain(text), err=err)


def wide(text: str) -> int:
    """Columns a text takes in a terminal: ideographs two, combining marks none."""
    if text.isascii():
        return len(text)
    from unicodedata import combining, east_asian_width

    return sum(0 if combining(c) else 2 if east_asian_width(c) in "WF" else 1 for c in text)


def number(row: Mapping[str, Any], key: str) -> int:
    """The integer at `key`, 0 where it is missing."""
    value = row.get(key)
    return value if isinstance(value, int) else 0


def band(value: Mapping[str, Any], show: Callable[[Any], str]) -> str:
    """ "21.3 (18.0–24.1)": the median, and the p10–p90 band it lies in."""
    return f"{show(value['p50'])} ({show(value['p10'])}–{show(value['p90'])})"


def gib(n: int) -> str:
    """GiB to a tenth, without the unit."""
    tenths = (n * 10 + (1 << 29)) >> 30
    return f"{tenths // 10}.{tenths % 10}"


def rate(value: float) -> str:
    """Tokens a second to three digits."""
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 1 else f"{value:.2f}"


def brief_ms(ms: float) -> str:
    """ "250ms", "2.5s", "12s", "3m20s", "2h05m"."""
    ms = round(ms)
    if ms < 1000:
        return f"{ms}ms"
    if ms < 10_000:
        return f"{ms // 100 / 10}s"
    if ms < 60_000:
        return f"{ms // 1000}s"
    seconds = ms // 1000
    if seconds < 3600:
        return f"{seconds // 60}m{seconds % 60:02}s"
    return f"{seconds // 3600}h{seconds // 60 % 60:02}m"


def money(nusd: int) -> str:
    """Cents in full, two digits of less."""
    dollars = nusd / 1e9
    if dollars >= 0.995:
        return f"${dollars:.2f}"
    if nusd == 0:
        return "$0"
    decimals = 2
    while decimals < 9 and dollars * 10**decimals < 9.95:
        decimals += 1
    return f"${dollars:.{decimals}f}"


def show_cost(nusd: int, lacks: Collection[str] = (), show: Callable[[int], str] = money) -> str:
    """A cost of which the parts in `lacks` ("price", "power") are not known.

    "unknown" where nothing of it is known; else at least what is known, as "≥$0.0012".
    """
    if not lacks:
        return show(nusd)
    return f"≥{show(nusd)}" if nusd > 0 and len(lacks) < 2 else "unknown"


def show_age(age_ms: int) -> str:
    """ "12s", "5m", "3h", "2d": how old a reading is, rounded down."""
    for unit, ms in (("d", 86_400_000), ("h", 3_600_000), ("m", 60_000)):
        if age_ms >= ms:
            return f"{age_ms // ms}{unit}"
    return f"{max(0, age_ms) // 1000}s"


def show_at(at_ms: int) -> str:
    """An instant in UTC, to the second."""
    from datetime import UTC, datetime

    try:
        at = datetime.fromtimestamp(at_ms / 1000, UTC)
    except (ValueError, OverflowError, OSError):
        return "?"  # another peer may write any number
    return at.strftime("%Y-%m-%d %H:%M:%S") if at_ms else ""


def now_ms() -> int:
    """Milliseconds UTC."""
    import time

    return time.time_ns() // 1_000_000
