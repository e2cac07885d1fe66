"""What a provider's replies prove: facts to be written, in their order.

No reply to an ask for an end proves anything, nor does a single listing.
"""

from __future__ import annotations

from mesh.policy.rentals.listing import heard_listing
from mesh.policy.rentals.timers import (
    AGAIN_MS,
    BOOKED_MS,
    CHARGES_EVERY_MS,
    CONTACT_MS,
    GAP_MS,
    MAX_ANSWERS,
    PROBE_MS,
)
from mesh.policy.rentals.values import HOST_KEY, SETUP_FAILED, Say, Seen
from mesh.state.rentals.rental import Rental
from mesh.state.rentals.terms import LIVE, READY, RETURNING, RUNNING
from providers.rental.contract import (
    NOT_YET,
    STEPS,
    Accepted,
    Charges,
    Created,
    Ended,
    Made,
    Refused,
    Step,
    Unread,
)

__all__ = [
    "heard_charges", "heard_create", "heard_listing", "heard_probe", "heard_setup",
    "heard_terminate", "heard_work",
]  # fmt: skip


def heard_create(one: Rental, created: Created) -> list[Say]:
    """What became of asking once for a machine."""
    rental_id = one.rental_id
    if isinstance(created, Refused):
        return [Say("create_refused", rental_id, {"why": created.code})]
    if not isinstance(created, Made):
        return [Say("create_unclear", rental_id, {"why": created.code})]
    why = created.code or "answered"
    placed = {"instance_id": created.instance_id, "why": why}
    says = [Say("create_answered", rental_id, placed)]
    if created.code:  # an error that left a machine behind
        says.append(Say("return_decided", rental_id, {"why": created.code}))
    return says


def heard_terminate(one: Rental, seen: Seen, ended: Ended, now_ms: int) -> list[Say]:
    """What was said to being asked for an end; the next ask is put off."""
    tries = seen.again.get(one.rental_id, (0, 0))[0]
    wait_ms = AGAIN_MS[min(tries, len(AGAIN_MS) - 1)]
    seen.again[one.rental_id] = (tries + 1, now_ms + wait_ms)
    why = "accepted" if isinstance(ended, Accepted) else ended.code
    if why == "accepted":
        seen.acked[one.rental_id] = now_ms
    told = one.why == why or (why == "accepted" and one.why in (one.over, "still_listed"))
    if one.state not in RETURNING or told or tries >= MAX_ANSWERS:
        return []
    return [Say("return_answered", one.rental_id, {"why": why})]


def heard_probe(one: Rental, seen: Seen, step: Step | str, now_ms: int) -> list[Say]:
    """`step`: the furthest that answers, HOST_KEY where another key does, "" if none does. An
    answer contradicts absence."""
    (seen.strange.add if step == HOST_KEY else seen.strange.discard)(one.rental_id)
    if step in STEPS or now_ms - seen.listed_ms > GAP_MS:
        seen.lost.pop(one.rental_id, None)
    else:
        seen.lost.setdefault(one.rental_id, now_ms)
    every = PROBE_MS if one.step < len(STEPS) else CONTACT_MS
    seen.probe[one.rental_id] = now_ms + every
    if step not in STEPS:
        return []
    seen.missing.pop(one.rental_id, None)
    seen.gone.pop(one.rental_id, None)
    if one.state not in LIVE:
        return []
    reached = STEPS[one.step : STEPS.index(step) + 1]
    return [Say("step_reached", one.rental_id, {"step": each}) for each in reached]


def heard_setup(one: Rental) -> list[Say]:
    """What was to make it ready failed there, as it would on any other: the request ends."""
    if one.state not in LIVE or not one.request_id:
        return []
    return [Say("request_ended", "", {"request_id": one.request_id, "why": SETUP_FAILED})]


def heard_work(one: Rental, work: str) -> list[Say]:
    """`work`: "none", "begun", or why the request is over ("job_done", "idle")."""
    if work == "none" or one.state not in (READY, RUNNING):
        return []
    if work == "begun":
        started = one.state == RUNNING
        return [] if started else [Say("rental_started", one.rental_id, {})]
    return [Say("request_ended", "", {"request_id": one.request_id, "why": work})]


def heard_charges(one: Rental, seen: Seen, charges: Charges | Unread, now_ms: int) -> list[Say]:
    """What the provider says a rental cost; the second equal answer counts. One that ends before
    the machine did is a part of it, and none."""
    tries, _, last = seen.asked.get(one.rental_id, (0, 0, None))
    if isinstance(charges, Charges) and _is_part(one, charges):
        charges = Unread(why=NOT_YET)
    amount = None if isinstance(charges, Unread) else charges.amount_nusd
    seen.asked[one.rental_id] = (tries + 1, now_ms + CHARGES_EVERY_MS, amount)
    if isinstance(charges, Unread) or amount != last or one.invoiced_nusd is not None:
        return []
    fields = {"amount_nusd": charges.amount_nusd, "step_nusd": charges.step_nusd}
    return [Say("rental_invoiced", one.rental_id, fields)]


def _is_part(one: Rental, charges: Charges) -> bool:
    """Whether the last hours or days in which it was seen, and cost something, are not booked."""
    costs = bool(one.meter.spans) and one.meter.spans[-1].rate_nusd > 0
    until_ms = charges.until_ms
    return costs and until_ms is not None and until_ms < one.last_ms - BOOKED_MS
