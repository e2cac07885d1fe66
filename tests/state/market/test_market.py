"""What accounts say of machines to rent: the latest counts, a week stays, in whatever order."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mathcore.units import DAY_MS, GIB, NUSD
from mesh.state.checkpoint import digest, pack, unpack
from mesh.state.fold import fold
from mesh.state.market.groups import MAX_ROWS, kind_of
from mesh.state.market.market import KEPT_SLOTS, MAX_ACCOUNTS, SLOT_MS
from mesh.state.market.quotes import quotes_of
from mesh.state.members import ADMIN, MEMBER, RUNNER, VIEWER
from mesh.state.state import State
from tests.state.job_story import ANA, BEN, T0, arriving, event, told
from tests.state.trust_story import Key, fleet, live

CARD = kind_of("RTX 4090", 1, 24 * GIB, spot=False)


def row(price: int = NUSD, **changes: object) -> dict[str, object]:
    fields = {"gpu": "RTX 4090", "gpu_count": 1, "memory_bytes": 24 * GIB, "n": 3}
    return {**fields, "min_nusd": price, "median_nusd": price, **changes}


def seen(at: int, *rows: dict[str, object], author: str = ANA, **changes: object):
    fields = {"provider": "vastai", "account": "main", "refreshed_ms": T0 + at, "rows": list(rows)}
    return event("offers_refreshed", at, author, **{**fields, **changes})


def only(state: State):
    (latest,) = state.market.latest().values()
    return latest


def test_the_last_refresh_of_an_account_counts_with_its_age() -> None:
    latest = only(told([seen(1, row(NUSD)), seen(2, row(2 * NUSD))]))
    assert (latest.provider, latest.account, latest.author) == ("vastai", "main", ANA)
    assert latest.seen_ms == T0 + 2
    assert [one.min_nusd for one in latest.rows] == [2 * NUSD]


def prices(state: State) -> dict[str, int]:
    return {one.gpu: one.min_nusd // NUSD for one in only(state).rows}


def test_a_part_without_rows_keeps_all_of_them_and_makes_them_younger() -> None:
    state = told([seen(1, row()), seen(300_000, partial=True)])
    assert only(state).seen_ms == T0 + 300_000
    assert prices(state) == {"RTX 4090": 1}


def test_a_part_says_what_moved_what_came_and_what_is_gone() -> None:
    whole = seen(1, row(), row(gpu="A"), row(gpu="B"))
    part = seen(2, row(3 * NUSD, gpu="A"), row(gpu="B", n=0), row(gpu="C"), partial=True)
    assert prices(told([whole, part])) == {"RTX 4090": 1, "A": 3, "C": 1}
    again = [whole, part, seen(3, row(5 * NUSD, gpu="B"), partial=True)]
    assert prices(told(again)) == {"RTX 4090": 1, "A": 3, "B": 5, "C": 1}


def test_a_whole_refresh_ends_what_moved_before_it() -> None:
    events = [seen(1, row()), seen(2, row(gpu="A"), partial=True), seen(3, row(2 * NUSD))]
    assert prices(told(events)) == {"RTX 4090": 2}


def test_parts_of_two_branches_of_a_chain_end_alike() -> None:
    whole = seen(1, row(), row(gpu="A"))
    one = seen(5, row(2 * NUSD, gpu="A"), partial=True)
    other = seen(6, row(7 * NUSD, gpu="A"), partial=True)
    late = seen(4, row(9 * NUSD), row(gpu="A"))
    assert prices(fold([whole, one, other, late])) == {"RTX 4090": 9, "A": 7}
    assert prices(fold([whole, late, other, one])) == {"RTX 4090": 9, "A": 7}


def test_parts_without_a_whole_say_nothing_and_are_bounded() -> None:
    many = [row(gpu=f"card {n}") for n in range(MAX_ROWS)]
    more = [row(gpu=f"other {n}") for n in range(MAX_ROWS)]
    state = told([seen(1, *many, partial=True), seen(2, *more, partial=True)])
    assert state.market.latest() == {}
    assert len(state.market.words[ANA]["vastai", "main"].moved) == MAX_ROWS


def test_rows_that_are_gone_are_gone() -> None:
    assert only(told([seen(1, row()), seen(2)])).rows == ()


def test_of_two_peers_with_one_account_the_one_that_looked_last_counts() -> None:
    state = told([seen(5, row(NUSD)), seen(9, row(3 * NUSD), author=BEN)])
    assert only(state).author == BEN
    assert [one.hourly_nusd for one in quotes_of(state.market)] == [3 * NUSD]


def test_a_date_ahead_of_its_own_event_makes_no_price_younger() -> None:
    assert only(told([seen(1, row(), refreshed_ms=T0 + DAY_MS)])).seen_ms == T0 + 1


@pytest.mark.parametrize(
    "changes",
    [
        {"gpu": ""},
        {"gpu": "x" * 65},
        {"gpu": "RTX\x1b[31m"},
        {"gpu_count": 0},
        {"gpu_count": 65},
        {"memory_bytes": 0},
        {"n": 0},
        {"n": -1},
        {"min_nusd": 0},
        {"min_nusd": -1},
        {"median_nusd": NUSD - 1},
        {"region": "x" * 17},
        {"min_nusd": 1 << 52, "median_nusd": 1 << 52},
    ],
)
def test_a_row_that_makes_no_sense_is_none(changes: dict[str, object]) -> None:
    assert only(told([seen(1, row(**changes))])).rows == ()


@pytest.mark.parametrize(
    "changes", [{"provider": ""}, {"account": ""}, {"provider": "x" * 41}, {"account": "a\nb"}]
)
def test_an_account_without_a_sane_name_is_none(changes: dict[str, object]) -> None:
    assert told([seen(1, row(), **changes)]).market.latest() == {}


def test_only_so_many_rows_are_read_and_each_kind_once() -> None:
    many = [row(gpu=f"card {n}") for n in range(MAX_ROWS + 5)]
    assert len(only(told([seen(1, *many)])).rows) == MAX_ROWS
    assert len(only(told([seen(1, row(), row(2 * NUSD))])).rows) == 1


def test_what_is_usual_is_the_median_of_the_slots_of_a_week() -> None:
    prices = [1, 1, 2, 9, 9]
    events = [seen(n * SLOT_MS, row(price * NUSD)) for n, price in enumerate(prices)]
    usual = told(events).market.usual("vastai", T0 + 5 * SLOT_MS)[CARD]
    assert (usual.median_nusd, usual.samples) == (2 * NUSD, 5)


def test_a_slot_keeps_its_last_refresh_alone() -> None:
    start = -(T0 % SLOT_MS)
    events = [seen(start + 60_000 * n, row((1 + n) * NUSD)) for n in range(5)]
    usual = told(events).market.usual("vastai", T0)[CARD]
    assert (usual.median_nusd, usual.samples) == (5 * NUSD, 1)


def test_what_is_older_than_a_week_is_not_usual() -> None:
    assert told([seen(1, row())]).market.usual("vastai", T0 + 8 * DAY_MS) == {}


def test_regions_of_a_kind_are_one_sample() -> None:
    rows = [row(NUSD, region="us"), row(3 * NUSD, region="eu"), row(5 * NUSD, region="ap")]
    usual = told([seen(1, *rows)]).market.usual("vastai", T0)[CARD]
    assert (usual.median_nusd, usual.samples) == (3 * NUSD, 1)


def test_history_and_accounts_are_bounded() -> None:
    events = [seen(n * SLOT_MS, row()) for n in range(3 * KEPT_SLOTS)]
    events += [seen(n, row(), account=f"a{n:03}") for n in range(2 * MAX_ACCOUNTS)]
    words = told(events).market.words[ANA]
    assert len(words) == MAX_ACCOUNTS
    assert max(len(one.slots) for one in words.values()) <= KEPT_SLOTS
    assert sorted(words)[0] == ("vastai", "a000")


def test_an_authors_words_are_dropped_with_it() -> None:
    state = told([seen(1, row()), seen(2, row(), author=BEN)])
    state.market.drop(BEN)
    assert only(state).author == ANA


STORY = st.lists(
    st.tuples(
        st.integers(-40 * SLOT_MS, 40 * SLOT_MS),
        st.sampled_from([ANA, BEN]),
        st.sampled_from(["a", "b"]),
        st.integers(1, 50),
        st.booleans(),
    ),
    max_size=30,
    unique_by=lambda one: one[0],
)


@settings(max_examples=60, deadline=None)
@given(story=STORY, seed=st.integers(0, 1000))
def test_the_state_is_one_whatever_order_events_come_in(
    story: list[tuple[int, str, str, int, bool]], seed: int
) -> None:
    events = [
        seen(at, row(n * NUSD, gpu=f"card {n % 3}"), author=who, account=name, partial=part)
        for at, who, name, n, part in story
    ]
    first, other = told(events), fold(arriving(random.Random(seed), events))
    assert first.market.words == other.market.words
    assert digest(first) == digest(other)


@settings(max_examples=30, deadline=None)
@given(story=STORY)
def test_a_snapshot_says_the_same(story: list[tuple[int, str, str, int, bool]]) -> None:
    events = [seen(at, row(n * NUSD), author=who, partial=part) for at, who, _, n, part in story]
    state = told(events)
    state.cursor = state.event_count
    kept = unpack(pack(state))
    assert kept is not None
    assert kept.market == state.market


@pytest.mark.parametrize(("role", "heard"), [(VIEWER, 0), (MEMBER, 0), (RUNNER, 1), (ADMIN, 1)])
def test_prices_need_a_runner(role: str, heard: int) -> None:
    root, *_, events = fleet()
    cid = Key("cid")
    given = {"provider": "vastai", "account": "main", "refreshed_ms": 0, "rows": [row()]}
    state = live([*events, root.add("cid", role), cid.say("offers_refreshed", **given)])
    assert len(state.market.latest()) == heard
