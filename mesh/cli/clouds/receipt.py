"""The receipt of one rental: quote, meter and invoice side by side, and what differs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from mesh.cli.clouds.words import why_words
from mesh.cli.output import clean
from mesh.cli.table import emit_text

Row = Mapping[str, Any]

# Their profiles say has_charges = False.
NO_CHARGES: Final = frozenset({"lambdalabs"})
UNKNOWN: Final = "unknown"
HEAD: Final = 10  # characters of "invoiced" and two blanks


def cost_known(row: Row) -> bool:
    """Whether a cost of nothing is one: not of a machine that is there and has no known rate."""
    rated = row["rate_nusd"] or row["quote_nusd"] is not None
    return bool(row["cost_nusd"] or rated)


def what(row: Row) -> str:
    """ "2x RTX 4090"."""
    count = row["gpu_count"] or 1
    name = clean(row["gpu"] or "a machine")
    return f"{count}x {name}" if count > 1 else name


def show_receipt(row: Row) -> None:
    """All that the ledger knows of its money, and who signed it."""
    instance = f"instance {clean(row['instance'])}" if row["instance"] else "no instance known"
    emit_text(f"{row['rental_id']} at {row['provider']}, {instance}", "  ")
    why = clean(why_words(str(row["why"]))) if row["why"] else ""
    state = str(row["state"]).replace("_", " ")
    emit_text(f"{what(row)}: {state}{', ' if why else ''}{why}", "  ", "  ")
    for head, text in _lines(row):
        emit_text(text, " " * (HEAD + 2), f"  {head:<{HEAD}}")


def _lines(row: Row) -> list[tuple[str, str]]:
    from mathcore.units import show_nusd

    quote = UNKNOWN if row["quote_nusd"] is None else f"{show_nusd(row['quote_nusd'])}/h"
    held = f", {show_nusd(row['reserved_nusd'])} reserved" if row["reserved_nusd"] else ""
    lines = [("quoted", f"{quote}{held}")]
    price = row["price_nusd"]
    if price is not None and price != row["quote_nusd"]:
        lines.append(("price", f"{show_nusd(price)}/h, as the provider lists it"))
    less, more = row["metered_less_nusd"], row["metered_more_nusd"]
    sure = f" (up to {show_nusd(less)} less or {show_nusd(more)} more)" if less or more else ""
    step_ms = row["billed_step_ms"]
    steps = f", in steps of {step_ms // 1000} s" if step_ms > 1000 else ""
    metered = f"{show_nusd(row['metered_nusd'])}{steps}{sure}" if cost_known(row) else UNKNOWN
    lines.append(("metered", metered))
    lines += _invoice(row)
    signed = f"by {clean(row['peer'])}" if row["peer"] else "by nobody here: its intent is unknown"
    return [*lines, ("signed", f"{signed}; fleet verify checks the ledger")]


def _invoice(row: Row) -> list[tuple[str, str]]:
    from mathcore.units import show_nusd

    if row["invoiced_nusd"] is None:
        none = "its provider tells no charges" if row["provider"] in NO_CHARGES else "not yet"
        return [("invoiced", none)]
    step = row["invoice_step_nusd"]
    rounded = f", rounded to {show_nusd(step)}" if step else ""
    difference = row["difference_nusd"]
    signed = f"-{show_nusd(-difference)}" if difference < 0 else f"+{show_nusd(difference)}"
    return [
        ("invoiced", f"{show_nusd(row['invoiced_nusd'])}{rounded}"),
        ("differs", f"{signed} from what was metered"),
    ]
