"""A request without a machine: choose an offer, and intend one; never while an older one's outcome
is unknown, and never while the account can't be listed."""

from __future__ import annotations

from mesh.policy.rentals.caps import JOB_CAP, admit, is_spent, reserve_nusd
from mesh.policy.rentals.timers import (
    BLIND_MS,
    CHOICE_KEEPS_MS,
    MAX_ATTEMPTS,
    MOST_RETRY_MS,
    NO_OFFER_MS,
    RETRY_MS,
)
from mesh.policy.rentals.values import LIFE_OVER, Command, Here, Say, Seen
from mesh.state.rentals.account import Account
from mesh.state.rentals.rental import Rental
from mesh.state.rentals.rentals import Rentals
from mesh.state.rentals.requests import Request
from mesh.state.rentals.terms import ABSENT, GUARD_MS
from providers.rental.contract import Offer
from providers.rental.labels import label_of


def request_step(
    rentals: Rentals,
    account: Account,
    request: Request,
    seen: Seen,
    here: Here,
    now_ms: int,
    nonce: str,
) -> Command:
    """The next one for a request that is not over."""
    if request.author not in here.askers and not account.gave(here.peer, request.author):
        return _wait(seen, request, "not_allowed", now_ms)  # nobody else's word spends our money
    mine = [
        one
        for one in account.rentals.values()
        if one.request_id == request.request_id and not one.is_twin and one.state
    ]
    at_ms = _not_before(mine)
    if any(one.over == LIFE_OVER for one in mine):
        return _ended(request, LIFE_OVER)  # who asked for two hours had them
    if any(one.wanted and one.state != ABSENT for one in mine):
        return _wait(seen, request, "", now_ms)
    if seen.fails or seen.listed_ms < now_ms - BLIND_MS:
        return _wait(seen, request, "provider_not_listed", now_ms)
    if len(mine) >= MAX_ATTEMPTS:
        return _wait(seen, request, "too_many_attempts", now_ms)
    if at_ms > now_ms:
        return Command(op="choose", at_ms=at_ms, request_id=request.request_id)
    unpaid, again_ms = seen.unpaid.get(request.request_id, ("", 0))
    if unpaid and now_ms < again_ms:
        seen.reasons[request.request_id] = unpaid
        return Command(op="wait", at_ms=again_ms)
    offer = _offer(seen, request, now_ms)
    if not isinstance(offer, Offer):
        return offer
    no = admit(
        rentals,
        request,
        here.shares,
        here.peer,
        now_ms,
        reserve_nusd(offer.hourly_nusd, request.life_ms),
    )
    if no == JOB_CAP and is_spent(rentals, request, seen.chosen[request.request_id].at_ms):
        return _ended(request, no)
    if no:
        return _wait(seen, request, no, now_ms)
    seen.reasons.pop(request.request_id, None)
    says = _intent(account, request, offer, here, now_ms, (len(mine) + 1, nonce))
    return Command(op="intend", at_ms=at_ms, request_id=request.request_id, says=says)


def _not_before(mine: list[Rental]) -> int:
    if not mine:
        return 0
    last = max(one.returned_ms or one.since_ms for one in mine)
    return last + min(MOST_RETRY_MS, RETRY_MS << min(len(mine), 4))


def _wait(seen: Seen, request: Request, why: str, now_ms: int) -> Command:
    if why:
        seen.reasons[request.request_id] = why
    else:
        seen.reasons.pop(request.request_id, None)
    return Command(op="wait", at_ms=now_ms + NO_OFFER_MS)


def _ended(request: Request, why: str) -> Command:
    """It ends: waiting would be for ever."""
    fields = {"request_id": request.request_id, "why": why}
    return Command(op="record", says=Say("request_ended", "", fields))


def _offer(seen: Seen, request: Request, now_ms: int) -> Offer | Command:
    """The offer that was just chosen, or what is to be done to have one."""
    chosen = seen.chosen.get(request.request_id)
    if f"choose {request.request_id}" in seen.busy:
        return Command(op="wait", at_ms=now_ms + NO_OFFER_MS)
    if chosen is None or now_ms - chosen.at_ms > CHOICE_KEEPS_MS or now_ms < chosen.at_ms:
        return Command(op="choose", request_id=request.request_id)
    why = chosen.why if chosen.offer is None else unfit(chosen.offer, request)
    if chosen.offer is None or why:
        seen.reasons[request.request_id] = why
        return Command(op="choose", at_ms=chosen.at_ms + NO_OFFER_MS, request_id=request.request_id)
    return chosen.offer


def unfit(offer: Offer, request: Request) -> str:
    """Why an offer is not what was asked for, "" where it is."""
    checks = (
        ("another_provider", offer.provider != request.provider),
        ("another_offer", bool(request.offer_id) and offer.offer_id != request.offer_id),
        ("not_available", not offer.available),
        ("no_price", offer.hourly_nusd <= 0),
        ("too_dear", 0 < request.max_hourly_nusd < offer.hourly_nusd),
        ("another_gpu_count", bool(request.gpu_count) and offer.gpu_count != request.gpu_count),
        ("too_little_memory", offer.memory_bytes < request.memory_bytes),
        ("may_be_taken_back", offer.spot and not request.spot),
    )
    return next((why for why, holds in checks if holds), "")


def _intent(
    account: Account,
    request: Request,
    offer: Offer,
    here: Here,
    now_ms: int,
    named: tuple[int, str],
) -> Say:
    attempt, nonce = named
    epoch = account.owner[0]
    rental_id = f"{request.request_id}x{epoch}x{attempt}x{nonce}"
    expires_ms = now_ms + request.life_ms + GUARD_MS
    first = offer.hourly_nusd if here.profile.from_create else offer.stopped_hourly_nusd
    fields = {
        "request_id": request.request_id,
        "job_id": request.job_id,
        "label": label_of(here.mesh, rental_id, expires_ms),
        "epoch": epoch,
        "attempt": attempt,
        "offer_id": offer.offer_id,
        "gpu": offer.gpu,
        "gpu_count": offer.gpu_count,
        "memory_bytes": offer.memory_bytes,
        "region": offer.region,
        "host_id": offer.host_id,
        "spot": offer.spot,
        "quote_nusd": offer.hourly_nusd,
        "first_rate_nusd": first,
        "billed_step_ms": here.profile.billed_step_ms,
        "reserved_nusd": reserve_nusd(offer.hourly_nusd, request.life_ms),
        "life_ms": request.life_ms,
        "expires_ms": expires_ms,
    }
    return Say("rental_intended", rental_id, fields)
