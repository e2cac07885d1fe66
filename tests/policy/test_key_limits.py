"""A key's limits: its models, its rate, and a budget that no crowd of requests overruns."""

import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mathcore.units import NUSD
from mesh.policy.key_limits import MINUTE_MS, UNTOLD_MS, KeyLimits, Refusal, Reservation
from mesh.state.serving.keys import KeyView

CENT = NUSD // 100
KEY = KeyView(
    key_id="k-1",
    name="ci",
    author="a" * 64,
    hash="0" * 64,
    models=(),
    rate_per_min=0,
    budget_nusd=0,
    budget_per="total",
    added_ms=0,
    revoked_ms=0,
    works=True,
)
DOLLAR = replace(KEY, budget_nusd=NUSD)


def ask(limits: KeyLimits, key: KeyView, **given_: object) -> Reservation | Refusal:
    asked = {"model": "m", "worst_nusd": 0, "spent_nusd": 0, "now_ms": 0}
    return limits.admit(key, **{**asked, **given_})  # type: ignore[arg-type]


def test_of_fifty_parallel_calls_of_five_cents_a_dollar_admits_exactly_twenty() -> None:
    limits = KeyLimits()
    said = [ask(limits, DOLLAR, worst_nusd=5 * CENT) for _ in range(50)]
    admitted = [one for one in said if isinstance(one, Reservation)]
    assert len(admitted) == 20
    assert all(one.missing_nusd == 5 * CENT for one in said if isinstance(one, Refusal))
    assert all(limits.release(one) for one in admitted)


def test_a_refusal_names_the_amount_that_is_missing() -> None:
    said = ask(KeyLimits(), DOLLAR, worst_nusd=30 * CENT, spent_nusd=90 * CENT)
    assert isinstance(said, Refusal)
    assert (said.code, said.missing_nusd) == ("OverBudget", 20 * CENT)
    assert "$0.1000 left of $1.00" in said.text
    assert "$0.2000 are missing" in said.text
    assert said.retry_ms is None


def test_a_budget_that_is_used_up_admits_no_free_request_either() -> None:
    limits = KeyLimits()
    assert isinstance(ask(limits, DOLLAR, spent_nusd=NUSD), Refusal)
    assert isinstance(ask(limits, DOLLAR, worst_nusd=NUSD), Reservation)
    assert isinstance(ask(limits, DOLLAR), Refusal)


def test_a_reservation_is_settled_or_released_once() -> None:
    limits = KeyLimits()
    one = ask(limits, DOLLAR, worst_nusd=50 * CENT)
    assert isinstance(one, Reservation)
    assert limits.settle(one, actual_nusd=10 * CENT, now_ms=0)
    assert not limits.settle(one, actual_nusd=10 * CENT, now_ms=0)
    assert not limits.release(one)
    assert limits.held_nusd("k-1", now_ms=0) == 10 * CENT


def test_what_was_settled_counts_until_the_ledger_has_it() -> None:
    limits = KeyLimits()
    one = ask(limits, DOLLAR, worst_nusd=NUSD)
    assert isinstance(one, Reservation)
    limits.settle(one, actual_nusd=NUSD, now_ms=1000)
    assert isinstance(ask(limits, DOLLAR, worst_nusd=1, now_ms=1000 + UNTOLD_MS - 1), Refusal)
    assert isinstance(ask(limits, DOLLAR, worst_nusd=1, now_ms=1000 + UNTOLD_MS), Reservation)


def test_a_key_asks_only_its_models_and_only_while_it_works() -> None:
    limits, few = KeyLimits(), replace(KEY, models=("a", "b"))
    assert limits.allows(few, "a") is None
    said = limits.allows(few, "c")
    assert said is not None
    assert (said.code, said.hint) == ("ModelNotAllowed", "it may ask a, b")
    gone = limits.allows(replace(KEY, works=False), "a")
    assert gone is not None
    assert gone.code == "KeyRevoked"


def test_a_rate_says_when_to_ask_again_and_a_refused_request_takes_nothing() -> None:
    limits, key = KeyLimits(), replace(DOLLAR, rate_per_min=3)
    for _ in range(3):
        assert isinstance(ask(limits, key, worst_nusd=CENT), Reservation)
    said = ask(limits, key, worst_nusd=CENT)
    assert isinstance(said, Refusal)
    assert (said.code, said.retry_ms) == ("RateLimited", 20_000)
    assert limits.held_nusd("k-1", now_ms=0) == 3 * CENT
    assert isinstance(ask(limits, key, worst_nusd=CENT, now_ms=19_999), Refusal)
    assert isinstance(ask(limits, key, worst_nusd=CENT, now_ms=20_000), Reservation)
    assert isinstance(ask(limits, key, worst_nusd=CENT, now_ms=5_000), Refusal)  # clock set back


@given(
    rate=st.integers(1, 10_000),
    steps=st.lists(st.integers(0, 5_000), min_size=1, max_size=200),
)
def test_no_key_is_ever_admitted_more_often_than_its_rate(rate: int, steps: list[int]) -> None:
    limits, key, now, admitted = KeyLimits(), replace(KEY, rate_per_min=rate), 0, 0
    for step in steps:
        now += step
        admitted += limits.take(key, now_ms=now) is None
    assert admitted <= rate + now * rate // MINUTE_MS


@pytest.mark.parametrize("seed", range(30))
def test_whatever_is_asked_settled_and_released_the_budget_holds(seed: int) -> None:
    """No request costs more than it reserved: then what was spent never passes the budget."""
    rng, limits, now, told = random.Random(seed), KeyLimits(), 0, 0
    open_ones: list[Reservation] = []
    settled: list[tuple[int, int]] = []  # (at, cost), told to the ledger within a minute
    for _ in range(600):
        now += rng.randrange(2_000)
        due = now - MINUTE_MS
        told = sum(cost for at, cost in settled if at <= due)
        if open_ones and rng.random() < 0.5:
            one = open_ones.pop(rng.randrange(len(open_ones)))
            if rng.random() < 0.3:
                assert limits.release(one)
            else:
                cost = rng.randint(0, one.worst_nusd)
                assert limits.settle(one, actual_nusd=cost, now_ms=now)
                settled.append((now, cost))
            assert not limits.release(one)
        else:
            said = limits.reserve(
                DOLLAR, worst_nusd=rng.randrange(10 * CENT), spent_nusd=told, now_ms=now
            )
            open_ones += [said] if isinstance(said, Reservation) else []
        worst = sum(cost for _, cost in settled) + sum(one.worst_nusd for one in open_ones)
        assert worst <= NUSD
    assert settled
