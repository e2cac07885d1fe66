"""Which command comes next for one account: from the ledger and what this process has seen.

    decide(rentals, account, seen, here, now, nonce) -> the one that is due, or a wait

Rules, states and their reasons: docs/rentals.md.
"""

from __future__ import annotations

from collections.abc import Iterator

from mesh.policy.rentals.elsewhere import ELSEWHERE
from mesh.policy.rentals.timers import (
    ABSENCE_MS,
    ALARMS_MS,
    CHARGE_TRIES,
    CHARGES_EVERY_MS,
    CLOCKLESS_MS,
    LEASE_MS,
    POLL_MS,
    SWEEP_MS,
)
from mesh.policy.rentals.unwanted import Rivals, is_restless, rivals_of, unwanted
from mesh.policy.rentals.values import HOST_KEY, RANK, Command, Here, Say, Seen
from mesh.policy.rentals.wanting import request_step
from mesh.state.rentals.account import Account
from mesh.state.rentals.rental import Rental, may_help
from mesh.state.rentals.rentals import Rentals
from mesh.state.rentals.terms import (
    ABSENT,
    CREATING,
    INTENDED,
    INTERRUPTED,
    LIVE,
    READY,
    RETURNING,
    RUNNING,
    TERMINATING,
    UNKNOWN,
)


def decide(
    rentals: Rentals, account: Account, seen: Seen, here: Here, now_ms: int, nonce: str
) -> Command:
    """The most urgent command that is due, else a wait until the first that will be. `nonce` is
    random, lower case letters and digits: a copied disk must not name its next intent as ours."""
    listing_ms = max(seen.next_list_ms, seen.limit("list"))
    if not seen.clock:  # nothing is decided by a clock that no provider has confirmed
        if listing_ms <= now_ms and "list" not in seen.busy:
            return Command(op="list", at_ms=listing_ms)
        return Command(op="wait", at_ms=max(listing_ms, now_ms + CLOCKLESS_MS))
    plans = list(_plans(rentals, account, seen, here, now_ms, nonce))
    due = [one for one in plans if one.at_ms <= now_ms and one.op != "wait"]
    if due:
        return min(due, key=lambda one: _urgency(one, seen))
    later = [one.at_ms for one in plans if one.at_ms > now_ms]
    return Command(op="wait", at_ms=min(later, default=now_ms + SWEEP_MS))


def _urgency(one: Command, seen: Seen) -> tuple[int, int]:
    """What is least comes first. Where one call a second may be made many ends are due at once:
    none waits for a second ask of another."""
    ends = one.op == "terminate"
    return RANK[one.op], seen.end_again_ms(one.rental_id) if ends else one.at_ms


def _plans(
    rentals: Rentals, account: Account, seen: Seen, here: Here, now_ms: int, nonce: str
) -> Iterator[Command]:
    owns, active = account.owner[1] == here.peer, False
    if not account.owner[1]:
        yield Command(op="take")
    rivals = rivals_of(account)
    for one in account.open():
        if owns or may_help(one, now_ms, here.peer):
            active = active or one.state != INTENDED
            if one.rental_id not in seen.busy:
                yield _rental_step(rentals, account, one, seen, here, now_ms, rivals)
    if owns:
        for request in rentals.wanted(account.provider, account.account):
            yield request_step(rentals, account, request, seen, here, now_ms, nonce)
        yield from _after_the_end(account, seen, here)
        if here.profile.has_rises and active and "rises" not in seen.busy:
            yield Command(op="rises", at_ms=max(seen.rises_ms, seen.limit("rises")))
    if "list" not in seen.busy:
        yield Command(op="list", at_ms=_next_listing(seen, now_ms, active=active))


def _next_listing(seen: Seen, now_ms: int, *, active: bool) -> int:
    floor = max(seen.next_list_ms, seen.limit("list"))
    if seen.fails:
        return floor
    return max(floor, min(seen.listed_ms + (POLL_MS if active else SWEEP_MS), now_ms + SWEEP_MS))


def record(one: Rental, kind: str, **fields: object) -> Command:
    """Something to be written down at once."""
    return Command(op="record", rental_id=one.rental_id, says=Say(kind, one.rental_id, fields))


def _rental_step(
    rentals: Rentals,
    account: Account,
    one: Rental,
    seen: Seen,
    here: Here,
    now_ms: int,
    rivals: Rivals,
) -> Command:
    if one.state in RETURNING:
        return _return_step(one, seen, now_ms)
    if one.state == INTERRUPTED and one.wanted:
        return record(one, "return_decided", why=f"interrupted:{one.why}")
    if one.wanted:
        why = unwanted(rentals, account, one, here.profile, seen.listed_ms, now_ms, rivals)
        why = _seen_why(why, one, seen, here, now_ms)
        if why or may_help(one, now_ms, here.peer):
            return record(one, "return_decided", why=why or "expired")
    if one.state == INTENDED:
        return _intended_step(one, seen, now_ms)
    if one.state == CREATING:  # not busy: the reply went with the process that called
        return record(one, "create_unclear", why="restarted")
    if one.state == UNKNOWN and _alarm_due(one, one.since_ms, now_ms):
        return record(one, "alarm_raised", why="create_unknown")
    if _may_probe(one, seen):
        return Command(op="probe", at_ms=seen.probe.get(one.rental_id, 0), rental_id=one.rental_id)
    return Command(op="wait", at_ms=now_ms + POLL_MS)


def _seen_why(why: str, one: Rental, seen: Seen, here: Here, now_ms: int) -> str:
    """Why it is to be returned, with what only this process knows of it."""
    if why == "budget_sshd" and one.rental_id in seen.strange:
        return HOST_KEY
    # Whoever rented it alone has the key to it: others, who look in vain, say nothing of it.
    if not why and one.author == here.peer and _is_lost(one, seen, now_ms):
        return "no_contact"
    return "restless" if not why and is_restless(one, here.peer) else why


def _is_lost(one: Rental, seen: Seen, now_ms: int) -> bool:
    """Whether nobody got in for as long as a machine with a dead-man would have waited: where there
    is none, it would cost until the end of its life."""
    since_ms = seen.lost.get(one.rental_id, now_ms)
    return one.state in (READY, RUNNING) and now_ms - since_ms >= LEASE_MS


def _may_probe(one: Rental, seen: Seen) -> bool:
    up = one.state in LIVE and one.status == "up" and one.wanted and one.author != ""
    return up and f"probe {one.rental_id}" not in seen.busy


def _intended_step(one: Rental, seen: Seen, now_ms: int) -> Command:
    if one.rental_id not in seen.fresh:  # an older process, or another peer, may have called
        return record(one, "create_unclear", why="restarted")
    if not one.wanted:
        never = {"why": "never_called", "end_ms": now_ms, "last_ms": now_ms, "proved_ms": now_ms}
        return record(one, "absence_confirmed", **never)
    return Command(op="create", at_ms=seen.limit("create"), rental_id=one.rental_id)


def _return_step(one: Rental, seen: Seen, now_ms: int) -> Command:
    if one.state == TERMINATING and now_ms > one.since_ms + ABSENCE_MS:
        return record(one, "return_overdue")
    if _alarm_due(one, one.returned_ms, now_ms):
        return record(one, "alarm_raised", why="return_unconfirmed")
    if one.rental_id in seen.missing:  # a whole listing lacks it: the second one decides
        return Command(op="wait", at_ms=now_ms + POLL_MS)
    at_ms = max(seen.end_again_ms(one.rental_id), seen.limit("terminate"))
    return Command(op="terminate", at_ms=at_ms, rental_id=one.rental_id)


def _alarm_due(one: Rental, from_ms: int, now_ms: int) -> bool:
    return one.alarms < len(ALARMS_MS) and now_ms > from_ms + ALARMS_MS[one.alarms]


def _after_the_end(account: Account, seen: Seen, here: Here) -> Iterator[Command]:
    """The provider's charges, until two answers agree."""
    for one in account.rentals.values() if here.profile.has_charges else ():
        if one.state != ABSENT or one.invoiced_nusd is not None or not one.instance_id:
            continue
        if one.why == ELSEWHERE:  # it is charged once
            continue
        tries, next_ms, _ = seen.asked.get(one.rental_id, (0, 0, None))
        if tries < CHARGE_TRIES and one.rental_id not in seen.busy:
            at_ms = max(next_ms, one.since_ms + CHARGES_EVERY_MS, seen.limit("charges"))
            yield Command(op="charges", at_ms=at_ms, rental_id=one.rental_id)
