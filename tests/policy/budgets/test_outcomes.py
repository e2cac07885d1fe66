"""What the ledger tells of a thing that money is held for, and whose cap counts."""

from __future__ import annotations

from mesh.policy.budgets.believing import believes, is_maker
from mesh.policy.budgets.outcomes import (
    NEVER,
    OPEN,
    RETIRED,
    machines_of,
    of_attempt,
    of_rental,
    outcome,
)
from mesh.state.budgets.budget import Budget
from mesh.state.facts.budget import FLEET, JOB, KEY
from mesh.state.facts.serving import TOTAL
from mesh.state.members import Members
from mesh.state.state import State
from tests.state.job_story import ANA, BEN, event, life, told
from tests.state.test_rentals import Tale, folded

RENTAL = "r1x1x1xabc"


def of(state: State, about: str, me: str = ANA) -> object:
    return outcome(state, machines_of(state), me, about)


def test_a_rental_whose_intent_is_not_in_the_ledger_never_began() -> None:
    assert of(State(), of_rental(RENTAL)) == NEVER


def test_a_rental_may_cost_until_its_absence_is_proved_then_it_is_what_was_metered() -> None:
    tale = Tale()
    tale.rented()
    assert of(folded(tale.events), of_rental(RENTAL)) == OPEN
    tale.returned()
    state = folded(tale.events)
    found = outcome(state, machines_of(state), "A", of_rental(RENTAL))
    assert (found.how, found.basis, found.bought) == ("over", "measured", True)
    assert found.cost_nusd == 61_000 * 1_000, "from 9 s, when it may have been up, to 70 s"
    tale.step("A", "rental_invoiced", 300_000, amount_nusd=5, step_nusd=1)
    state = folded(tale.events)
    found = outcome(state, machines_of(state), "A", of_rental(RENTAL))
    assert (found.cost_nusd, found.basis) == (5, "invoiced")


def test_a_second_machine_of_one_label_keeps_its_rental_open_and_adds_to_it() -> None:
    tale = Tale()
    tale.rented()
    tale.returned()
    state = folded(tale.events)
    (one,) = machines_of(state)[RENTAL]
    twin = type(one)(f"{RENTAL}.8", "vastai", "main", state="running")
    assert outcome(state, {RENTAL: [one, twin]}, "A", of_rental(RENTAL)) == OPEN


def test_an_attempt_costs_what_its_end_says_and_only_this_peers_own_counts() -> None:
    state = told(life(cost=7))
    found = outcome(state, {}, ANA, of_attempt("j1", 1))
    assert (found.how, found.cost_nusd) == ("over", 7)
    assert of(state, of_attempt("j1", 2)) == NEVER
    assert of(state, of_attempt("j1", 1), BEN) == NEVER
    assert of(told(life()[:3]), of_attempt("j1", 1)) == OPEN


def test_an_attempt_that_was_given_back_bought_nothing() -> None:
    gave = event("job_returned", 2, device="d", job_id="j1", attempt=1, reason="Busy")
    found = outcome(told([*life()[:2], gave]), {}, ANA, of_attempt("j1", 1))
    assert (found.how, found.cost_nusd, found.bought) == ("over", 0, False)


def test_a_job_that_left_memory_is_looked_for_in_the_whole_ledger_and_a_strange_one_stays_held(
) -> None:  # fmt: skip
    state = told([*life("j1"), *life("j2", 100)], keep_ended=1)
    assert "j1" in state.retired
    assert of(state, of_attempt("j1", 1)) == RETIRED
    assert of(state, of_attempt("nobodys", 1)) == OPEN
    for about in ("", "job", "job j", "job j1 x", "job j1 \u0661", "request 7"):
        assert of(state, about) == OPEN, about


def test_of_keys_and_jobs_only_their_makers_cap_counts_and_that_of_admins() -> None:
    state = told([*life(), event("key_added", key_id="k", name="ci", hash="f" * 64)])
    assert is_maker(state, ANA, KEY, "k")
    assert is_maker(state, ANA, JOB, "j1")
    assert not is_maker(state, BEN, KEY, "k")
    assert not is_maker(state, BEN, JOB, "j1")
    assert not is_maker(state, ANA, JOB, "strange")
    assert believes(state, Budget(BEN, FLEET, "", TOTAL, "")), "the fold asked who said it"
    assert believes(state, Budget(BEN, JOB, "j1", TOTAL, "")), "alone, everybody is an admin"
    state.members = Members(root=ANA)
    assert not believes(state, Budget(BEN, JOB, "j1", TOTAL, "")), "Ben made no such job"
    assert not believes(state, Budget(BEN, KEY, "k", TOTAL, ""))
    assert believes(state, Budget(ANA, JOB, "j1", TOTAL, ""))
