"""What comes next about rented machines, and what replies prove of them."""

from dataclasses import replace

import pytest

from mesh.policy.rentals.caps import reserve_nusd
from mesh.policy.rentals.hearing import heard_charges, heard_probe, heard_work
from mesh.policy.rentals.listing import Whole, heard_listing
from mesh.policy.rentals.timers import ABSENCE_MS, AGAIN_MS, ALARMS_MS, POLL_MS
from mesh.policy.rentals.values import Say, Shares
from mesh.state.rentals.rental import Rental, may_help
from mesh.state.rentals.terms import (
    GRACE_MS,
    GUARD_MS,
    HELP_MS,
    HOUR_MS,
    LAG_MS,
    MIN_MS,
    OWN_HELP_MS,
    S_MS,
)
from providers.rental.contract import Accepted, Charges, Made, Refused, Unclear, Unread
from tests.policy.rentals.desk import BUDGETS, USD, Desk, offer, row

MADE = Made(instance_id="7")


def test_nothing_is_decided_before_the_provider_told_the_time() -> None:
    desk = Desk()
    desk.seen.clock = False
    desk.ask()
    assert desk.next().op == "list"
    desk.seen.busy.add("list")
    assert desk.next().op == "wait"


def test_an_account_that_nobody_has_is_taken() -> None:
    desk = Desk()
    desk.account.drop("A")
    assert desk.next().op == "take"


def test_nothing_is_asked_for_while_the_account_cannot_be_listed() -> None:
    desk = Desk()
    desk.ask()
    desk.list()
    assert desk.next().op == "choose"
    desk.seen.fails = 1
    assert desk.next().op in ("list", "wait")
    desk.seen.fails = 0
    desk.now += 7 * MIN_MS
    assert desk.next().op == "list"
    assert desk.seen.reasons["r1"] == "provider_not_listed"


@pytest.mark.parametrize(
    ("unclear", "why"), [("timeout", "timeout"), ("5xx", "5xx"), ("429", "429"), ("reset", "reset")]
)
def test_what_is_unclear_is_looked_for_and_never_asked_for_again(unclear: str, why: str) -> None:
    desk = Desk()
    one = desk.rent()
    desk.created(one, Unclear(code=unclear))
    assert (one.state, one.why) == ("unknown_create", why)
    for status in ("placing", "image", "image"):
        desk.now += POLL_MS
        assert desk.next().op == "list"
        desk.list(row(one, status))
    assert (one.instance_id, one.state) == ("7", "booting")
    kinds = [step.kind for step in one.steps]
    assert (kinds.count("instance_found"), kinds.count("create_called")) == (1, 1)


def test_an_error_with_a_machine_in_it_is_a_machine_to_return() -> None:
    desk = Desk()
    one = desk.rent()
    desk.created(one, Made(instance_id="7", code="invalid_price"))
    assert (one.state, one.over) == ("terminating", "invalid_price")
    assert desk.next().op == "terminate"


def test_after_a_refusal_another_offer_is_tried_while_the_label_is_watched() -> None:
    desk = Desk()
    one = desk.rent()
    desk.created(one, Refused(code="no_such_ask"))
    desk.now += 10 * S_MS
    desk.list()
    assert desk.next().op == "choose"
    assert one.state == "unknown_create"
    desk.list(row(one))
    assert (one.state, one.instance_id) == ("terminating", "7")


def test_an_intent_of_an_older_process_is_unknown_and_not_carried_on() -> None:
    desk = Desk()
    desk.list()
    desk.ask()
    command = desk.choose()
    assert command.says is not None
    desk.say(command.says)
    command = desk.next()
    assert command.says is not None
    assert (command.says.kind, command.says.fields["why"]) == ("create_unclear", "restarted")


def test_a_call_that_a_crash_cut_off_is_unknown() -> None:
    desk = Desk()
    one = desk.rent()
    desk.seen.busy.clear()
    desk.record_all()
    assert (one.state, one.why) == ("unknown_create", "restarted")


def test_absence_takes_two_whole_listings_far_apart_without_a_gap() -> None:
    desk = Desk()
    one = desk.rent()
    desk.created(one, MADE)
    desk.say(Say("return_decided", one.rental_id, {"why": "cancelled"}))
    begun = desk.now = desk.now + S_MS
    while one.state != "absent":
        desk.list()
        assert desk.now - begun <= ABSENCE_MS
        desk.now += POLL_MS
    assert desk.now - begun >= ABSENCE_MS


def test_a_blind_time_between_two_listings_starts_the_proof_again() -> None:
    desk = Desk()
    one = desk.rent()
    desk.created(one, MADE)
    desk.now += S_MS
    desk.list()
    desk.now += HOUR_MS // 2
    desk.list()
    assert one.is_open


def test_a_look_by_ssh_is_a_sign_of_life() -> None:
    desk = Desk()
    one = desk.rent()
    desk.created(one, MADE)
    desk.list(row(one))
    desk.now += S_MS
    desk.list()
    assert one.rental_id in desk.seen.missing
    desk.say(*heard_probe(one, desk.seen, "engine", desk.now))
    assert desk.seen.missing == {}
    assert (one.state, one.step) == ("ready", 5)
    desk.say(*heard_work(one, "begun"))
    assert one.state == "running"
    (ended,) = heard_work(one, "job_done")
    assert ended.fields == {"request_id": "r1", "why": "job_done"}


@pytest.mark.parametrize(("answers", "why"), [("host_key", "host_key"), ("", "budget_sshd")])
def test_a_machine_that_shows_another_key_until_its_time_is_over_is_returned_for_that(
    answers: str, why: str
) -> None:
    desk = Desk()
    one = desk.rent()
    desk.created(one, MADE)
    end = desk.now + BUDGETS["sshd"] * MIN_MS + POLL_MS
    while one.wanted and desk.now <= end:
        desk.list(row(one))
        desk.say(*heard_probe(one, desk.seen, "host_key", desk.now))
        desk.say(*heard_probe(one, desk.seen, answers, desk.now))
        desk.record_all()
        desk.now += POLL_MS
    assert (one.wanted, one.over) == (False, why)


def unanswered(desk: Desk, one: Rental, minutes: int, *, listed: bool = True) -> None:
    """Looks by SSH fail for a while; the provider lists the machine, or nothing at all."""
    end = desk.now + minutes * MIN_MS
    while one.wanted and desk.now < end:
        if listed:
            desk.list(row(one))
        desk.say(*heard_probe(one, desk.seen, "", desk.now))
        desk.record_all()
        desk.now += POLL_MS


def ready(desk: Desk) -> Rental:
    one = desk.rent()
    desk.created(one, MADE)
    desk.list(row(one))
    desk.say(*heard_probe(one, desk.seen, "engine", desk.now))
    assert one.state == "ready"
    return one


def test_a_machine_that_nobody_can_enter_is_returned_when_a_dead_man_would_have_ended_it() -> None:
    desk = Desk()
    one = ready(desk)
    unanswered(desk, one, 29)
    assert one.wanted
    unanswered(desk, one, 2)
    assert (one.wanted, one.over) == (False, "no_contact")


def test_who_has_the_account_and_not_the_key_to_a_machine_takes_it_for_no_lost_one() -> None:
    desk = Desk()
    one = ready(desk)
    desk.write("account_taken", epoch=2, peer="B")
    desk.here = replace(desk.here, peer="B")
    unanswered(desk, one, 40)
    assert one.wanted


def test_one_look_that_gets_in_begins_the_wait_anew() -> None:
    desk = Desk()
    one = ready(desk)
    unanswered(desk, one, 20)
    desk.say(*heard_probe(one, desk.seen, "engine", desk.now))
    unanswered(desk, one, 20)
    assert one.wanted


def test_while_the_provider_is_not_heard_either_no_machine_is_taken_for_lost() -> None:
    desk = Desk()
    one = ready(desk)
    unanswered(desk, one, 20)
    unanswered(desk, one, 5, listed=False)
    unanswered(desk, one, 20)
    assert one.wanted


def test_a_container_that_is_dead_in_two_looks_is_returned_and_costs_until_it_is_absent() -> None:
    desk = Desk()
    one = desk.rent()
    desk.created(one, MADE)
    died = 0
    for status in ("up", "up", "exited", "exited"):
        desk.now += POLL_MS
        died = died or (desk.now if status == "exited" else 0)
        desk.list(row(one, status))
    assert desk.record_all().op == "terminate"
    assert one.over == "interrupted:container_exited"
    assert desk.now - died <= 60 * S_MS
    while one.state != "absent":
        before = one.cost_nusd(desk.now)
        desk.now += POLL_MS
        assert one.cost_nusd(desk.now) > before
        desk.list()


def test_an_end_that_is_refused_is_asked_for_until_it_is_taken() -> None:
    desk = Desk()
    one = desk.rent()
    desk.created(one, MADE)
    desk.say(Say("return_decided", one.rental_id, {"why": "cancelled"}))
    asked = []
    while len(asked) < 4:
        command = desk.next()
        if command.op == "terminate":
            asked.append(desk.now)
            desk.ended(one, Refused(code="vm-has-not-launched"))
            assert (one.state, one.why) == ("terminating_unconfirmed", "vm-has-not-launched")
        elif command.op == "list":
            desk.list(row(one, "placing"))
        desk.now += S_MS
    gaps = [later - first for first, later in zip(asked, asked[1:], strict=False)]
    assert gaps == [*AGAIN_MS[:3]]


def test_an_end_that_was_taken_proves_nothing() -> None:
    desk = Desk()
    one = desk.rent()
    desk.created(one, MADE)
    desk.say(Say("return_decided", one.rental_id, {"why": "cancelled"}))
    desk.ended(one, Accepted(gone=True))
    assert one.state == "terminating"
    desk.now += ABSENCE_MS + 1
    desk.list(row(one))
    desk.record_all()
    assert (one.state, one.why) == ("terminating_unconfirmed", "still_listed")
    desk.now = one.returned_ms + ALARMS_MS[0] + 1
    desk.record_all()
    assert one.alarms == 1


def test_a_dearer_machine_is_returned() -> None:
    desk = Desk()
    one = desk.rent()
    desk.created(one, MADE)
    desk.list(row(one, price_nusd=USD * 105 // 100))
    assert desk.record_all().op != "terminate"
    desk.list(row(one, price_nusd=USD * 106 // 100))
    assert desk.record_all().op == "terminate"
    assert one.over == "price_above_quote"


def test_a_change_that_could_not_be_written_is_as_old_as_the_look_before_it() -> None:
    desk = Desk()
    one = desk.rent()
    desk.created(one, MADE)
    desk.list(row(one, "image", rate_nusd=1))
    first = desk.now
    for _ in range(8):
        desk.now += POLL_MS
        whole = Whole(rows=(row(one),), begun_ms=desk.now, ended_ms=desk.now)
        says = heard_listing(desk.account, desk.seen, whole, "A", "m1")
    assert [say.kind for say in says] == ["instance_changed"]
    assert says[0].fields["since_ms"] == max(one.called_ms, first - LAG_MS)


def test_a_price_of_nothing_is_no_price() -> None:
    desk = Desk()
    one = desk.rent()
    desk.created(one, MADE)
    desk.list(row(one, price_nusd=0))
    assert one.price_nusd == USD


def test_a_step_that_takes_too_long_is_given_up_once_a_listing_shows_it() -> None:
    desk = Desk()
    one = desk.rent()
    desk.created(one, MADE)
    desk.now += 11 * MIN_MS
    assert desk.record_all().op == "list", "being blind is not the machine's fault"
    desk.list(row(one, "placing"))
    desk.record_all()
    assert one.over == "budget_image"


def test_of_two_machines_with_one_label_the_lower_id_stays() -> None:
    for found in (("7", "8"), ("8", "7")):
        desk = Desk()
        one = desk.rent()
        desk.created(one, Unclear(code="timeout"))
        desk.now += S_MS
        desk.list(*(row(one, instance_id=each) for each in found))
        twin = desk.account.rentals[f"{one.rental_id}.8"]
        assert (one.instance_id, one.wanted) == ("7", True)
        assert (twin.instance_id, twin.state, twin.over) == ("8", "terminating", "duplicate")


def test_a_label_of_ours_that_nobody_knows_lives_until_it_expires() -> None:
    desk = Desk()
    desk.list()
    strange = desk.rent()
    other = Desk()
    other.list(row(strange))
    one = other.account.rentals[strange.rental_id]
    assert (one.state, one.why) == ("provisioning", "orphan_found")
    assert other.record_all().op != "terminate"
    other.now = strange.expires_ms
    other.record_all()
    assert one.over == "life_over"


def test_machines_of_others_are_left_alone() -> None:
    desk = Desk()
    one = desk.rent()
    labels = ("", "my-training", one.label.replace("fl-m1", "fl-m2"), "fl-m1-x")
    rows = [row(one, label=label, instance_id=str(n)) for n, label in enumerate(labels)]
    whole = Whole(rows=tuple(rows), begun_ms=desk.now, ended_ms=desk.now)
    assert heard_listing(Desk().account, desk.seen, whole, "A", "m1") == []


def test_a_closed_machine_that_is_listed_again_is_returned_again() -> None:
    desk = Desk()
    one = desk.rent()
    desk.created(one, Unclear(code="timeout"))
    while one.state != "absent":
        desk.now += POLL_MS
        desk.list()
    desk.list(row(one))
    assert (one.state, one.why) == ("terminating", "reappeared")
    assert desk.next().op == "terminate"


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
