"""Who may act on an account, what may be spent, and what an invoice and a word count for."""

from dataclasses import replace

import pytest

from mesh.policy.rentals.caps import admit, committed_nusd, reserve_nusd, usual_cap_nusd
from mesh.policy.rentals.hearing import heard_charges
from mesh.policy.rentals.listing import Whole, heard_listing
from mesh.policy.rentals.timers import CHOICE_KEEPS_MS, MOST_RETRY_MS, POLL_MS, TOLERANCE
from mesh.policy.rentals.values import Say, Shares
from mesh.state.rentals.rental import Rental, may_help
from mesh.state.rentals.terms import (
    GRACE_MS,
    GUARD_MS,
    HELP_MS,
    HOUR_MS,
    MIN_MS,
    OWN_HELP_MS,
)
from providers.rental.contract import Accepted, Charges, Made, Unread
from tests.policy.rentals.desk import T0, USD, Desk, offer, profile, row

MADE = Made(instance_id="7")


def test_a_peer_that_has_not_the_account_acts_only_on_what_is_over_for_everybody() -> None:
    desk = Desk()
    one = desk.rent()
    desk.created(one, MADE)
    desk.write("account_taken", epoch=2, peer="B")
    desk.list(row(one))
    assert desk.next().op in ("list", "wait")
    desk.say(Say("return_decided", one.rental_id, {"why": "cancelled"}), author="B")
    assert not may_help(one, desk.now + HELP_MS, "C")
    assert may_help(one, desk.now + HELP_MS + 1, "C")
    desk.now += OWN_HELP_MS  # A rented it: it waits for one proof of absence alone
    desk.list(row(one))
    assert desk.next().op == "wait"
    desk.now += 2
    desk.seen.listed_ms = desk.now
    assert desk.record_all().op == "terminate"
    assert desk.now < one.expires_ms + GRACE_MS


def test_who_rented_a_machine_returns_it_at_its_end_though_another_took_the_account() -> None:
    desk = Desk()
    one = desk.rent()
    desk.created(one, MADE)
    desk.write("account_taken", epoch=2, peer="B")
    desk.now = one.made_ms + one.life_ms + GRACE_MS + 1
    desk.list(row(one))
    assert desk.record_all().op == "terminate"
    assert one.over == "life_over"


def test_a_request_of_a_peer_that_never_had_the_account_is_met_by_nobody() -> None:
    desk = Desk()
    desk.list()
    asked = {"request_id": "r9", "life_ms": HOUR_MS, "cap_nusd": 100 * USD}
    desk.write("rental_requested", author="M", **asked)
    assert desk.next().op in ("list", "wait")
    assert desk.seen.reasons == {"r9": "not_allowed"}
    desk.here = replace(desk.here, askers=frozenset({"M"}))
    assert desk.next().op == "choose"


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"hourly_nusd": 3 * USD}, "too_dear"),
        ({"hourly_nusd": 0}, "no_price"),
        ({"available": False}, "not_available"),
        ({"memory_bytes": 1}, "too_little_memory"),
        ({"spot": True}, "may_be_taken_back"),
        ({"provider": "runpod"}, "another_provider"),
        ({"gpu_count": 8}, "another_gpu_count"),
    ],
)
def test_an_offer_that_is_not_what_was_asked_for_is_not_taken(
    changed: dict[str, object], why: str
) -> None:
    desk = Desk()
    desk.list()
    desk.ask(max_hourly_nusd=2 * USD, memory_bytes=1 << 30, gpu_count=1)
    assert desk.choose(offer(**changed)).op == "wait"
    assert desk.seen.reasons["r1"] == why


RESERVE = reserve_nusd(USD, HOUR_MS)


@pytest.mark.parametrize(
    ("cap", "shares", "why"),
    [
        (RESERVE, Shares(), ""),
        (RESERVE - 1, Shares(), "job_cap"),
        (10 * RESERVE, Shares(day_nusd=RESERVE - 1), "day_cap"),
        (10 * RESERVE, Shares(month_nusd=RESERVE - 1), "provider_cap"),
        (10 * RESERVE, Shares(day_nusd=RESERVE, month_nusd=RESERVE), ""),
    ],
)
def test_caps_are_met_before_anything_is_asked_for(cap: int, shares: Shares, why: str) -> None:
    desk = Desk(shares)
    desk.list()
    desk.ask(cap_nusd=cap)
    command = desk.choose()
    assert command.op == ("wait" if why else "intend")
    assert desk.seen.reasons.get("r1", "") == why


def test_a_new_key_of_a_provider_begins_no_month_anew() -> None:
    for provider, why in (("vastai", "provider_cap"), ("runpod", "")):
        desk = Desk(Shares(month_nusd=2 * RESERVE - 1))
        before = {"provider": provider, "account": "the key before"}
        desk.write("account_taken", epoch=1, peer="A", **before)
        named = {"rental_id": "r0x1x1xabc", "turn": desk.now, "at_ms": desk.now}
        intent = {
            "request_id": "r0", "quote_nusd": USD, "reserved_nusd": RESERVE, "life_ms": HOUR_MS,
            "expires_ms": desk.now + HOUR_MS,
        }  # fmt: skip
        desk.write("rental_intended", **before, **named, **intent)
        desk.list()
        desk.ask(cap_nusd=RESERVE)
        desk.choose()
        assert desk.seen.reasons.get("r1", "") == why


def test_a_job_has_one_cap_for_all_its_requests() -> None:
    desk = Desk()
    desk.list()
    desk.ask("r1", cap_nusd=2 * RESERVE - 1, job_id="j-1")
    command = desk.choose()
    assert command.says is not None
    desk.say(command.says)
    desk.seen.fresh[command.says.rental_id] = offer()
    desk.seen.busy.add(command.says.rental_id)
    desk.ask("r2", cap_nusd=2 * RESERVE - 1, job_id="j-1")
    assert desk.choose().op == "wait"
    assert desk.seen.reasons["r2"] == "job_cap"


def failed(desk: Desk, one: Rental, minutes: int) -> None:
    """It never comes up, costs all the time, and is proved absent after that."""
    desk.created(one, MADE)
    end_ms = desk.now + minutes * MIN_MS
    while desk.now < end_ms:
        desk.list(row(one, "image"))
        desk.now += POLL_MS
    desk.say(Say("return_decided", one.rental_id, {"why": "budget_image"}))
    desk.ended(one, Accepted())
    while one.state != "absent":
        desk.now += POLL_MS
        desk.list()


def test_the_usual_cap_has_room_for_one_machine_that_never_comes_up() -> None:
    desk = Desk()
    most = USD * TOLERANCE // 100
    cap = usual_cap_nusd(most, HOUR_MS, desk.here.profile)
    one = desk.rent(cap_nusd=cap, max_hourly_nusd=most)
    failed(desk, one, 22)
    desk.now += MOST_RETRY_MS
    desk.list()
    assert desk.choose(offer(hourly_nusd=most)).op == "intend"


@pytest.mark.parametrize(
    ("setup", "from_create", "minutes"), [(False, True, 22), (True, True, 52), (False, False, 7)]
)
def test_a_boot_that_fails_is_capped_by_what_is_billed_of_it(
    *, setup: bool, from_create: bool, minutes: int
) -> None:
    cap = usual_cap_nusd(USD, HOUR_MS, profile(from_create=from_create), setup=setup)
    assert cap - RESERVE == reserve_nusd(USD, minutes * MIN_MS)


def test_a_request_whose_cap_is_spent_ends_once_nothing_of_it_is_open() -> None:
    desk = Desk()
    one = desk.rent(cap_nusd=RESERVE)
    desk.created(one, MADE)
    desk.say(Say("return_decided", one.rental_id, {"why": "budget_image"}))
    desk.ended(one, Accepted())
    desk.now += 2 * MOST_RETRY_MS
    desk.list(row(one, "image"))
    desk.seen.again[one.rental_id] = 1, desk.now + HOUR_MS
    assert desk.choose().op == "wait", "what it reserved may be given back"
    assert desk.seen.reasons["r1"] == "job_cap"
    while one.state != "absent":
        desk.now += POLL_MS
        desk.list()
    desk.now += CHOICE_KEEPS_MS
    desk.list()
    command = desk.choose()
    assert command.says == Say("request_ended", "", {"request_id": "r1", "why": "job_cap"})
    desk.write("request_ended", **command.says.fields)
    assert desk.next().op in ("list", "wait")


def test_a_cap_that_is_spent_goes_on_for_a_machine_that_fits_into_what_is_left() -> None:
    desk = Desk()
    failed(desk, desk.rent(cap_nusd=2 * RESERVE), 30)
    desk.now += MOST_RETRY_MS
    desk.list()
    assert desk.choose().op == "intend"


def test_what_a_peer_may_spend_is_its_own_share() -> None:
    desk = Desk(Shares(day_nusd=RESERVE))
    one = desk.rent()
    desk.created(one, MADE)
    desk.say(Say("step_reached", one.rental_id, {"step": "engine"}))
    desk.write("account_taken", epoch=2, peer="B")
    desk.here = replace(desk.here, peer="B")
    asked = {"request_id": "r2", "life_ms": HOUR_MS, "cap_nusd": 100 * USD}
    desk.write("rental_requested", author="B", **asked)
    desk.seen.probe[one.rental_id] = desk.now + HOUR_MS
    assert desk.choose().op == "intend"


def test_a_reservation_ends_by_proved_absence_alone() -> None:
    desk = Desk(Shares(day_nusd=2 * RESERVE - 1))
    one = desk.rent()
    desk.created(one, MADE)
    desk.ask("r2")
    desk.write("request_ended", request_id="r1", why="cancelled")
    desk.record_all()
    desk.ended(one, Accepted())
    assert desk.choose().op != "intend"
    assert desk.seen.reasons["r2"] == "day_cap"
    while one.state != "absent":
        desk.now += POLL_MS
        desk.list()
    desk.seen.chosen.clear()
    assert desk.choose().op == "intend"


def test_a_life_has_its_way_back_reserved_too() -> None:
    assert RESERVE == USD * 105 * (HOUR_MS + GUARD_MS) // HOUR_MS // 100


def ended(desk: Desk) -> Rental:
    """A machine that was up for two hours, and is absent."""
    one = desk.rent(life_ms=4 * HOUR_MS)
    desk.created(one, MADE)
    desk.list(row(one))
    desk.now += 2 * HOUR_MS
    desk.list(row(one))
    desk.say(Say("return_decided", one.rental_id, {"why": "cancelled"}))
    while one.state != "absent":
        desk.now += POLL_MS
        desk.list()
    return one


def invoiced(desk: Desk, amount_nusd: int) -> Rental:
    one = ended(desk)
    desk.write("request_ended", request_id="r1", why="cancelled")
    desk.say(Say("rental_invoiced", one.rental_id, {"amount_nusd": amount_nusd, "step_nusd": 1}))
    return one


@pytest.mark.parametrize("cap", ["day_cap", "provider_cap", "job_cap"])
def test_what_was_charged_beyond_the_meter_is_spent(cap: str) -> None:
    most = 60 * USD + RESERVE
    desk = Desk()
    one = invoiced(desk, 60 * USD)
    assert one.cost_nusd(desk.now) < 3 * USD
    for room, why in ((most, ""), (most - 1, cap)):
        day, month = (room if cap == name else None for name in ("day_cap", "provider_cap"))
        shares, request = Shares(day_nusd=day, month_nusd=month), one.request_id
        if cap != "job_cap":
            desk.ask("r2")
            request = "r2"
        asked = desk.rentals.requests.views[request]
        asked = replace(asked, cap_nusd=room if cap == "job_cap" else 10**6 * USD)
        assert admit(desk.rentals, asked, shares, "A", desk.now, RESERVE) == why


def test_what_was_charged_beyond_the_meter_counts_where_the_rental_ended() -> None:
    desk = Desk()
    one = invoiced(desk, 60 * USD)
    end_ms = one.meter.spans[-1].to_ms
    assert end_ms is not None
    later = desk.now + HOUR_MS
    possible = one.meter.possible_nusd
    assert committed_nusd([one], later) == 60 * USD
    assert committed_nusd([one], later, end_ms) == 60 * USD - one.cost_nusd(later)
    assert committed_nusd([one], later, end_ms + 1) == possible


def test_an_invoice_below_the_meter_makes_no_room() -> None:
    desk = Desk()
    one = ended(desk)
    before = committed_nusd([one], desk.now)
    desk.say(Say("rental_invoiced", one.rental_id, {"amount_nusd": 0, "step_nusd": 1}))
    assert committed_nusd([one], desk.now) == before


def test_an_invoice_that_ends_before_the_machine_did_is_a_part_and_does_not_count() -> None:
    desk = Desk()
    one = ended(desk)
    answers = [(5, HOUR_MS), (5, HOUR_MS), (9, 2 * HOUR_MS), (9, 2 * HOUR_MS)]
    for amount, until_ms in answers:
        assert one.invoiced_nusd is None
        booked = Charges(
            amount_nusd=amount, step_nusd=1, from_ms=0, to_ms=1, until_ms=T0 + until_ms
        )
        desk.say(*heard_charges(one, desk.seen, booked, desk.now))
    assert one.invoiced_nusd == 9


def test_that_nothing_is_booked_yet_is_no_invoice_of_nothing() -> None:
    desk = Desk()
    one = ended(desk)
    for _ in range(3):
        desk.say(*heard_charges(one, desk.seen, Unread(why="not_yet"), desk.now))
    assert one.invoiced_nusd is None


def test_an_invoice_counts_once_two_answers_agree() -> None:
    desk = Desk()
    one = desk.rent()
    desk.created(one, MADE)
    desk.say(Say("return_decided", one.rental_id, {"why": "cancelled"}))
    while one.state != "absent":
        desk.now += POLL_MS
        desk.list()
    desk.write("request_ended", request_id="r1", why="cancelled")
    desk.now += HOUR_MS + 1
    desk.list()
    assert desk.next().op == "charges"
    answers = [5, Unread(why="5xx"), 6, 7, 7]
    for answer in answers:
        charges = (
            answer
            if isinstance(answer, Unread)
            else Charges(amount_nusd=answer, step_nusd=1, from_ms=0, to_ms=1)
        )
        desk.say(*heard_charges(one, desk.seen, charges, desk.now))
    assert one.invoiced_nusd == 7


def test_a_word_that_does_not_count_hides_no_second_machine() -> None:
    desk = Desk()
    one = desk.rent()
    desk.created(one, MADE)
    twin = {"instance_id": "8", "label": one.label, "rate_nusd": USD, "since_ms": desk.now}
    more = Say("duplicate_found", f"{one.rental_id}.8", {**twin, "expires_ms": one.expires_ms})
    desk.say(more, author="M")
    assert desk.account.rentals[f"{one.rental_id}.8"].state == ""
    desk.list(row(one), row(one, instance_id="8"))
    assert desk.account.rentals[f"{one.rental_id}.8"].state == "terminating"


def test_a_peer_whose_word_does_not_count_tells_of_no_second_machine() -> None:
    desk = Desk()
    one = desk.rent()
    desk.created(one, MADE)
    desk.say(Say("return_decided", one.rental_id, {"why": "cancelled"}))
    now = desk.now + HELP_MS + 1
    whole = Whole(rows=(row(one), row(one, instance_id="8")), begun_ms=now, ended_ms=now)
    said = heard_listing(desk.account, desk.seen, whole, "C", "m1")
    assert "duplicate_found" not in [say.kind for say in said]
