"""Budgets are a function of the set of events; a purse is what its own peer's events say."""

import random
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mesh.ledger import codec
from mesh.ledger.event import Event
from mesh.state.budgets import word as word_module
from mesh.state.budgets.audit import Named, audit, out_nusd, under_way_nusd
from mesh.state.budgets.budget import (
    MAX_PERIOD,
    MAX_SPAN,
    Budget,
    bounds_ms,
    period_at,
    show_budget,
    show_period,
    surely_over_ms,
)
from mesh.state.budgets.budgets import Budgets
from mesh.state.facts.budget import (
    EVENTS,
    FLEET,
    JOB,
    KEY,
    PROVIDER,
    USER,
    BudgetHeld,
)
from mesh.state.facts.fact import Fact, bare, decode, encode, marks
from mesh.state.facts.serving import DAY, MONTH, TOTAL
from tests.state.held_budgets import FLEET_MONTH, NOV, T0, USD, Tale, folded, free_usd

ZONES = ["", "Europe/Berlin", "Asia/Kathmandu", "America/St_Johns", "Pacific/Apia", "Asia/Beirut"]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-codec.MAX_INT, codec.MAX_INT) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=6,
)
FIELDS = sorted({one.name for forms in EVENTS.values() for one in msgspec.structs.fields(forms[0])})
BUDGETS = [FLEET_MONTH, Budget("B", USER, "ann", MONTH, ""), Budget("A", JOB, "j", TOTAL, "")]


def told(seed: int, count: int = 40) -> Tale:
    """Three authors say anything at all, ids and gifts of each other's among it."""
    dice, tale = random.Random(seed), Tale()
    for _ in range(count):
        who, other = dice.sample("ABC", 2)
        budget, usd, name = dice.choice(BUDGETS), dice.randint(0, 9), f"n{dice.randint(0, 4)}"
        first = 0 if budget.per == TOTAL else NOV + dice.randint(0, 2)
        last = 0 if budget.per == TOTAL else first + dice.randint(0, 2)
        do = dice.randint(0, 6)
        if do == 0:
            tale.cap(usd, budget, first, last, author=who)
        elif do == 1:
            tale.gave(who, other, usd, name, budget, first, last)
        elif do == 2:
            tale.took(who, other, usd, name, budget, first, last)
        elif do == 3:
            tale.held(who, usd, name, budget, period=first)
        elif do == 4:
            tale.settled(who, usd, name)
        elif do == 5:
            tale.released(who, name)
        else:
            tale.adjusted(who, usd, name)
    return tale


@given(st.integers(0, 10**6), st.randoms(use_true_random=False))
def test_any_order_of_arrival_gives_the_same_purses(seed: int, dice: random.Random) -> None:
    events = told(seed).events
    mixed = list(events)
    dice.shuffle(mixed)  # more than can happen: an author's own come in their order
    assert folded(mixed).believed() == folded(events).believed()
    assert audit(folded(mixed)) == audit(folded(events))


@given(st.integers(0, 10**6))
def test_events_that_come_twice_count_once_and_a_snapshot_keeps_all(seed: int) -> None:
    events = told(seed).events
    book = folded(events)
    assert folded([one for one in events for _ in range(2)]).believed() == book.believed()
    kept = msgspec.msgpack.decode(msgspec.msgpack.encode(book), type=Budgets)
    assert kept == book
    for one in told(seed + 1).events:
        kept.take(one, admin=True)
        book.take(one, admin=True)
    assert kept == book


@given(st.integers(0, 10**6))
def test_an_author_that_is_dropped_said_nothing_and_the_others_said_all(seed: int) -> None:
    events = told(seed).events
    book = folded(events)
    book.drop("A")
    assert book.believed() == folded([one for one in events if one.author != "A"]).believed()


@given(st.integers(0, 10**6))
def test_nobody_else_changes_a_purse(seed: int) -> None:
    events = told(seed).events
    whole, alone = folded(events), folded([one for one in events if one.author == "A"])
    for budget in BUDGETS:
        for period in range(NOV, NOV + 5) if budget.per == MONTH else (0,):
            assert whole.money("A", budget, period) == alone.money("A", budget, period)
            assert (
                whole.least("A", budget, period, period)
                == free_usd(whole, "A", budget, period) * USD
            )


@given(st.integers(0, 10**6))
def test_the_poorest_period_is_found_whatever_begins_and_ends_in_between(seed: int) -> None:
    book = told(seed).book
    for author in "AB":
        free = [book.money(author, FLEET_MONTH, NOV + at).free for at in range(7)]
        assert book.least(author, FLEET_MONTH, NOV, NOV + 6) == min(free)


@settings(max_examples=300)
@given(st.sampled_from(sorted(EVENTS)), st.dictionaries(st.sampled_from(FIELDS), JSON))
def test_whatever_a_peer_signs_is_read(kind: str, payload: dict[str, object]) -> None:
    tale = Tale()
    tale.write("A", kind, payload)
    book = tale.book
    book.believed()
    audit(book)
    msgspec.msgpack.encode(book)


def test_the_largest_amounts_fit_into_a_snapshot() -> None:
    tale = Tale()
    for at in range(40):
        tale.say("A", decode(BudgetHeld, tale.held("A", 10**6, f"h{at}").payload))
        tale.settled("A", 9 * 10**6, f"h{at}")
        tale.adjusted("A", 9 * 10**6, f"h{at}")
        tale.gave("A", "B", 10**6, f"g{at}")
    book = tale.book
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(book), type=Budgets) == book


@pytest.mark.parametrize("form", [forms[0] for forms in EVENTS.values()])
def test_each_field_says_what_it_means_and_since_when(form: type[Fact]) -> None:
    for one in msgspec.structs.fields(form):
        found = marks(one.type)
        assert found["meaning"], one.name
        assert found["since"] == "0.6.0", one.name
        assert "nusd" not in one.name or found["unit"] == "nano-USD"
        assert bare(one.type) is not float


# Purses


def test_money_is_given_before_it_is_spent_and_is_nobodys_on_its_way() -> None:
    tale = Tale()
    tale.cap(100)
    tale.gave("A", "B", 30)
    assert (free_usd(tale.book, "A"), free_usd(tale.book, "B")) == (70, 0)
    assert under_way_nusd(tale.book, FLEET_MONTH, NOV) == 30 * USD
    tale.took("B", "A", 30)
    tale.held("B", 20)
    assert (free_usd(tale.book, "A"), free_usd(tale.book, "B")) == (70, 10)
    tale.settled("B", 5)
    assert free_usd(tale.book, "B") == 25
    assert tale.book.used(FLEET_MONTH, NOV) == (0, 5 * USD)
    assert under_way_nusd(tale.book, FLEET_MONTH, NOV) == 0
    assert audit(tale.book) == []


def test_a_slice_stands_in_each_of_its_periods_and_in_no_other() -> None:
    tale = Tale()
    tale.cap(100)
    tale.gave("A", "B", 30, last=NOV + 1)
    tale.took("B", "A", 30, last=NOV + 1)
    free = [free_usd(tale.book, "B", period=NOV + at) for at in range(-1, 3)]
    assert free == [0, 30, 30, 0]
    assert [free_usd(tale.book, "A", period=NOV + at) for at in range(4)] == [70, 70, 100, 0]


def test_a_hold_counts_in_all_its_budgets_and_ends_once() -> None:
    tale, ann = Tale(), Budget("A", USER, "ann", MONTH, "")
    tale.cap(100)
    tale.cap(50, ann)
    tale.held("A", 40, "h", FLEET_MONTH, ann)
    assert (free_usd(tale.book, "A"), free_usd(tale.book, "A", ann)) == (60, 10)
    tale.settled("A", 15)
    tale.settled("A", 35)
    tale.released("A")
    assert (free_usd(tale.book, "A"), free_usd(tale.book, "A", ann)) == (85, 35)


def test_what_was_settled_is_not_released_whichever_came_first() -> None:
    for order in ((0, 1), (1, 0)):
        tale = Tale()
        tale.held("A", 10)
        for each in order:
            (tale.released if each else tale.settled)("A", *([] if each else [4]))
        assert tale.book.used(FLEET_MONTH, NOV) == (0, 4 * USD)


def test_an_invoice_says_the_whole_sum_and_the_later_one_counts() -> None:
    tale = Tale()
    tale.held("A", 10)
    tale.settled("A", 4)
    for _ in range(3):
        tale.adjusted("A", 6)
    assert tale.book.used(FLEET_MONTH, NOV) == (0, 6 * USD)
    tale.adjusted("A", 3)
    assert tale.book.used(FLEET_MONTH, NOV) == (0, 3 * USD)


def test_nobody_but_the_owner_says_a_cap() -> None:
    tale = Tale()
    tale.cap(100)
    tale.cap(900, author="B")
    tale.held("B", 10)
    assert free_usd(tale.book, "A") == 100
    assert audit(tale.book) == [Named("overdrew", "B", 10 * USD, FLEET_MONTH, NOV)]


@pytest.mark.parametrize(
    ("budget", "counts"),
    [
        (FLEET_MONTH, False),
        (Budget("A", USER, "ann", DAY, ""), False),
        (Budget("A", PROVIDER, "vastai", MONTH, ""), False),
        (Budget("A", KEY, "k1", DAY, ""), True),
        (Budget("A", JOB, "j1", TOTAL, ""), True),
    ],
)
def test_who_is_no_admin_caps_keys_and_jobs_alone(budget: Budget, counts: bool) -> None:  # noqa: FBT001
    tale, book = Tale(), Budgets()
    assert book.take(tale.cap(5, budget, 0, 0), admin=False)
    assert list(book.capped()) == ([budget] if counts else [])


def test_a_lowered_cap_leaves_out_what_was_given_and_names_nobody() -> None:
    tale = Tale()
    tale.cap(100)
    tale.gave("A", "B", 80)
    tale.cap(50)
    assert free_usd(tale.book, "A") == -30
    assert out_nusd(tale.book, FLEET_MONTH, NOV) == 80 * USD
    assert audit(tale.book) == []
    tale.gave("A", "B", 25, "g2")
    assert audit(tale.book) == [Named("overdrew", "A", 5 * USD, FLEET_MONTH, NOV)]


def test_a_cap_of_a_narrower_range_counts_in_it_alone() -> None:
    tale = Tale()
    tale.cap(100, last=NOV + 5)
    tale.cap(10, first=NOV + 1, last=NOV + 1)
    assert [free_usd(tale.book, "A", period=NOV + at) for at in range(3)] == [100, 10, 100]


def test_a_cap_may_last_for_ever_and_a_gift_may_not() -> None:
    tale = Tale()
    tale.cap(100, last=MAX_PERIOD)
    tale.gave("A", "B", 30, "year", last=NOV + MAX_SPAN - 1)
    tale.gave("A", "B", 30, "longer", last=NOV + MAX_SPAN)
    assert free_usd(tale.book, "A") == 70
    assert free_usd(tale.book, "A", period=MAX_PERIOD) == 100
    assert audit(tale.book) == []
    msgspec.msgpack.encode(tale.book)


# Who does not add up


def test_the_audit_names_who_overdrew_and_nobody_else() -> None:
    tale = Tale()
    tale.cap(100)
    tale.gave("A", "B", 30)
    tale.took("B", "A", 30)
    tale.gave("B", "C", 50, "forged")
    tale.took("C", "B", 50, "forged")
    tale.held("C", 50)
    assert audit(tale.book) == [Named("overdrew", "B", 20 * USD, FLEET_MONTH, NOV)]


def test_two_copies_of_a_disk_that_both_spend_are_named() -> None:
    tale = Tale()
    tale.cap(100)
    first = tale.held("A", 80, "one")
    tale.seqs["A"] -= 1
    second = tale.held("A", 70, "two")
    assert first.seq == second.seq
    assert audit(tale.book) == [Named("overdrew", "A", 50 * USD, FLEET_MONTH, NOV)]


def test_who_takes_what_was_given_to_another_or_more_of_it_is_named() -> None:
    tale = Tale()
    tale.cap(100)
    tale.gave("A", "B", 30)
    tale.took("C", "A", 30)
    tale.took("B", "A", 31)
    found = {(one.author, one.fault, one.nusd) for one in audit(tale.book)}
    assert found == {("C", "took another gift", 30 * USD), ("B", "took another gift", 31 * USD)}


def test_a_gift_whose_giver_is_not_known_yet_waits() -> None:
    tale = Tale()
    tale.took("B", "A", 30)
    assert audit(tale.book) == []


# Bounds


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MAX_CAPS", "MAX_MOVES", "MAX_HOLDS", "MAX_ENDS", "MAX_TALLIES"):
        monkeypatch.setattr(word_module, name, 4)


@pytest.mark.usefixtures("small")
@given(st.integers(0, 10**6))
def test_no_author_fills_more_than_its_room(seed: int) -> None:
    dice, tale = random.Random(seed), Tale()
    for at in range(60):
        tale.events += told(dice.randint(0, 10**6), 1).events
        tale.held("A", 1, f"x{at}", period=dice.randint(0, 50))
        tale.settled("A", 1, f"x{dice.randint(0, at)}")
        tale.gave("A", "B", 1, f"x{at}")
        tale.cap(1, first=at, last=at)
    for word in tale.book.words.values():
        assert max(len(word.gives), len(word.takes), len(word.holds), len(word.ends)) <= 4
        assert len(word.tallies) <= 4
        assert sum(map(len, word.caps.values())) <= 4
        assert word.open_ids <= word.holds.keys()


@pytest.mark.usefixtures("small")
def test_an_open_hold_never_gives_way_and_a_later_one_is_named_instead() -> None:
    tale = Tale()
    for at in range(6):
        tale.held("A", 1, f"h{at}")
    word = tale.book.word("A")
    assert sorted(word.holds) == ["h0", "h1", "h2", "h3"]
    assert [one for one in audit(tale.book) if one.fault == "too much to keep"]
    tale.settled("A", 1, "h1")
    tale.held("A", 1, "h9")
    assert sorted(tale.book.word("A").holds) == ["h0", "h2", "h3", "h9"]
    assert tale.book.used(FLEET_MONTH, NOV) == (4 * USD, 1 * USD)


@pytest.mark.usefixtures("small")
def test_gifts_of_the_past_give_way_to_new_ones() -> None:
    tale = Tale()
    for at in range(4):
        tale.gave("A", "B", 1, f"old{at}", first=NOV - 12, last=NOV - 12)
    tale.gave("A", "B", 1, "new")
    assert sorted(tale.book.word("A").gives) == ["new"]


LATER = T0 + 300 * 86_400_000  # in August of the next year


@pytest.mark.usefixtures("small")
def test_an_owner_whose_old_caps_gave_way_is_not_named_for_what_it_gave_then() -> None:
    tale = Tale()
    tale.cap(100, last=NOV)
    tale.gave("A", "B", 80)
    for at in range(4):
        tale.cap(5, first=NOV + 9 + at, last=NOV + 9 + at, at_ms=LATER)
    assert tale.book.cap(FLEET_MONTH, NOV) is None
    assert audit(tale.book) == []


def test_who_overdrew_in_a_stretch_that_goes_on_is_named_long_after_its_begin() -> None:
    tale = Tale()
    tale.cap(100, last=NOV + 11)
    tale.gave("A", "B", 130, last=NOV + 11)
    tale.gave("A", "B", 500, "over", first=NOV - 3, last=NOV - 3)
    tale.say("A", decode(BudgetHeld, tale.held("A", 0, "now", period=NOV + 9).payload), LATER)
    assert audit(tale.book) == [Named("overdrew", "A", 30 * USD, FLEET_MONTH, NOV + 11)]


# Calendars


@given(
    st.sampled_from(ZONES), st.sampled_from([DAY, MONTH]),
    st.integers(1_262_304_000_000, 2_200_000_000_000),
)  # fmt: skip
def test_a_moment_is_in_its_period_and_each_begins_where_the_last_ends(
    zone: str, per: str, at_ms: int
) -> None:
    budget = Budget("A", FLEET, "", per, zone)
    period = period_at(budget, at_ms)
    bounds, before = bounds_ms(budget, period), bounds_ms(budget, period - 1)
    assert bounds is not None
    assert before is not None
    assert bounds[0] <= at_ms < bounds[1]
    assert before[1] == bounds[0]
    local = datetime.fromtimestamp(at_ms / 1000, ZoneInfo(zone) if zone else UTC)
    assert f"{local:%Y-%m-%d}".startswith(show_period(budget, period))
    over_ms = surely_over_ms(budget, period)
    assert over_ms is not None
    assert bounds[1] <= over_ms < bounds[1] + 3 * 86_400_000


def test_days_last_23_and_25_hours_where_clocks_change() -> None:
    berlin = Budget("A", FLEET, "", DAY, "Europe/Berlin")
    for day, hours in (((2026, 3, 29), 23), ((2026, 10, 25), 25), ((2026, 10, 26), 24)):
        noon = datetime(*day, 12, tzinfo=ZoneInfo("Europe/Berlin"))
        bounds = bounds_ms(berlin, period_at(berlin, round(noon.timestamp() * 1000)))
        assert bounds is not None
        assert bounds[1] - bounds[0] == hours * 3_600_000


def test_a_budget_is_told_in_words() -> None:
    assert show_budget(FLEET_MONTH) == "fleet per month"
    assert show_budget(Budget("A", USER, "ann", DAY, "Europe/Berlin")) == (
        "user ann per day (Europe/Berlin)"
    )
    assert show_budget(Budget("A", JOB, "j1", TOTAL, "")) == "job j1 in total"
    assert show_period(FLEET_MONTH, NOV) == "2026-11"
    assert period_at(FLEET_MONTH, T0) == NOV
    assert period_at(FLEET_MONTH, T0 - 1) == NOV - 1


def test_a_zone_that_is_not_known_here_is_a_value_error_and_still_counts() -> None:
    mars = Budget("A", FLEET, "", DAY, "Mars/Olympus")
    for zone in (mars, mars._replace(zone="../etc/passwd"), mars._replace(zone="a\\b")):
        with pytest.raises(ValueError, match="time zone"):
            period_at(zone, T0)
    tale = Tale()
    tale.cap(5, mars, 0, 300)
    assert free_usd(tale.book, "A", mars, 7) == 5


def test_an_event_of_another_room_is_not_taken() -> None:
    tale = Tale()
    other: Event = tale.write("A", "note_added", {"text": "cap"})
    assert not Budgets().take(other, admin=True)


def test_what_is_written_is_read_back() -> None:
    tale = Tale()
    tale.cap(5, owned="all", lifted=True)
    tale.gave("A", "B", 1)
    tale.held("A", 3, "h", *BUDGETS[:2])
    for event in tale.events:
        form = EVENTS[event.event_type][0]
        assert encode(decode(form, event.payload)) == event.payload
