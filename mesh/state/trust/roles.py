"""What a key may be in a fleet, and what each role may do."""

from __future__ import annotations

from typing import Final

VIEWER, MEMBER, RUNNER, ADMIN = "viewer", "member", "runner", "admin"
ROLES: Final = (VIEWER, MEMBER, RUNNER, ADMIN)  # each may do what those before it may
# What a key is to others once it was put out: no role, and no route asks for it.
FORMER: Final = "former"
# The lowest role whose events of a kind count, by the word before the first underscore; anything
# else is a fact about hardware, prices or rentals and needs a runner.
NEEDED: Final = {
    "job": MEMBER,
    "note": MEMBER,
    "key": MEMBER,
    "service": MEMBER,
    "budget": ADMIN,
}
# By their whole name: whoever may start what costs also holds and settles, and a key's or a job's
# maker may cap it. Whose word on other caps counts their fold says.
NEEDED_BY: Final = dict.fromkeys(
    (
        "budget_cap_set",
        "budget_given",
        "budget_taken",
        "budget_held",
        "budget_settled",
        "budget_released",
        "budget_adjusted",
    ),
    MEMBER,
)


def needed_role(event_type: str) -> str:
    """The lowest role whose events of this type count."""
    word = event_type.partition("_")[0]
    return NEEDED_BY.get(event_type) or NEEDED.get(word, RUNNER)


def allowed(role: str, needed: str) -> bool:
    """Whether `role` may do what `needed` may; "" may nothing."""
    return role in ROLES and ROLES.index(role) >= ROLES.index(needed)
