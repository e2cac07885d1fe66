"""Whose cap counts: of a key or a job its maker's and an admin's, of all else what was folded."""

from __future__ import annotations

from mesh.state.budgets.budget import Budget
from mesh.state.facts.budget import JOB, KEY
from mesh.state.members import ADMIN
from mesh.state.state import State


def is_maker(state: State, author: str, scope: str, of: str) -> bool:
    """Whether a peer made the key, or submitted or decides for the job; of one that is not known
    here nobody did."""
    if scope == KEY:
        key = state.keys.get(of)
        return key is not None and key.author == author
    job = state.jobs.get(of) if scope == JOB else None
    return job is not None and author in (job.home, job.origin)


def believes(state: State, budget: Budget) -> bool:
    """Whether a budget limits anything. The fold took caps of other scopes from admins alone."""
    if budget.scope not in (KEY, JOB):
        return True
    admin = state.members.role(budget.owner) == ADMIN
    return admin or is_maker(state, budget.owner, budget.scope, budget.of)
