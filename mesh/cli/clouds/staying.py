"""What stays rented, and costs, while nobody here looks after it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from mesh.cli.output import money

if TYPE_CHECKING:
    from mesh.state.state import State


def rented_now(state: State, now_ms: int, *, provider: str = "") -> dict[str, Any]:
    """Machines of the fleet that are not proved absent, and what they cost an hour, nano-dollars;
    with `provider` those there."""
    from mesh.api.rentals.rows import rental_rows, sums

    rows = rental_rows(state, now_ms, {}, ended=False)
    mine = [row for row in rows if provider in ("", row["provider"])]
    return {"machines": len(mine), "hourly_nusd": sums(mine)["hourly_nusd"]}


def rented_at(home: Path, now_ms: int, *, provider: str = "") -> dict[str, Any]:
    """The same, from a ledger."""
    from mesh.edge.store.state import load_state_if_any

    return rented_now(load_state_if_any(home), now_ms, provider=provider)


def in_words(rented: dict[str, Any]) -> str:
    """ "2 machines at $0.84/h", "" where there are none."""
    count = rented["machines"]
    if not count:
        return ""
    return f"{count} machine{'s' if count > 1 else ''} at {money(rented['hourly_nusd'])}/h"
