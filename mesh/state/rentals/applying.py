"""What each event changes of its rental."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from mesh.state.facts import rental as facts
from mesh.state.rentals.money import MAX_STEP_MS, cost_nusd
from mesh.state.rentals.rental import Rental, cut, rate_of
from mesh.state.rentals.terms import (
    ABSENT,
    BAD,
    BOOTING,
    CREATING,
    INTENDED,
    INTERRUPTED,
    LAG_MS,
    LIVE,
    PROVISIONING,
    REACHED_BY,
    READY,
    RETURNING,
    RUNNING,
    STATUSES,
    STEPS,
    TERMINATING,
    UNCONFIRMED,
    UNKNOWN,
)


def _intended(one: Rental, fact: facts.RentalIntended, author: str) -> None:
    if one.author:
        return  # an intent is written once
    one.author, one.epoch, one.attempt = author, fact.epoch, fact.attempt
    one.request_id, one.job_id, one.label = cut(fact.request_id), cut(fact.job_id), cut(fact.label)
    one.offer_id, one.gpu, one.gpu_count = cut(fact.offer_id), cut(fact.gpu), fact.gpu_count
    one.region, one.host_id, one.memory_bytes = (
        cut(fact.region),
        cut(fact.host_id),
        fact.memory_bytes,
    )
    one.host_key, one.spot, one.life_ms = cut(fact.host_key), fact.spot, fact.life_ms
    one.quote_nusd, one.reserved_nusd = fact.quote_nusd, fact.reserved_nusd
    one.made_ms, one.expires_ms = fact.at_ms, fact.expires_ms
    one.rate_nusd, one.price_nusd = fact.first_rate_nusd, fact.quote_nusd
    one.meter.step_ms = min(MAX_STEP_MS, max(1, fact.billed_step_ms))
    one.move(INTENDED, "admitted", fact.at_ms)


def _called(one: Rental, fact: facts.CreateCalled, _: str) -> None:
    if one.state != INTENDED:
        return
    one.called_ms = fact.at_ms
    one.meter.begin(fact.at_ms, one.rate_nusd)
    one.move(CREATING, "called", fact.at_ms)


def _placed(one: Rental, instance_id: str, begun_ms: int, why: str, at_ms: int) -> None:
    one.settled_ms = one.settled_ms or at_ms
    one.called_ms = one.called_ms or one.made_ms or at_ms
    one.meter.begin(one.called_ms, one.rate_nusd)
    if not one.seen_ms:
        one.meter.doubt(one.rate_nusd, at_ms - one.called_ms)
    if one.instance_id not in ("", instance_id):
        one.status, one.looked_ms = "", 0  # of this machine nobody has seen how it was
    one.instance_id = cut(instance_id)
    one.seen_ms = max(one.seen_ms, begun_ms)
    _reach(one, 1, at_ms)
    one.move(PROVISIONING if one.wanted else TERMINATING, why, at_ms)


def _answered(one: Rental, fact: facts.CreateAnswered, _: str) -> None:
    if one.state == ABSENT:
        return
    instance_id = one.instance_id or fact.instance_id
    _placed(one, instance_id, fact.at_ms, fact.why, fact.at_ms)


def _found(one: Rental, fact: facts.InstanceFound, _: str) -> None:
    if one.state not in ("", ABSENT):
        _placed(one, fact.instance_id, fact.begun_ms, fact.why, fact.at_ms)


def _unclear(one: Rental, fact: facts.CreateUnclear, _: str) -> None:
    one.settled_ms = fact.at_ms
    one.called_ms = one.called_ms or one.made_ms  # an older process may have called at once
    one.meter.begin(one.called_ms, one.rate_nusd)
    if one.state in (INTENDED, CREATING):
        one.move(UNKNOWN, fact.why, fact.at_ms)


def _refused(one: Rental, fact: facts.CreateRefused, _: str) -> None:
    one.settled_ms = fact.at_ms
    if one.state in (INTENDED, CREATING):
        one.refused = True
        one.move(UNKNOWN, fact.why, fact.at_ms)
    if one.wanted and one.state != ABSENT:
        _let_go(one, fact.why, fact.at_ms)
        one.move(TERMINATING if one.instance_id else one.state, fact.why, fact.at_ms)


def _changed(one: Rental, fact: facts.InstanceChanged, _: str) -> None:
    if one.state in ("", ABSENT) or fact.status not in STATUSES:
        return
    # Nobody had seen how it was before the first look: the change may be as old as the call. So may
    # be the first price that anybody says of a machine that was found.
    since_ms = fact.since_ms if one.looked_ms and one.price_nusd else one.called_ms
    rate_nusd = rate_of(one, fact.status, fact.price_nusd, fact.rate_nusd)
    one.status, one.price_nusd = fact.status, fact.price_nusd or one.price_nusd
    one.looked_ms = max(one.looked_ms, fact.begun_ms)
    one.seen_ms = max(one.seen_ms, one.looked_ms)
    if one.status in BAD and one.rate_nusd < one.price_nusd:
        _charge(one, one.price_nusd, fact.at_ms, since_ms)  # it may have been up, unseen
    if rate_nusd != one.rate_nusd:
        _charge(one, rate_nusd, fact.at_ms, since_ms)
    reached = REACHED_BY.get(one.status, 0)
    _reach(one, reached, fact.at_ms)
    if one.state == PROVISIONING and reached:
        one.move(BOOTING, one.status, fact.at_ms)


def _charge(one: Rental, rate_nusd: int, seen_ms: int, since_ms: int) -> None:
    one.meter.change(rate_nusd, seen_ms, since_ms)
    one.rate_nusd = rate_nusd


def _reach(one: Rental, count: int, at_ms: int) -> None:
    if count > one.step:
        one.booted_ms = (*one.booted_ms, *[at_ms] * (count - one.step))
        one.step, one.step_ms = count, at_ms


def _step(one: Rental, fact: facts.StepReached, _: str) -> None:
    if one.state in ("", ABSENT) or fact.step not in STEPS:
        return
    one.seen_ms = max(one.seen_ms, fact.at_ms)
    _reach(one, STEPS.index(fact.step) + 1, fact.at_ms)
    if fact.step == STEPS[-1] and one.state in (PROVISIONING, BOOTING):
        one.move(READY, fact.step, fact.at_ms)


def _started(one: Rental, fact: facts.RentalStarted, _: str) -> None:
    if one.state == READY:
        one.move(RUNNING, "started", fact.at_ms)


def _interrupted(one: Rental, fact: facts.RentalInterrupted, _: str) -> None:
    if one.state in LIVE:
        one.move(INTERRUPTED, fact.why, fact.at_ms)


def _let_go(one: Rental, why: str, at_ms: int) -> None:
    one.wanted, one.over, one.returned_ms = False, cut(why), at_ms


def _returned(one: Rental, fact: facts.ReturnDecided, _: str) -> None:
    if one.state in ("", ABSENT):
        return
    if one.wanted:
        _let_go(one, fact.why, fact.at_ms)
    if one.instance_id and one.state not in RETURNING:
        one.move(TERMINATING, fact.why, fact.at_ms)


def _return_answered(one: Rental, fact: facts.ReturnAnswered, _: str) -> None:
    if one.state in RETURNING:
        taken = fact.why == "accepted"
        one.move(TERMINATING if taken else UNCONFIRMED, fact.why, fact.at_ms)


def _overdue(one: Rental, fact: facts.ReturnOverdue, _: str) -> None:
    if one.state == TERMINATING:
        one.move(UNCONFIRMED, "still_listed", fact.at_ms)


def _alarm(one: Rental, _: facts.AlarmRaised, __: str) -> None:
    one.alarms += 1


def _absent(one: Rental, fact: facts.AbsenceConfirmed, _: str) -> None:
    if one.state in ("", ABSENT):
        return
    if one.instance_id:
        _close(one, fact)
    else:  # never seen: as far as anyone can know nothing was charged
        unknown_ms = fact.proved_ms - one.called_ms if one.called_ms else 0
        one.meter.possible_nusd = cost_nusd(one.quote_nusd, unknown_ms)
        one.meter.end(one.called_ms)
    one.wanted, one.over = False, one.over or cut(fact.why)
    one.move(ABSENT, fact.why, fact.at_ms)


def _close(one: Rental, fact: facts.AbsenceConfirmed) -> None:
    if one.rate_nusd < one.price_nusd and one.status not in BAD:
        since = max(one.called_ms, fact.last_ms - LAG_MS) if one.looked_ms else one.called_ms
        _charge(one, one.price_nusd, fact.end_ms, since)  # it may have come up, unseen
    one.meter.doubt(one.rate_nusd, fact.end_ms - fact.last_ms + LAG_MS)
    step_ms = one.meter.step_ms - 1  # a little more time may be a whole step more
    one.meter.doubt(one.rate_nusd, step_ms)
    # An end was accepted: it ended before the first listing without it, surely.
    unseen_ms = fact.proved_ms - fact.end_ms
    one.meter.possible_nusd = cost_nusd(one.rate_nusd, unseen_ms + step_ms if unseen_ms else 0)
    one.meter.end(fact.end_ms)
    one.last_ms = fact.last_ms


def _reappeared(one: Rental, fact: facts.InstanceReappeared, _: str) -> None:
    if one.state != ABSENT:
        return
    one.instance_id, one.wanted = cut(fact.instance_id), False
    one.returned_ms, one.seen_ms = fact.at_ms, max(one.seen_ms, fact.at_ms)
    one.meter.go_on(fact.at_ms, fact.rate_nusd)
    one.rate_nusd = one.meter.spans[-1].rate_nusd
    one.move(TERMINATING, "reappeared", fact.at_ms)


def _strange(one: Rental, fact: facts.StrangeFound, _: str) -> None:
    if one.made_ms:
        return  # its intent is known by now: it is found by its label
    one.request_id, one.job_id, one.label = cut(fact.request_id), cut(fact.job_id), cut(fact.label)
    one.instance_id = cut(fact.instance_id)
    one.made_ms = one.called_ms = one.settled_ms = fact.since_ms
    one.quote_nusd = one.price_nusd = one.rate_nusd = fact.rate_nusd
    one.expires_ms, one.life_ms = fact.expires_ms, max(0, fact.expires_ms - fact.since_ms)
    one.seen_ms = fact.at_ms
    one.meter.begin(fact.since_ms, fact.rate_nusd)
    one.meter.doubt(fact.rate_nusd, fact.at_ms - fact.since_ms + LAG_MS)
    _reach(one, 1, fact.at_ms)
    if isinstance(fact, facts.DuplicateFound):
        _let_go(one, "duplicate", fact.at_ms)
        one.move(TERMINATING, "duplicate_found", fact.at_ms)
    else:
        one.move(PROVISIONING, "orphan_found", fact.at_ms)


def _rise(one: Rental, _: facts.PriceRiseRefused, __: str) -> None:
    one.rises_refused += 1


def _invoiced(one: Rental, fact: facts.RentalInvoiced, _: str) -> None:
    one.invoiced_nusd, one.invoice_step_nusd = fact.amount_nusd, fact.step_nusd


APPLY: Final[dict[str, Callable[[Rental, Any, str], None]]] = {
    "rental_intended": _intended,
    "create_called": _called,
    "create_answered": _answered,
    "create_unclear": _unclear,
    "create_refused": _refused,
    "instance_found": _found,
    "instance_changed": _changed,
    "step_reached": _step,
    "rental_started": _started,
    "rental_interrupted": _interrupted,
    "return_decided": _returned,
    "return_answered": _return_answered,
    "return_overdue": _overdue,
    "alarm_raised": _alarm,
    "absence_confirmed": _absent,
    "instance_reappeared": _reappeared,
    "duplicate_found": _strange,
    "orphan_found": _strange,
    "price_rise_refused": _rise,
    "rental_invoiced": _invoiced,
}
