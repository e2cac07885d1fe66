"""Why a rental is to be returned."""

from __future__ import annotations

from mesh.policy.rentals.timers import MAX_SAID, SETUP_MS, TOLERANCE
from mesh.policy.rentals.values import LIFE_OVER, Seen
from mesh.state.rentals.account import Account
from mesh.state.rentals.rental import Rental
from mesh.state.rentals.rentals import Rentals
from mesh.state.rentals.terms import BOOTING, GRACE_MS, INTENDED, PROVISIONING
from providers.rental.contract import STEPS, Profile

Rivals = dict[str, tuple[int, int, str]]  # request -> what orders its rentals, of the best


def unwanted(
    rentals: Rentals,
    account: Account,
    one: Rental,
    profile: Profile,
    listed_ms: int,
    now_ms: int,
    rivals: Rivals | None = None,
) -> str:
    """Why it is, "" while it is wanted. `listed_ms`: begin of the last whole listing; `rivals`: as
    `rivals_of` the account, for who asks of all its rentals."""
    request = rentals.requests.views.get(one.request_id)
    if request is not None and request.over:
        return request.over
    if now_ms >= one.made_ms + one.life_ms:
        return LIFE_OVER
    if not one.author:
        return ""  # found without its intent: its label says until when it may live
    if too_dear(one):
        return "price_above_quote"
    setup_ms = SETUP_MS if request is not None and request.setup else 0
    return overdrawn(one, profile, listed_ms, now_ms, setup_ms) or _second(
        rivals_of(account) if rivals is None else rivals, one
    )


def too_dear(one: Rental) -> bool:
    """Dearer than quoted, beyond what rounding explains."""
    return one.price_nusd * 100 > one.quote_nusd * TOLERANCE


def overdrawn(one: Rental, profile: Profile, listed_ms: int, now_ms: int, setup_ms: int = 0) -> str:
    """Which step took too long; the last has `setup_ms` more. Being blind is not the rental's
    fault: a listing begun after the budget's end must still show the step before."""
    if one.state not in (PROVISIONING, BOOTING) or one.step >= len(STEPS):
        return ""
    step = STEPS[one.step]
    budget_ms = profile.budgets_ms[step] + (setup_ms if step == STEPS[-1] else 0)
    late = min(now_ms, listed_ms) > one.step_ms + budget_ms
    return f"budget_{step}" if late else ""


def rivals_of(account: Account) -> Rivals:
    """Of each request its best wanted rental: the furthest, then the oldest."""
    best: Rivals = {}
    for one in (account.rentals[each] for each in account.open_ids):
        if one.request_id and one.wanted and one.author:
            best[one.request_id] = min(best.get(one.request_id, _rank(one)), _rank(one))
    return best


def _rank(one: Rental) -> tuple[int, int, str]:
    return -one.step, one.made_ms, one.rental_id


def _second(rivals: Rivals, one: Rental) -> str:
    """Two of one request after a partition: the furthest stays, then the oldest."""
    if not one.request_id or one.state == INTENDED:
        return ""
    best = rivals.get(one.request_id)
    return "duplicate_of_job" if best is not None and best < _rank(one) else ""


def overdue(account: Account, seen: Seen, me: str, now_ms: int) -> list[str]:
    """Rentals of `me` whose label's time is over, and whose end may be asked for now: that is done
    also where nothing can be written, for whoever has the key may end them then. Those that were
    never asked for come first, then those asked for longest ago."""
    from_ms = seen.limit("terminate")
    found = [
        one.rental_id
        for one in account.open()
        if one.author == me and one.instance_id and one.rental_id not in seen.busy
        if now_ms > one.expires_ms + GRACE_MS
        if now_ms >= max(from_ms, seen.end_again_ms(one.rental_id))
    ]
    return sorted(found, key=seen.end_again_ms)


def is_restless(one: Rental, me: str) -> bool:
    """Whether so much was said of it by this peer that soon nothing more would be read."""
    return len(one.steps) >= MAX_SAID and one.said_by(me) >= MAX_SAID
