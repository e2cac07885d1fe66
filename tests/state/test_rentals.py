"""Rentals are a function of the set of events; who never had the account says nothing of them."""

import random
from typing import Any

import pytest

from mesh.ledger.event import Event
from mesh.state.bills.bill import bill
from mesh.state.bills.given import gather
from mesh.state.bills.lines import total
from mesh.state.checkpoint import digest, pack, unpack
from mesh.state.facts.rental import EVENTS
from mesh.state.fold import apply
from mesh.state.members import RUNNER, needed_role
from mesh.state.rentals import account as account_module
from mesh.state.rentals import requests as requests_module
from mesh.state.rentals.money import Meter
from mesh.state.rentals.rental import Rental
from mesh.state.rentals.terms import GRACE_MS, HOUR_MS, MIN_MS
from mesh.state.runs.making import machine_row, rented
from mesh.state.state import State

T0 = 1_790_000_000_000
RATE = 3_600_000_000  # one nano-dollar a nanosecond, a thousand a microsecond: 1,000,000 a ms
LABEL = "fl-m1-r1x1x1xabc-6a8f0000"
INTENT = {
    "request_id": "r1", "label": LABEL, "epoch": 1, "attempt": 1, "offer_id": "o", "gpu": "RTX",
    "gpu_count": 1, "memory_bytes": 1, "quote_nusd": RATE, "first_rate_nusd": 0,
    "reserved_nusd": RATE, "life_ms": HOUR_MS, "expires_ms": T0 + HOUR_MS,
}  # fmt: skip


class Tale:
    """Events of several authors, told in one order."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.seqs: dict[str, int] = {}

    def say(self, author: str, kind: str, hlc_ms: int = T0, **payload: Any) -> Event:
        seq = self.seqs[author] = self.seqs.get(author, 0) + 1
        name = f"{author}{seq}"
        where = {} if kind == "request_ended" else {"provider": "vastai", "account": "main"}
        event = Event(
            id=name, hash=name, timestamp="", device_id="", event_type=kind,
            payload={**where, **payload}, author=author, seq=seq, prev="",
            hlc=f"{hlc_ms:013d}-{seq:05d}", sig="", v=1,
        )  # fmt: skip
        self.events.append(event)
        return event

    def step(self, author: str, kind: str, after_ms: int, **payload: Any) -> Event:
        """One step of the rental's life, at its turn."""
        at_ms = T0 + after_ms
        named = {"rental_id": "r1x1x1xabc", "turn": at_ms, "at_ms": at_ms, **payload}
        return self.say(author, kind, **named)

    def own(self, author: str = "A", epoch: int = 1, peer: str = "A") -> None:
        self.say(author, "account_taken", epoch=epoch, peer=peer)

    def rented(self) -> None:
        """A machine that came up, was interrupted and is absent."""
        self.own()
        self.step("A", "rental_intended", 0, **INTENT)
        self.step("A", "create_called", 1)
        self.step("A", "create_answered", 1_000, instance_id="7", why="answered")
        looks = {"price_nusd": RATE, "since_ms": T0, "begun_ms": T0 + 9_000}
        self.step("A", "instance_changed", 10_000, status="image", rate_nusd=0, **looks)
        looks = {"price_nusd": RATE, "since_ms": T0 + 9_000, "begun_ms": T0 + 39_000}
        self.step("A", "instance_changed", 40_000, status="up", rate_nusd=RATE, **looks)
        for at, step in enumerate(("sshd", "engine")):
            self.step("A", "step_reached", 50_000 + at, step=step)
        self.step("A", "rental_started", 51_000)

    def returned(self) -> None:
        self.step("A", "return_decided", 60_000, why="cancelled")
        self.step("A", "return_answered", 61_000, why="accepted")
        ends = {"end_ms": T0 + 70_000, "last_ms": T0 + 60_000, "proved_ms": T0 + 200_000}
        self.step("A", "absence_confirmed", 200_000, why="cancelled", **ends)


def folded(events: list[Event]) -> State:
    state = State()
    for event in events:
        apply(state, event)
        state.cursor += 1
    return state


def shuffled(events: list[Event], dice: random.Random) -> list[Event]:
    """Any order that keeps each author's."""
    left: dict[str, list[Event]] = {}
    for event in events:
        left.setdefault(event.author, []).append(event)
    found = []
    while left:
        author = dice.choice(sorted(left))
        found.append(left[author].pop(0))
        if not left[author]:
            del left[author]
    return found


def rental(state: State) -> Rental:
    return state.rentals.account("vastai", "main").rentals["r1x1x1xabc"]


def test_a_rental_runs_costs_and_is_absent() -> None:
    tale = Tale()
    tale.rented()
    one = rental(folded(tale.events))
    assert (one.state, one.step, one.wanted) == ("running", 5, True)
    tale.returned()
    one = rental(folded(tale.events))
    assert (one.state, one.over, one.instance_id) == ("absent", "cancelled", "7")
    # Up from the earlier look on, for the dearer reading counts; until the end.
    assert one.cost_nusd(T0 + HOUR_MS) == RATE * 61_000 // HOUR_MS
    assert len(one.booted_ms) == 5


def test_any_order_of_arrival_gives_the_same_state_and_a_snapshot_keeps_it() -> None:
    tale = Tale()
    tale.rented()
    tale.own("B", 2, "B")
    tale.step("B", "return_decided", 55_000, why="life_over")
    tale.returned()
    tale.say("C", "request_ended", request_id="r1", why="cancelled")
    told = folded(tale.events)
    for seed in range(30):
        state = folded(shuffled(tale.events, random.Random(seed)))
        assert state.rentals.believed() == told.rentals.believed()
        assert digest(state) == digest(told)
        kept = unpack(pack(state))
        assert kept is not None
        assert kept.rentals == state.rentals


def test_who_never_had_the_account_says_nothing_until_it_is_known_to_have_had_it() -> None:
    tale = Tale()
    tale.own()
    tale.step("B", "rental_intended", 0, **INTENT)
    state = folded(tale.events)
    assert rental(state).state == ""
    assert list(state.rentals.every()) == []
    tale.own("A", 2, "B")
    assert rental(folded(tale.events)).state == "intended"


def test_a_helper_counts_once_the_rental_is_over_for_everybody() -> None:
    tale = Tale()
    tale.rented()
    tale.step("B", "return_decided", 55_000, why="expired")
    assert rental(folded(tale.events)).wanted
    late = HOUR_MS + GRACE_MS + 1
    tale.step("B", "return_decided", late, why="expired")
    assert rental(folded(tale.events)).state == "terminating"


def test_a_helper_may_name_a_strange_machine_only_after_its_label_is_over() -> None:
    strange = {"label": LABEL, "instance_id": "7", "rate_nusd": RATE, "since_ms": T0}
    for after, state in ((0, ""), (HOUR_MS + GRACE_MS + 1, "provisioning")):
        tale = Tale()
        tale.step("B", "orphan_found", after, expires_ms=T0 + HOUR_MS, **strange)
        assert rental(folded(tale.events)).state == state


def test_the_highest_epoch_has_the_account_then_the_higher_key() -> None:
    tale = Tale()
    tale.own("A", 1, "A")
    tale.own("B", 2, "B")
    tale.own("A", 2, "A")
    tale.own("C", account_module.MAX_EPOCH + 1, "C")
    for seed in range(10):
        state = folded(shuffled(tale.events, random.Random(seed)))
        assert state.rentals.account("vastai", "main").owner == (2, "B")


def test_what_an_author_said_is_forgotten_with_it() -> None:
    tale = Tale()
    tale.rented()
    before = folded(tale.events)
    tale.own("B", 2, "B")
    tale.step("B", "return_decided", 55_000, why="life_over")
    state = folded(tale.events)
    state.rentals.drop("B")
    assert state.rentals.believed() == before.rentals.believed()
    state.rentals.drop("A")
    assert state.rentals.believed()[0] == []


def test_envelopes_of_wrong_clocks_change_nothing() -> None:
    told, wrong = Tale(), Tale()
    for tale in (told, wrong):
        tale.rented()
        tale.returned()
    years = {"hlc": f"{1:013d}-00000"}
    crooked = [Event(**{**_fields(event), **years}) for event in wrong.events]
    assert folded(crooked).rentals.believed() == folded(told.events).rentals.believed()


def _fields(event: Event) -> dict[str, Any]:
    return {name: getattr(event, name) for name in Event.__dataclass_fields__}


def test_a_machine_found_stopped_is_taken_to_have_been_up_unseen() -> None:
    tale = Tale()
    tale.own()
    tale.step("A", "rental_intended", 0, **INTENT)
    tale.step("A", "create_called", 0)
    tale.step("A", "create_answered", 1_000, instance_id="7", why="answered")
    looks = {"price_nusd": RATE, "since_ms": T0, "begun_ms": T0 + 59_000}
    tale.step("A", "instance_changed", 60_000, status="stopped", rate_nusd=7, **looks)
    one = rental(folded(tale.events))
    assert one.cost_nusd(T0 + 60_000) == RATE * 60_000 // HOUR_MS
    assert one.rate_nusd == 7


def test_a_machine_that_is_up_is_not_free_whoever_says_so() -> None:
    tale = Tale()
    tale.rented()
    looks = {"price_nusd": 0, "since_ms": T0 + 60_000, "begun_ms": T0 + 60_000}
    tale.step("A", "instance_changed", 60_000, status="up", rate_nusd=0, **looks)
    one = rental(folded(tale.events))
    assert (one.rate_nusd, one.price_nusd) == (RATE, RATE)
    assert one.cost_nusd(T0 + HOUR_MS) == RATE * (HOUR_MS - 9_000) // HOUR_MS


def test_what_was_never_seen_costs_nothing_and_may_have_cost_something() -> None:
    tale = Tale()
    tale.own()
    tale.step("A", "rental_intended", 0, **INTENT)
    tale.step("A", "create_called", 0)
    tale.step("A", "create_unclear", 30_000, why="timeout")
    ends = {"end_ms": T0 + 90_000, "last_ms": T0, "proved_ms": T0 + HOUR_MS}
    tale.step("A", "absence_confirmed", HOUR_MS, why="never_placed", **ends)
    one = rental(folded(tale.events))
    assert (one.cost_nusd(T0 + HOUR_MS), one.meter.possible_nusd) == (0, RATE)


def test_a_closed_machine_that_is_listed_again_costs_on_from_its_end() -> None:
    tale = Tale()
    tale.rented()
    tale.returned()
    tale.step("A", "instance_reappeared", HOUR_MS, instance_id="7", rate_nusd=RATE)
    one = rental(folded(tale.events))
    assert (one.state, one.wanted) == ("terminating", False)
    assert one.cost_nusd(T0 + 70_000 + MIN_MS) == RATE * (61_000 + MIN_MS) // HOUR_MS


def test_the_oldest_ended_rental_becomes_a_sum_when_an_author_has_too_many(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(account_module, "MAX_RENTALS", 1)
    tale = Tale()
    tale.rented()
    tale.returned()
    tale.step("A", "rental_intended", HOUR_MS, **{**INTENT, "rental_id": "r1x1x2xdef"})
    account = folded(tale.events).rentals.account("vastai", "main")
    assert list(account.rentals) == ["r1x1x2xdef"]
    assert sum(account.spent.values()) == RATE * 61_000 // HOUR_MS
    tale.step("A", "rental_intended", HOUR_MS, **{**INTENT, "rental_id": "r1x1x3xghi"})
    account = folded(tale.events).rentals.account("vastai", "main")
    assert list(account.rentals) == ["r1x1x2xdef"], "an open one makes room for nobody"


def test_a_request_counts_as_it_was_said_first_and_ends_for_good() -> None:
    tale = Tale()
    asked = {"request_id": "r1", "life_ms": HOUR_MS, "cap_nusd": 5}
    tale.say("A", "rental_requested", **asked)
    tale.say("B", "rental_requested", T0 + 5, **{**asked, "cap_nusd": 10**9})
    tale.say("C", "request_ended", T0 + 9, request_id="r1", why="cancelled")
    for seed in range(10):
        requests = folded(shuffled(tale.events, random.Random(seed))).rentals.requests
        assert (requests.views["r1"].cap_nusd, requests.views["r1"].over) == (5, "cancelled")


@pytest.mark.parametrize("wrong", [{"request_id": "R-1"}, {"life_ms": 1}, {"image": "x" * 1_000}])
def test_a_request_that_can_never_be_met_is_none(wrong: dict[str, object]) -> None:
    tale = Tale()
    asked = {"request_id": "r1", "life_ms": HOUR_MS, "cap_nusd": 5, **wrong}
    tale.say("A", "rental_requested", **asked)
    assert folded(tale.events).rentals.requests.views == {}


def test_the_newest_requests_of_an_author_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requests_module, "MAX_REQUESTS", 2)
    tale = Tale()
    for n in range(4):
        asked = {"request_id": f"r{n}", "life_ms": HOUR_MS, "cap_nusd": 5}
        tale.say("A", "rental_requested", T0 + n, **asked)
    assert sorted(folded(tale.events).rentals.requests.views) == ["r2", "r3"]


@pytest.mark.parametrize("kind", sorted(EVENTS))
def test_only_who_may_run_things_spends_money(kind: str) -> None:
    assert needed_role(kind) == RUNNER


def test_the_meter_counts_the_dearer_of_two_readings() -> None:
    meter = Meter()
    meter.begin(0, 10)
    meter.change(30, seen_ms=100, since_ms=40)  # up: since the earlier look
    meter.change(10, seen_ms=200, since_ms=150)  # down: from when it is seen
    assert [(one.from_ms, one.to_ms, one.rate_nusd) for one in meter.spans] == [
        (0, 40, 10), (40, 200, 30), (200, None, 10),
    ]  # fmt: skip


def by_the_minute(*spans: tuple[int, int, int]) -> Meter:
    """(rate, seen, since) one after the other; ended at the last, which has no rate."""
    meter = Meter(step_ms=MIN_MS)
    meter.begin(0, 0)
    for rate, seen_ms, since_ms in spans[:-1]:
        meter.change(rate, seen_ms, since_ms)
    meter.end(spans[-1][1])
    return meter


def test_a_minute_that_began_is_billed_from_when_it_began_to_cost() -> None:
    meter = by_the_minute((RATE, 45_000, 40_000), (0, 101_000, 0))
    assert meter.cost(100_000) == 60_000 * 10**3, "while it runs: what it ran"
    assert meter.cost(HOUR_MS) == 2 * MIN_MS * 10**3, "61 s are two minutes"
    whole = by_the_minute((RATE, 45_000, 40_000), (0, 100_000, 0))
    assert whole.cost(HOUR_MS) == MIN_MS * 10**3, "60 s are one"


def test_what_was_never_up_costs_no_minute() -> None:
    meter = by_the_minute((0, 50_000, 0))
    assert (meter.cost(HOUR_MS), meter.paid) == (0, [])


@pytest.mark.parametrize("step_ms", [1, 1_000, MIN_MS])
def test_days_of_a_rental_add_up_and_its_bill_says_the_same(step_ms: int) -> None:
    dice = random.Random(step_ms)
    for _ in range(200):
        up, dearer, end = sorted(dice.randrange(1, HOUR_MS) for _ in range(3))
        one = Rental("r", "lambdalabs", "main", request_id="r", author="A", state="absent")
        one.meter.step_ms = step_ms
        one.meter.begin(0, dice.choice((0, 1_290_000_000)))
        one.meter.change(dice.randrange(1, 10**10), up, up - 1)
        one.meter.change(dice.randrange(1, 10**10), dearer, dearer - 1)
        one.meter.end(end + 1)
        row = machine_row(one)
        assert row is not None
        told = list(rented("d", [row]))
        assert total(bill(gather(told), 2 * HOUR_MS).lines) == one.cost_nusd(2 * HOUR_MS)
        cut = dice.randrange(1, HOUR_MS + 2)
        parts = one.cost_nusd(cut) + one.cost_nusd(2 * HOUR_MS, cut)
        assert 0 <= one.cost_nusd(2 * HOUR_MS) - parts <= 1, "each part is rounded down"


def test_another_members_word_makes_no_minute_a_year() -> None:
    tale = Tale()
    tale.own()
    tale.step("A", "rental_intended", 0, **INTENT, billed_step_ms=1 << 52)
    (one,) = folded(tale.events).rentals.every()
    assert one.meter.step_ms == HOUR_MS


def test_junk_in_every_field_changes_nothing_and_raises_nothing() -> None:
    tale = Tale()
    tale.own()
    for junk in (None, [], {}, "x", -1, 1 << 60, 0.5, True):
        for kind in sorted(EVENTS):
            names = set(EVENTS[kind][0].__struct_fields__) - {"provider", "account"}
            tale.say("A", kind, **dict.fromkeys(sorted(names), junk))
    state = folded(tale.events)
    assert unpack(pack(state)) is not None
