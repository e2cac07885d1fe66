"""`fleet budget show`: every budget in a line, and what is held in it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from mesh.cli.output import clean, emit_json, money, now_ms, say, show_age
from mesh.cli.table import Column, emit, emit_text

Row = Mapping[str, Any]

NONE: Final = "there are no budgets. try: fleet budget set 50 --per month"
UNKNOWN: Final = "unknown"


def show_budgets(output: str, *, whole: bool) -> None:
    """From the daemon, which knows what it is about to spend; else from the ledger."""
    found = _found()
    if output == "json":
        emit_json(found)
        return
    emit(COLUMNS, found["budgets"], NONE)
    if whole:
        _say_holds(found["budgets"])
    for row in found["faults"]:
        emit_text(_fault(row), err=True)
    for row in found["alarms"]:
        emit_text(f"{clean(row['text'])} ({show_age(now_ms() - row['at_ms'])} ago)", err=True)


def _found() -> dict[str, Any]:
    from mesh.cli.client import find_daemon
    from mesh.config import fleet_home

    home = fleet_home()
    daemon = find_daemon(home)
    if daemon is not None:
        return dict(daemon.get("/v1/budgets"))
    from mesh.api.budgets.rows import budget_rows, fault_rows
    from mesh.edge.budgets.providers import limits
    from mesh.edge.identity import load_or_create
    from mesh.edge.store.state import load_state

    state, me = load_state(home), load_or_create(home).author
    rows = budget_rows(
        state,
        me,
        now_ms(),
        lambda one, period: state.budgets.money(me, one, period).free,
        lambda one: limits(state, one),
    )
    return {"budgets": rows, "alarms": [], "faults": fault_rows(state)}


def _say_holds(rows: list[Row]) -> None:
    holds = [{**one, "budget": row["name"]} for row in rows for one in row["holds"]]
    say()
    emit(HOLDS, holds, "nothing is held")


def _fault(row: Row) -> str:
    """ "ben overdrew the budget fleet per month by $5.00 in 2026-11"."""
    who, fault = clean(row["peer"]), str(row["fault"])
    if row["name"] is None:
        return f"{who}: {fault}"
    name = f"the budget {clean(row['name'])}"
    if fault == "overdrew":
        return f"{who} overdrew {name} by {money(row['nusd'])} in {row['period']}"
    return f"{who} {fault} of {name}: {money(row['nusd'])} in {row['period']}"


def _money(nusd: int | None) -> str:
    return UNKNOWN if nusd is None else money(nusd)


def _cap(row: Row) -> str:
    """ "$50.00", "$50.00, out $80.00" while a lowered cap has not come back."""
    cap = _money(row["cap_nusd"])
    is_over = row["cap_nusd"] is not None and row["out_nusd"] > row["cap_nusd"]
    return f"{cap}, out {money(row['out_nusd'])}" if is_over else cap


def _name(row: Row) -> str:
    return clean(row["name"]) if row["counts"] else f"{clean(row['name'])} (counts nowhere)"


def _moving(row: Row) -> str:
    return money(row["under_way_nusd"]) if row["under_way_nusd"] else ""


COLUMNS: Final[tuple[Column[Row], ...]] = (
    Column(title="BUDGET", value=_name, least=14, wrap=True),
    Column(title="NOW", value=lambda row: row["period"] or UNKNOWN, rank=30),
    Column(title="CAP", value=_cap, right=True),
    Column(title="SPENT", value=lambda row: _money(row["spent_nusd"]), right=True),
    Column(title="HELD", value=lambda row: _money(row["held_nusd"]), right=True, rank=10),
    Column(title="FREE HERE", value=lambda row: _money(row["free_nusd"]), right=True),
    Column(title="MOVING", value=_moving, right=True, rank=50, optional=True),
    Column(title="OWN WORK", value=lambda row: row["owned"] or UNKNOWN, rank=40),
    Column(title="OWNER", value=lambda row: clean(row["owner"]), rank=45, least=6),
)
HOLDS: Final[tuple[Column[Row], ...]] = (
    Column(title="HELD FOR", value=lambda row: clean(row["about"]), least=12),
    Column(title="AMOUNT", value=lambda row: money(row["amount_nusd"]), right=True),
    Column(title="BUDGET", value=lambda row: clean(row["budget"]), rank=20, least=10),
    Column(title="BY", value=lambda row: clean(row["peer"]), rank=30, least=6),
    Column(
        title="SINCE", value=lambda row: f"{show_age(max(0, now_ms() - row['held_ms']))} ago",
        rank=10, right=True,
    ),
)  # fmt: skip
