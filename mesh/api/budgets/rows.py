"""Budgets as rows, JSON-ready; what is not known is null."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from mesh.api.rows import Row, peer_name
from mesh.api.serving.keys import key_name
from mesh.state.budgets.audit import audit, out_nusd, under_way_nusd
from mesh.state.budgets.budget import Budget, bounds_ms, period_at, show_budget, show_period
from mesh.state.budgets.entries import Hold
from mesh.state.facts.budget import CLOUD, CLOUD_STOP, KEY, USER
from mesh.state.state import State

Free = Callable[[Budget, int], int]
# Open holds that one row lists, the oldest first: a page for people; `open_holds` counts all.
MAX_HOLDS_SHOWN: Final = 100
OWNED_WORDS: Final = {CLOUD: "cloud", CLOUD_STOP: "stop"}


def of_name(state: State, budget: Budget) -> str:
    """What people call the user or key that a budget is about; all else as it is named."""
    if budget.scope == USER:
        return peer_name(state, budget.of) or budget.of[:16]
    return key_name(state.keys, budget.of) if budget.scope == KEY else budget.of


def title(state: State, budget: Budget) -> str:
    """A budget as people read it."""
    return show_budget(budget._replace(of=of_name(state, budget)))


def budget_rows(
    state: State, me: str, now_ms: int, free: Free, counts: Callable[[Budget], bool]
) -> list[Row]:
    """Every budget that has a cap now, those of the fleet first. `free` is what this peer may still
    spend of one, `counts` whether it limits anything."""
    rows = []
    for budget in state.budgets.capped():
        row = _row(state, budget, now_ms, free)
        if row is not None:
            rows.append({**row, "mine": budget.owner == me, "counts": counts(budget)})
    order = {"fleet": 0, "user": 1, "key": 2, "provider": 3, "job": 4}
    rows.sort(key=lambda row: (order[str(row["scope"])], str(row["name"]), str(row["owner"])))
    return rows


def fault_rows(state: State) -> list[Row]:
    """Whose word does not add up, and by how much: what was spent counts all the same."""
    return [
        {
            "fault": one.fault,
            "peer": peer_name(state, one.author),
            "nusd": one.nusd,
            "name": None if one.budget is None else title(state, one.budget),
            "period": None if one.budget is None else show_period(one.budget, one.period),
        }
        for one in audit(state.budgets)
    ]


def _row(state: State, budget: Budget, now_ms: int, free: Free) -> dict[str, Any] | None:
    """One of them; None where its owner says nothing of this period, or lifted it."""
    named = {
        "name": title(state, budget),
        "owner": peer_name(state, budget.owner),
        "scope": budget.scope,
        "of": of_name(state, budget) or None,
        "per": budget.per,
        "tz": budget.zone or "UTC",
    }
    try:
        period = period_at(budget, now_ms)
        bounds = bounds_ms(budget, period)
    except ValueError:
        unknown = ("period", "begin_ms", "end_ms", *MONEY, "owned")
        return {**named, **dict.fromkeys(unknown), "open_holds": None, "holds": []}
    cap = state.budgets.cap(budget, period)
    if cap is None or cap.lifted:
        return None
    begin_ms, end_ms = bounds or (None, None)
    return {
        **named,
        "period": show_period(budget, period),
        "begin_ms": begin_ms,
        "end_ms": end_ms,
        "owned": OWNED_WORDS.get(cap.owned, "all"),
        **_money(state, budget, period, cap.amount_nusd, free),
        **_holds(state, budget, period),
    }


MONEY: Final = (
    "cap_nusd", "out_nusd", "held_nusd", "spent_nusd", "under_way_nusd", "free_nusd",
)  # fmt: skip


def _money(state: State, budget: Budget, period: int, cap_nusd: int, free: Free) -> dict[str, int]:
    """`out` is what may still be spent or is, by all; `under way` was given and not taken yet;
    `free` is what this peer may still hold or give."""
    book = state.budgets
    held, spent = book.used(budget, period)
    out, moving = out_nusd(book, budget, period), under_way_nusd(book, budget, period)
    values = (cap_nusd, out, held, spent, moving, free(budget, period))
    return dict(zip(MONEY, values, strict=True))


def _holds(state: State, budget: Budget, period: int) -> dict[str, Any]:
    """What is held and has no outcome yet, over all peers."""
    found = [
        (author, hold_id, word.holds[hold_id])
        for author, word in state.budgets.words.items()
        for hold_id in word.open_ids
        if (budget, period) in word.holds[hold_id].parts
    ]
    found.sort(key=lambda one: (one[2].key, one[1]))
    rows = [_hold(state, *one) for one in found[:MAX_HOLDS_SHOWN]]
    return {"open_holds": len(found), "holds": rows}


def _hold(state: State, author: str, hold_id: str, one: Hold) -> Row:
    return {
        "hold_id": hold_id,
        "peer": peer_name(state, author),
        "about": one.about,
        "amount_nusd": one.amount_nusd,
        "held_ms": one.key[0],
        "until_ms": one.until_ms,
    }
