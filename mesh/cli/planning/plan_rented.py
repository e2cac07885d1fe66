"""How machines to rent look in a plan: which are shown, what they cost an hour, how old that is."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final

from mesh.cli.clouds.sources import show_sources
from mesh.cli.output import clean, money, say, show_age
from mesh.cli.table import emit_text

Row = Mapping[str, Any]

RENTED: Final = "offer:"  # how their ids begin
MOST_RENTED: Final = 12  # a page; -o json has all


def is_rented(row: Row) -> bool:
    """Whether a placement or a refusal is of a machine to rent."""
    return str(row["device_id"]).startswith(RENTED)


def few_rented(placements: Sequence[Row]) -> list[Row]:
    """All of what is owned, and the best machines to rent."""
    owned = [row for row in placements if not is_rented(row)]
    return owned + [row for row in placements if is_rented(row)][:MOST_RENTED]


def rent_text(row: Row) -> str:
    """ "$0.33/h": what an hour of a machine to rent costs."""
    return f"{money(row['offer']['hourly_nusd'])}/h" if "offer" in row else ""


def rent_age(row: Row) -> str:
    """How old that price is."""
    return show_age(row["offer"]["age_ms"]) if "offer" in row else ""


def show_rented(found: Row, hidden: int) -> None:
    """How many more could be rented, and where their prices come from."""
    if "sources" not in found:
        return
    if hidden:
        say()
        emit_text(f"{hidden} more kinds of machines to rent: --max-price, or -o json")
    say()
    show_sources(found["sources"])


def show_refused_rents(refusals: Sequence[Row]) -> None:
    """How many machines to rent are out, by reason: there are too many to name."""
    if not refusals:
        return
    counts = Counter(str(row["code"]) for row in refusals)
    said = ", ".join(f"{code} {n}" for code, n in counts.most_common())
    say()
    emit_text(clean(f"Kinds of machines to rent that are out: {len(refusals)} ({said})"), "  ")
