"""What comes next about rented machines, and what replies prove of them."""

from dataclasses import replace
from typing import Any

import pytest

from mesh.policy.rentals.hearing import heard_probe
from mesh.policy.rentals.listing import Whole, heard_listing
from mesh.policy.rentals.timers import ABSENCE_MS, AGAIN_MS, ALARMS_MS, POLL_MS
from mesh.policy.rentals.unwanted import overdue
from mesh.policy.rentals.values import Say
from mesh.state.rentals.rental import Rental
from mesh.state.rentals.terms import (
    HOUR_MS,
    LAG_MS,
    MIN_MS,
    S_MS,
)
from providers.rental.contract import Accepted, Made, Refused, Row, Unclear
from providers.rental.labels import label_of
from tests.policy.rentals.desk import USD, Desk, offer, row
from tests.state.test_rentals import INTENT

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
    late = [gap - least for gap, least in zip(gaps, AGAIN_MS, strict=False)]
    assert all(ms in (0, S_MS) for ms in late), "a listing that is due comes first"


def returning(desk: Desk, count: int) -> list[Rental]:
    """Machines that are there, and are wanted no more."""
    desk.list()
    for n in range(count):
        rental_id = f"r{n}x1x1xaaaaaaaa"
        label = label_of("m1", rental_id, desk.now + HOUR_MS)
        intent = {**INTENT, "label": label, "expires_ms": desk.now + HOUR_MS}
        desk.say(
            Say("rental_intended", rental_id, {**intent, "request_id": f"r{n}"}),
            Say("create_called", rental_id, {}),
            Say("create_answered", rental_id, {"instance_id": f"p{n:02d}", "why": "answered"}),
            Say("return_decided", rental_id, {"why": "cancelled"}),
        )
    return list(desk.account.rentals.values())


def test_a_listing_that_is_due_comes_before_ends() -> None:
    desk = Desk()
    returning(desk, 1)
    assert desk.next().op == "terminate"
    desk.now += POLL_MS
    assert desk.next().op == "list"


def test_of_many_ends_the_one_asked_for_longest_ago_is_next() -> None:
    desk = Desk()
    many = returning(desk, 40)
    asked = list[str]()
    for _ in range(120):
        desk.now += S_MS
        desk.seen.listed_ms = desk.now  # listings have their own turn
        desk.seen.limits["terminate"] = desk.now  # and nobody had one before
        command = desk.next()
        assert command.op == "terminate"
        asked.append(command.rental_id)
        desk.ended(desk.account.rentals[command.rental_id], Unclear(code="5xx"))
        desk.record_all()
    assert set(asked[:40]) == {one.rental_id for one in many}
    counts = [asked.count(one.rental_id) for one in many]
    assert max(counts) - min(counts) <= 1


def test_what_is_ended_though_nothing_can_be_written_takes_turns_too() -> None:
    desk = Desk()
    many = returning(desk, 3)
    desk.now += 2 * HOUR_MS
    ids = [one.rental_id for one in many]
    assert overdue(desk.account, desk.seen, "A", desk.now) == ids
    desk.seen.again[ids[0]] = 1, desk.now
    assert overdue(desk.account, desk.seen, "A", desk.now) == [*ids[1:], ids[0]]


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


NOT_SAID: dict[str, int | None] = {"price_nusd": 0, "rate_nusd": None}


def test_while_nobody_says_what_a_machine_costs_the_known_rate_goes_on() -> None:
    desk = Desk()
    one = desk.rent()
    desk.created(one, MADE)
    desk.list(row(one, price_nusd=USD * 9 // 10, rate_nusd=USD * 9 // 10))
    said = len(one.steps)
    begin = desk.now
    for rate in (None, 0) * 60:
        desk.now += POLL_MS
        desk.list(row(one, price_nusd=0, rate_nusd=rate))
    assert len(one.steps) == said, "there is nothing new to be said"
    assert one.cost_nusd(desk.now, begin) == USD * 9 // 10 * (desk.now - begin) // HOUR_MS > 0


@pytest.mark.parametrize("boots", [NOT_SAID, {"price_nusd": 0, "rate_nusd": 7}])
def test_a_machine_costs_its_disk_until_it_is_up_and_then_its_quote_where_nobody_says(
    boots: dict[str, Any],
) -> None:
    desk = Desk(from_create=False)
    one = desk.rent(offer(stopped_hourly_nusd=7))
    desk.created(one, MADE)
    for status in ("placing", "image", "container"):
        desk.now += POLL_MS
        desk.list(row(one, status, **boots))
        assert one.rate_nusd == 7
    desk.now += POLL_MS
    desk.list(row(one, "up", **NOT_SAID))
    assert one.rate_nusd == USD
    desk.list(row(one, "exited", **NOT_SAID))
    assert one.rate_nusd == USD
    desk.list(row(one, "exited", rate_nusd=7))
    desk.list(row(one, "exited", **NOT_SAID))
    assert one.rate_nusd == 7


def test_a_machine_that_boots_for_nothing_costs_nothing_until_it_is_up() -> None:
    desk = Desk(from_create=False)
    one = desk.rent()
    desk.created(one, MADE)
    desk.list(row(one, "image", price_nusd=0, rate_nusd=0))
    assert one.rate_nusd == 0
    desk.list(row(one, "error", **NOT_SAID))
    assert one.rate_nusd == USD


def test_a_second_machine_and_one_that_is_back_cost_what_is_known_where_nobody_says() -> None:
    desk = Desk()
    one = desk.rent()
    desk.created(one, MADE)
    desk.list(row(one), row(one, instance_id="8", **NOT_SAID))
    assert desk.account.rentals[f"{one.rental_id}.8"].rate_nusd == USD
    desk.say(Say("return_decided", one.rental_id, {"why": "cancelled"}))
    while one.state != "absent":
        desk.now += POLL_MS
        desk.list(row(one, instance_id="8"))
    desk.list(row(one, **NOT_SAID))
    assert (one.state, one.rate_nusd) == ("terminating", USD)


def test_the_first_price_of_a_machine_that_was_found_counts_from_when_it_may_be_there() -> None:
    desk = Desk()
    desk.list()
    label = label_of("m1", "r9x1x1xabcdefgh", desk.now + HOUR_MS)
    begin = desk.now
    found = Row(instance_id="9", label=label, status="up", price_nusd=0, rate_nusd=None)
    for _ in range(10):
        desk.now += POLL_MS
        desk.list(found)
    one = desk.account.rentals["r9x1x1xabcdefgh"]
    assert one.cost_nusd(desk.now) == 0
    desk.list(replace(found, price_nusd=USD, rate_nusd=USD))
    assert one.cost_nusd(desk.now) == USD * (desk.now - begin) // HOUR_MS


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


def test_a_machine_that_lived_its_time_ends_its_request_however_large_the_cap() -> None:
    desk = Desk()
    one = desk.rent(cap_nusd=1000 * USD)
    desk.created(one, MADE)
    desk.list(row(one))
    desk.say(*heard_probe(one, desk.seen, "engine", desk.now))
    desk.now += one.life_ms
    desk.list(row(one))
    desk.record_all()
    assert desk.rentals.requests.views["r1"].over == "life_over"
    assert desk.record_all().op == "terminate"


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
