"""Where prices come from, in a line: a price without its age is none."""

from collections.abc import Mapping, Sequence
from typing import Any

from mesh.cli.output import clean, show_age, show_at
from mesh.cli.table import emit_text

Row = Mapping[str, Any]


def show_sources(sources: Sequence[Row]) -> None:
    """Each source once, with the providers it knows and how old it is."""
    if not sources:
        emit_text("Prices: none are known.")
        return
    alike: dict[str, list[str]] = {}
    for row in sources:
        alike.setdefault(source_text(row), []).append(str(row["provider"]))
    said = [f"{', '.join(dict.fromkeys(names))} {text}" for text, names in alike.items()]
    emit_text(clean(f"Prices: {'; '.join(said)}."), "  ")


def source_text(row: Row) -> str:
    """ "by this peer's account main, 2m old"."""
    age = show_age(row["age_ms"])
    if row["source"] == "typical":
        return f"as they typically were on {show_at(row['at_ms'])[:10]}, {age} old"
    where = "in the ledger by account" if row["source"] == "ledger" else "by this peer's account"
    return f"{where} {row['account']}, {age} old"
