"""A whole comparison: its rows in order, and which of them are held against each other."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, final

from mesh.policy.compare.break_even import BreakEven, break_even
from mesh.policy.compare.rows import Kind, Row

ORDER: Final[tuple[Kind, ...]] = ("owned", "rented", "api", "yardstick")


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """Rows by kind, the cheapest first, and when one is cheaper than another."""

    rows: tuple[Row, ...]
    break_evens: tuple[BreakEven, ...]


def compared(rows: Iterable[Row]) -> Compared:
    """The comparison of these rows."""
    ordered = sorted(rows, key=_rank)
    return Compared(rows=tuple(ordered), break_evens=tuple(_held(ordered)))


def _rank(row: Row) -> tuple[object, ...]:
    """Those that make the amount come first, then by what a million tokens cost; of what lacks its
    price nobody knows, so it comes last."""
    short = row.makes == "no"
    return ORDER.index(row.kind), short, "price" in row.lacks, row.million_nusd.mid, row.row_id


def _held(rows: Sequence[Row]) -> list[BreakEven]:
    """Each owned device against the cheapest to rent, by the hour and kept, and the cheapest API;
    and the rented against that API."""
    rented, kept, api = _first(rows, "rented"), _cheapest_kept(rows), _first(rows, "api")
    found: list[BreakEven] = []
    for one in (row for row in rows if row.kind == "owned"):
        found += [break_even(one, rented)] if rented is not None else []
        found += [break_even(one, kept, kept=True)] if kept is not None else []
        found += [break_even(one, api)] if api is not None else []
    if api is not None:
        found += [break_even(rented, api)] if rented is not None else []
        found += [break_even(kept, api, kept=True)] if kept is not None else []
    return found


def _first(rows: Iterable[Row], kind: Kind) -> Row | None:
    """The cheapest of a kind that makes the amount, else the cheapest."""
    return next((row for row in rows if row.kind == kind), None)


def _cheapest_kept(rows: Iterable[Row]) -> Row | None:
    """The machine that costs least where it is rented the whole hours; likewise."""
    priced = [(row.makes == "no", row.kept.fixed.mid, row.row_id, row) for row in rows if row.kept]
    return min(priced, key=lambda one: one[:3])[3] if priced else None
