"""Money before it is spent: what a rental reserves, and whether one more may.

A reservation ends by proved absence alone. What a rental may cost is 1.05 times its quote for its
life and the way back. What its provider charged beyond the meter, as for traffic, is spent, too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime

from mesh.policy.rentals.timers import SETUP_MS, TOLERANCE
from mesh.policy.rentals.values import Shares
from mesh.state.rentals.money import MOST_NUSD, cost_nusd
from mesh.state.rentals.rental import Rental
from mesh.state.rentals.rentals import Rentals
from mesh.state.rentals.requests import Request
from mesh.state.rentals.terms import ABSENT, DAY_MS, GUARD_MS, HOUR_MS
from providers.rental.contract import STEPS, Profile

JOB_CAP, DAY_CAP, PROVIDER_CAP = "job_cap", "day_cap", "provider_cap"


def reserve_nusd(quote_nusd: int, life_ms: int) -> int:
    """What a rental of such a quote and life may cost."""
    exact = max(0, quote_nusd) * TOLERANCE * (life_ms + GUARD_MS)
    return min(MOST_NUSD, -(-exact // (100 * HOUR_MS)))


def usual_cap_nusd(most_nusd: int, life_ms: int, profile: Profile, *, setup: bool = False) -> int:
    """What all machines of a request may cost where nobody said: one for its life, and before it
    one that failed to come up."""
    failed = reserve_nusd(most_nusd, _billed_boot_ms(profile, setup=setup))
    return min(MOST_NUSD, reserve_nusd(most_nusd, life_ms) + failed)


def _billed_boot_ms(profile: Profile, *, setup: bool) -> int:
    """For how long a machine that never gets ready is waited for at its full price: from the order
    on, or where its provider bills it so, from when its container is up."""
    steps = STEPS if profile.from_create else STEPS[STEPS.index("container") + 1 :]
    return sum(profile.budgets_ms.get(one, 0) for one in steps) + (SETUP_MS if setup else 0)


def held_nusd(one: Rental) -> int:
    """What it has reserved: of a refused create only what a proof of absence takes."""
    if one.refused:
        return min(one.reserved_nusd, cost_nusd(one.quote_nusd, GUARD_MS))
    return one.reserved_nusd


def remaining_nusd(one: Rental, now_ms: int) -> int:
    """What an open rental may still cost by its reservation."""
    if one.state == ABSENT:
        return 0
    return max(0, held_nusd(one) - one.cost_nusd(now_ms))


def beyond_nusd(one: Rental, now_ms: int, begin_ms: int = 0) -> int:
    """What was invoiced beyond the meter, where that ended since then: nobody says when it was
    charged. An invoice below the meter frees nothing before the day or month is over."""
    if one.invoiced_nusd is None:
        return 0
    spans = one.meter.spans
    end_ms = spans[-1].to_ms if spans else None
    if (one.since_ms if end_ms is None else end_ms) < begin_ms:
        return 0
    return max(0, min(MOST_NUSD, one.invoiced_nusd) - one.cost_nusd(now_ms))


def committed_nusd(those: Iterable[Rental], now_ms: int, begin_ms: int = 0) -> int:
    """Spent since then, and reserved. What the meter may have missed is in an invoice."""
    return sum(
        one.cost_nusd(now_ms, begin_ms)
        + max(one.meter.possible_nusd, beyond_nusd(one, now_ms, begin_ms))
        + remaining_nusd(one, now_ms)
        for one in those
    )


def admit(
    rentals: Rentals, request: Request, shares: Shares, me: str, now_ms: int, reserve: int
) -> str:
    """Why a machine may not be asked for, "" where it may. What was found without its intent is
    counted on every peer's share."""
    every = list(rentals.every())
    asks: list[tuple[str, int | None, int, Callable[[Rental], bool]]] = [
        (JOB_CAP, request.cap_nusd, 0, lambda one: _of_request(one, request)),
        (DAY_CAP, shares.day_nusd, now_ms - now_ms % DAY_MS, lambda one: one.author in (me, "")),
        (
            PROVIDER_CAP,
            shares.month_nusd,
            month_begin(now_ms),
            # Whatever key it was rented with: a new one of the same account begins no month anew.
            lambda one: one.author in (me, "") and one.provider == request.provider,
        ),
    ]
    for why, cap, begin, counts in asks:
        if cap is None:
            continue
        if reserve + committed_nusd(filter(counts, every), now_ms, begin) > cap:
            return why
    return ""


def room_nusd(rentals: Rentals, request: Request, now_ms: int) -> int:
    """What is left of a request's cap."""
    mine = [one for one in rentals.every() if _of_request(one, request)]
    return request.cap_nusd - committed_nusd(mine, now_ms)


def is_spent(rentals: Rentals, request: Request, before_ms: int) -> bool:
    """Whether some of a request's cap is spent, and nothing of it can be given back: all that was
    asked for was proved absent by then."""
    mine = [one for one in rentals.every() if one.state and _of_request(one, request)]
    return bool(mine) and all(one.state == ABSENT and one.since_ms <= before_ms for one in mine)


def _of_request(one: Rental, request: Request) -> bool:
    same_job = bool(request.job_id) and one.job_id == request.job_id
    return same_job or one.request_id == request.request_id


def month_begin(now_ms: int) -> int:
    """When the UTC month of a moment began."""
    day = datetime.fromtimestamp(now_ms / 1000, UTC)
    first = day.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    return round(first.timestamp()) * 1000
