"""At whom anybody can rent: a budget of another provider limits nothing."""

from __future__ import annotations

from mesh.edge.clouds.keys import PROVIDERS
from mesh.policy.budgets.believing import believes
from mesh.state.budgets.budget import Budget
from mesh.state.facts.budget import PROVIDER
from mesh.state.state import State


def providers(state: State) -> list[str]:
    """Those that this program knows, and those at which a peer rented, with a newer one."""
    rented = {one.provider for one in state.rentals.every()}
    return sorted({one.name for one in PROVIDERS} | rented)


def limits(state: State, budget: Budget) -> bool:
    """Whether a budget can limit anything: its cap counts, and there is what it is about."""
    exists = budget.scope != PROVIDER or budget.of in providers(state)
    return exists and believes(state, budget)
