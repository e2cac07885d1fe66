"""What is asked of budgets, and an ordinary no."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, final

from mathcore.units import show_nusd
from mesh.state.budgets.budget import Budget, show_budget, show_period
from mesh.state.budgets.budgets import MAX_PARTS
from mesh.state.facts.serving import TOTAL

# Budgets of one scope, period and zone, of several owners: their money adds up, any of them pays.
Group = tuple[Budget, ...]
Code = Literal["OverBudget", "UnknownZone", "TooManyHolds", "TooManyBudgets"]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """What costs: "" where a thing has none of that. The fleet's budgets count always."""

    user: str = ""
    key: str = ""
    provider: str = ""
    job: str = ""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """Something that may cost `most_nusd` at most. `hold_id` names it once and for all; if it was
    not begun by `until_ms` its hold may be let go; `about` tells people what it is."""

    hold_id: str
    most_nusd: int
    now_ms: int
    until_ms: int
    about: str = ""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Why something may not be spent: in which budget, and how much is missing there."""

    code: Code
    text: str
    hint: str
    budget: Budget | None = None
    missing_nusd: int = 0


def over_budget(budget: Budget, period: int, *, most_nusd: int, free_nusd: int) -> Refusal:
    """This peer's part of a budget lacks something."""
    missing = max(1, most_nusd - free_nusd)
    left = show_nusd(max(0, free_nusd))
    when = f" in {show_period(budget, period)}" if budget.per != TOTAL else ""
    return Refusal(
        code="OverBudget",
        text=f"the budget {show_budget(budget)} has {left} left{when} on this peer, and this may"
        f" cost {show_nusd(most_nusd)}: {show_nusd(missing)} are missing",
        hint="fleet budget show; its owner can grant this peer more, or raise the cap",
        budget=budget,
        missing_nusd=missing,
    )


def used_up(budget: Budget, period: int, *, cap_nusd: int, used_nusd: int) -> Refusal:
    """Owned work stops with the money, by this budget's word."""
    when = f" in {show_period(budget, period)}" if budget.per != TOTAL else ""
    return Refusal(
        code="OverBudget",
        text=f"the budget {show_budget(budget)} is used up{when}: {show_nusd(used_nusd)} of"
        f" {show_nusd(cap_nusd)}; by its word nothing starts on owned devices then",
        hint="its owner can raise the cap, or say that it is about the cloud alone",
        budget=budget,
        missing_nusd=used_nusd - cap_nusd + 1,
    )


def unknown_zone(budget: Budget) -> Refusal:
    """Which day it is there can't be told here."""
    return Refusal(
        code="UnknownZone",
        text=f"this machine knows no time zone {budget.zone!r}, by which a budget's periods go",
        hint="install the system's time zone data",
        budget=budget,
    )


def too_many_holds() -> Refusal:
    """More is held already than the ledger's state keeps of one peer."""
    return Refusal(
        code="TooManyHolds",
        text="too much is held on this peer that has no outcome yet",
        hint="fleet budget show names the open holds",
    )


def too_many_budgets(count: int) -> Refusal:
    """More budgets count one thing than a hold can be in."""
    return Refusal(
        code="TooManyBudgets",
        text=f"{count} budgets count this, and it can be held in {MAX_PARTS} at most",
        hint="fleet budget show; lift some of them",
    )
