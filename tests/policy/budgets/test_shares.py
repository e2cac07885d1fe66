"""Money between peers: what is taken, what is handed back, and how a budget stands."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.policy.budgets.alarms import FORECAST, Alarms, forecast_nusd, levels
from mesh.policy.budgets.shares import (
    Return,
    begins_anew,
    return_due,
    slices,
    standing,
    takes_due,
)
from mesh.state.budgets.budget import Budget
from mesh.state.facts.budget import FLEET
from mesh.state.facts.serving import MONTH, TOTAL
from tests.state.held_budgets import FLEET_MONTH, NOV, T0, USD, Tale

DAY_MS = 86_400_000


def test_a_gift_is_taken_as_it_was_given_and_once() -> None:
    tale = Tale()
    tale.cap(100)
    tale.gave("A", "B", 30, last=NOV + 1)
    assert takes_due(tale.book, "C") == []
    (due,) = takes_due(tale.book, "B")
    assert (due.giver, due.amount_nusd, due.first, due.last) == ("A", 30 * USD, NOV, NOV + 1)
    tale.say("B", due)
    assert takes_due(tale.book, "B") == []


def test_nothing_is_taken_from_who_gave_more_than_it_had() -> None:
    tale = Tale()
    tale.cap(100)
    tale.gave("A", "B", 30)
    tale.gave("B", "C", 30, "forged")
    assert takes_due(tale.book, "C") == [], "B has not taken it"
    tale.took("B", "A", 30)
    assert [one.give_id for one in takes_due(tale.book, "C")] == ["forged"]
    tale.gave("B", "D", 1, "more")
    assert takes_due(tale.book, "C") == takes_due(tale.book, "D") == []


def test_nothing_is_taken_from_who_took_what_nobody_is_known_to_have_given() -> None:
    tale = Tale()
    tale.took("B", "A", 30)
    tale.gave("B", "C", 30, "onward")
    assert takes_due(tale.book, "C") == []
    tale.cap(100)
    tale.gave("A", "B", 30)
    assert [one.give_id for one in takes_due(tale.book, "C")] == ["onward"]


def test_who_gave_what_is_long_over_and_forgotten_by_its_giver_is_trusted_still() -> None:
    tale = Tale()
    tale.cap(100, last=NOV + 12)
    tale.took("B", "A", 30, "forgotten", first=NOV, last=NOV)
    tale.held("B", 30)
    tale.settled("B", 30)
    tale.gave("B", "C", 7, first=NOV + 9, last=NOV + 9)
    assert takes_due(tale.book, "C") == []
    tale.gave("A", "B", 7, "new", first=NOV + 9, last=NOV + 9)
    (due,) = takes_due(tale.book, "B")
    tale.say("B", due, T0 + 270 * DAY_MS)
    assert [one.giver for one in takes_due(tale.book, "C")] == ["B"]


def test_what_was_given_under_a_higher_cap_is_taken_still() -> None:
    tale = Tale()
    tale.cap(100)
    tale.gave("A", "B", 80)
    tale.cap(50)
    assert len(takes_due(tale.book, "B")) == 1


def test_a_lowered_cap_is_told_with_what_is_out_until_it_has_come_back() -> None:
    tale = Tale()
    tale.cap(100)
    tale.gave("A", "B", 80)
    tale.took("B", "A", 80)
    tale.cap(50)
    assert standing(tale.book, FLEET_MONTH, NOV).text == (
        "cap $50.00, out $80.00, spent $0.0000, held $0.0000"
    )
    due = return_due(tale.book, "B", FLEET_MONTH, NOV, 70 * USD)
    assert due == Return(FLEET_MONTH, NOV, 30 * USD)
    tale.gave("B", "A", 30, "back")
    assert return_due(tale.book, "B", FLEET_MONTH, NOV, 40 * USD) is None, "it is on its way"
    assert standing(tale.book, FLEET_MONTH, NOV).out_nusd == 80 * USD
    tale.took("A", "B", 30, "back")
    assert standing(tale.book, FLEET_MONTH, NOV).text.startswith("cap $50.00, spent")
    assert return_due(tale.book, "B", FLEET_MONTH, NOV, 40 * USD) is None


def test_a_raised_cap_can_be_given_at_once() -> None:
    tale = Tale()
    tale.cap(10)
    tale.gave("A", "B", 10)
    tale.cap(30)
    assert tale.book.money("A", FLEET_MONTH, NOV).free == 20 * USD


@given(st.integers(0, 10**15), st.sets(st.text(max_size=3), max_size=20), st.integers(0, 100))
def test_slices_are_equal_and_leave_the_owner_its_part(
    free: int, peers: set[str], keep: int
) -> None:
    found = slices(free, peers, keep)
    assert len(set(found.values())) <= 1
    assert sum(found.values()) <= free * (100 - keep) // 100
    assert free * (100 - keep) // 100 - sum(found.values()) < max(1, len(peers)) or not peers


def test_a_lost_owners_budget_can_begin_anew_when_its_last_gift_is_over() -> None:
    tale = Tale()
    tale.cap(10, last=NOV + 90)
    assert begins_anew(tale.book, FLEET_MONTH) == 0
    tale.gave("A", "B", 2, last=NOV + 2)
    assert begins_anew(tale.book, FLEET_MONTH) == NOV + 3
    tale.gave("B", "C", 1, last=NOV + 5)
    assert begins_anew(tale.book, FLEET_MONTH) == NOV + 6


def test_many_gifts_of_one_giver_leave_room_for_those_of_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("mesh.policy.budgets.shares.MAX_FROM_ONE", 3)
    monkeypatch.setattr("mesh.policy.budgets.shares.MAX_MOVES", 5)
    tale = Tale()
    for owner in "ACDE":
        budget = FLEET_MONTH._replace(owner=owner)
        tale.cap(100, budget)
        for at in range(9):
            tale.gave(owner, "B", 1, f"g{at}", budget)
    due = takes_due(tale.book, "B")
    assert [(one.giver, one.give_id) for one in due] == [
        ("A", "g0"), ("A", "g1"), ("A", "g2"), ("C", "g0"), ("C", "g1"),
    ]  # fmt: skip
    for one in due:
        tale.say("B", one)
    assert takes_due(tale.book, "B") == []


# Alarms


def test_levels_are_reached_exactly() -> None:
    assert [levels(100, used) for used in (0, 49, 50, 79, 80, 99, 100, 101)] == [
        [], [], [50], [50], [50, 80], [50, 80], [50, 80, 100], [50, 80, 100],
    ]  # fmt: skip
    assert levels(0, 0) == []
    assert levels(0, 1) == [50, 80, 100]


def test_a_pace_is_told_after_a_tenth_of_the_period() -> None:
    assert forecast_nusd(7, 0, 100, 9) is None
    assert forecast_nusd(7, 0, 100, 10) == 70
    assert forecast_nusd(7, 0, 100, 100) is None
    assert forecast_nusd(7, 50, 100, 20) is None


def test_an_owner_tells_each_level_once_and_others_do_not() -> None:
    tale, alarms = Tale(), Alarms("A")
    tale.cap(100)
    soon = T0 + DAY_MS
    assert alarms.due(tale.book, soon) == []
    tale.held("A", 60)
    assert [one.level for one in alarms.due(tale.book, soon)] == [50]
    assert alarms.due(tale.book, soon) == []
    tale.held("A", 40, "more")
    assert [(one.level, one.nusd) for one in alarms.due(tale.book, soon)] == [(100, 100 * USD)]
    assert alarms.due(tale.book, soon) == []
    assert Alarms("B").due(tale.book, soon) == []


def test_a_pace_above_the_cap_is_told_before_the_money_is_gone() -> None:
    tale, alarms = Tale(), Alarms("A")
    tale.cap(100)
    tale.held("A", 30)
    (alarm,) = alarms.due(tale.book, T0 + 6 * DAY_MS)
    assert (alarm.level, alarm.nusd) == (FORECAST, 150 * USD)
    assert alarms.due(tale.book, T0 + 6 * DAY_MS) == []


def test_a_new_period_is_told_of_anew() -> None:
    tale, alarms = Tale(), Alarms("A")
    tale.cap(100)
    tale.held("A", 90)
    tale.held("A", 90, "next", period=NOV + 1)
    assert [one.level for one in alarms.due(tale.book, T0 + DAY_MS)] == [80]
    assert [one.period for one in alarms.due(tale.book, T0 + 31 * DAY_MS)] == [NOV + 1]


def test_a_budget_in_total_has_levels_and_no_pace() -> None:
    total = Budget("A", FLEET, "", TOTAL, "")
    mars = Budget("A", FLEET, "", MONTH, "Mars/Olympus")
    tale = Tale()
    tale.cap(100, total, 0, 0)
    tale.cap(1, mars)
    tale.held("A", 10, "h", total, period=0)
    assert Alarms("A").due(tale.book, T0) == []
    tale.held("A", 40, "i", total, period=0)
    assert [one.level for one in Alarms("A").due(tale.book, T0)] == [50]
