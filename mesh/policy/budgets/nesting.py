"""In which budgets something counts: those of the fleet, its user, key, provider and job."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from mesh.policy.budgets.values import About, Group, Refusal, used_up
from mesh.state.budgets.budget import Budget, period_at
from mesh.state.budgets.budgets import Budgets
from mesh.state.facts.budget import ALL, CLOUD, CLOUD_STOP, FLEET, JOB, KEY, PROVIDER, USER


def believes_all(_: Budget) -> bool:
    """Whoever says a cap is believed."""
    return True


def nested(
    book: Budgets, about: About, now_ms: int, *, believes: Callable[[Budget], bool]
) -> list[Group]:
    """The budgets that must all have room, the outermost first; in each group one pays. None where
    nothing is capped now.

    `believes` says whose cap of a key or job counts: any member may say one, so the caller takes
    only those of its maker and of admins.
    A budget whose zone is unknown here is there, so that whoever holds is refused.
    """
    names = {FLEET: "", USER: about.user, KEY: about.key, PROVIDER: about.provider, JOB: about.job}
    asked = {(scope, of) for scope, of in names.items() if of or scope == FLEET}
    found: dict[tuple[str, str, str, str], list[Budget]] = {}
    for one in book.capped():
        if (one.scope, one.of) in asked and believes(one) and _limits(book, one, now_ms):
            found.setdefault(one[1:], []).append(one)
    order = list(names)
    return [tuple(found[one]) for one in sorted(found, key=lambda one: (order.index(one[0]), one))]


def _limits(book: Budgets, budget: Budget, now_ms: int) -> bool:
    try:
        cap = book.cap(budget, period_at(budget, now_ms))
    except ValueError:
        return True
    return cap is not None and not cap.lifted


def used_up_by(book: Budgets, group: Group, now_ms: int) -> Refusal | None:
    """A refusal where all peers together held and spent what the caps of a group come to, as far as
    known here. That this peer has nothing of it is no reason: another may."""
    periods = {one: period_at(one, now_ms) for one in group}
    caps = [book.cap(one, at) for one, at in periods.items()]
    cap_nusd = sum(one.amount_nusd for one in caps if one is not None)
    used_nusd = sum(sum(book.used(one, at)) for one, at in periods.items())
    if used_nusd < cap_nusd:
        return None
    first = group[0]
    return used_up(first, periods[first], cap_nusd=cap_nusd, used_nusd=used_nusd)


def policy(book: Budgets, group: Iterable[Budget], now_ms: int) -> str:
    """What of owned work a group is about: the strictest word of its budgets."""
    words = {book.owned(one, period_at(one, now_ms)) for one in group}
    return next((one for one in (ALL, CLOUD_STOP) if one in words), CLOUD)
