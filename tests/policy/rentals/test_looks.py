"""What looks into a machine by SSH prove: that it lives, that it is ready, that nobody gets in."""

from dataclasses import replace

import pytest

from mesh.policy.rentals.hearing import heard_probe, heard_setup, heard_work
from mesh.policy.rentals.timers import POLL_MS
from mesh.state.rentals.rental import Rental
from mesh.state.rentals.terms import MIN_MS, S_MS
from providers.rental.contract import Made
from tests.policy.rentals.desk import BUDGETS, Desk, row

MADE = Made(instance_id="7")


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


@pytest.mark.parametrize(("setup", "minutes"), [("", 5), ("pip install vllm", 35)])
def test_what_makes_a_machine_ready_has_half_an_hour_more(setup: str, minutes: int) -> None:
    desk = Desk()
    one = desk.rent(setup=setup)
    desk.created(one, MADE)
    desk.list(row(one))
    desk.say(*heard_probe(one, desk.seen, "sshd", desk.now))
    begun = desk.now
    while one.wanted:
        desk.now += POLL_MS
        desk.list(row(one))
        desk.say(*heard_probe(one, desk.seen, "sshd", desk.now))
        desk.record_all()
    assert one.over == "budget_engine"
    assert abs(desk.now - begun - minutes * MIN_MS) <= 2 * POLL_MS


def test_where_a_setup_failed_the_request_ends_and_no_second_machine_is_asked_for() -> None:
    desk = Desk()
    one = desk.rent(setup="make")
    desk.created(one, MADE)
    desk.list(row(one))
    desk.say(*heard_setup(one))
    desk.record_all()
    assert (one.wanted, one.over) == (False, "setup_failed")
    assert heard_setup(one) == [], "it is said once"
    assert desk.next().op != "choose"


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
