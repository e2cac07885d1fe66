"""Sums that are kept step by step are those of the whole history, whatever came when."""

import json
import sqlite3
from contextlib import suppress
from dataclasses import replace
from random import Random
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mathcore.units import DAY_MS, HOUR_MS, NUSD
from mesh.api.bills import GROUPINGS
from mesh.api.bills.asked import parse_bill
from mesh.api.bills.report import Names, report
from mesh.edge.bills.cutting import Cutter
from mesh.edge.bills.desk import SqlDesk
from mesh.edge.bills.gathering import Billed, Gatherer, Watch, _apart
from mesh.edge.bills.keeping import Keeper
from mesh.edge.bills.kept import BRIEF, WHOSE, rows_of
from mesh.edge.bills.schema import NAMES
from mesh.state.bills.bill import bill
from mesh.state.bills.books import TYPES as BOOKS
from mesh.state.bills.calendar import day_of
from mesh.state.bills.lines import total
from mesh.state.facts.events import EVENTS
from tests.edge.bills.story import ZONES, Peer, Story, key_of
from tests.state.job_story import ANA, BEN, chained, event
from tests.state.test_event_facts import spoilt

T0 = 1_800_000_000_000
STORIES = st.randoms(use_true_random=False)
SOME = settings(max_examples=40)


def whole(story: Story, zone: str) -> Peer:
    """Everything at once."""
    events = story.arrived()
    peer = Peer(events, zone)
    peer.advance(len(events), story.now)
    return peer


@SOME
@given(dice=STORIES, zone=st.sampled_from(ZONES))
def test_bills_kept_step_by_step_are_those_of_the_whole(dice: Random, zone: str) -> None:
    story = Story(dice)
    events = story.arrived()
    steps = sorted(dice.sample(range(len(events) + 1), k=min(4, len(events))))
    peer, clock = Peer(events, zone), 0
    for cursor in [*steps, len(events)]:
        clock = min(story.now, clock + dice.randrange(story.now))
        peer.advance(cursor, clock)
    peer.advance(len(events), story.now)
    at_once = Peer(events, zone)
    at_once.advance(len(events), story.now)
    assert peer.days() == at_once.days()


@SOME
@given(dice=STORIES, zone=st.sampled_from(ZONES))
def test_the_order_in_which_events_came_changes_no_bill(dice: Random, zone: str) -> None:
    story = Story(dice)
    assert whole(story, zone).days() == whole(story, zone).days()


@SOME
@given(dice=STORIES, zone=st.sampled_from(ZONES))
def test_days_are_the_sums_of_the_lines_and_months_of_the_days(dice: Random, zone: str) -> None:
    story = Story(dice)
    peer = whole(story, zone)
    gatherer = Gatherer(SqlDesk(peer.db), peer.state, T0 + story.now, Watch())
    for one in gatherer.devices():
        lines = bill(gatherer.inputs(one, 0).given, T0 + story.now).lines
        mine = [line for line in lines if line.device == one.device]
        by_day: dict[str, int] = {}
        for line in mine:
            day = day_of(line.at_ms, ZoneInfo(zone))
            by_day[day] = by_day.get(day, 0) + (line.nusd or 0)
        query = "SELECT day, rows FROM days WHERE device = ?"
        kept = {
            day: sum(row.nusd or 0 for row in rows_of([blob]))
            for day, blob in peer.db.execute(query, (one.device,)).fetchall()
        }
        assert {day: nusd for day, nusd in kept.items() if nusd} == {
            day: nusd for day, nusd in by_day.items() if nusd
        }
        for of in (BRIEF, *WHOSE):
            query = "SELECT rows FROM months WHERE device = ? AND of = ?"
            months = peer.db.execute(query, (one.device, of)).fetchall()
            summed = sum(row.nusd or 0 for (blob,) in months for row in rows_of([blob]))
            assert summed == total(mine) == sum(kept.values())


@SOME
@given(dice=STORIES)
def test_a_step_that_dies_anywhere_is_taken_again_as_if_it_had_not_been(dice: Random) -> None:
    story = Story(dice)
    events = story.arrived()
    peer = Peer(events, "Europe/Berlin")
    left = dice.randrange(1, 400)

    def dies(*_: object) -> int:
        nonlocal left
        left -= 1
        return int(left == 0)

    peer.db.set_progress_handler(dies, 50)  # SQLite stops in the midst of a statement
    with suppress(sqlite3.OperationalError):  # "interrupted"
        peer.advance(len(events), story.now)
    peer.db.set_progress_handler(None, 0)
    peer.advance(len(events), story.now)
    at_once = Peer(events, "Europe/Berlin")
    at_once.advance(len(events), story.now)
    assert peer.days() == at_once.days()


def test_bills_of_another_ledger_are_begun_anew() -> None:
    one, other = Story(Random(1)), Story(Random(2))
    peer = whole(one, "UTC")
    moved = Peer(other.arrived(), "UTC")
    moved.db = peer.db
    moved.keeper._db = peer.db  # type: ignore[misc]
    moved.advance(len(moved.shelf._list), other.now)
    alone = Peer(moved.shelf._list, "UTC")
    alone.advance(len(moved.shelf._list), other.now)
    assert moved.days() == alone.days()


def test_a_member_whose_word_counts_no_more_takes_its_costs_with_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    story = Story(Random(5))
    peer = whole(story, "UTC")
    assert {device for _, device in peer.days()} >= {"d0", "d1"}
    counts = type(peer.state.members).counts
    monkeypatch.setattr(
        type(peer.state.members), "counts", lambda self, e: e.author == "a" * 64 and counts(self, e)
    )
    monkeypatch.setattr("mesh.edge.bills.keeping._verdict", lambda _, author: f"now {author}")
    peer.advance(len(peer.shelf._list), story.now)
    blobs = peer.db.execute("SELECT rows FROM days").fetchall()
    assert {row.group.owner for (blob,) in blobs for row in rows_of([blob])} == {ANA}


def test_every_table_is_forgotten_where_the_zone_changes() -> None:
    peer = whole(Story(Random(3)), "UTC")
    moved = Peer(peer.shelf._list, "Asia/Kathmandu")
    moved.db = peer.db
    moved.keeper._db = peer.db  # type: ignore[misc]
    moved.advance(len(peer.shelf._list), peer.state.cursor)
    zone = peer.db.execute("SELECT value FROM meta WHERE name = 'zone'").fetchone()
    assert zone == ("Asia/Kathmandu",)
    assert set(NAMES) == {
        name for (name,) in peer.db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
    }


@SOME
@given(dice=STORIES, zone=st.sampled_from(ZONES))
def test_lines_cut_day_by_day_are_those_cut_at_once(dice: Random, zone: str) -> None:
    story = Story(dice)
    events = story.arrived()
    at_once, by_day = Peer(events, zone), Peer(events, zone)
    at_once.advance(len(events), story.now)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mesh.edge.bills.cutting.SPAN_MS", 1)
        by_day.advance(len(events), story.now)
    assert by_day.days() == at_once.days()


@pytest.mark.parametrize("zone", ["Europe/Berlin", "Australia/Lord_Howe"])
def test_a_change_of_clocks_in_a_long_bill_loses_no_hour(zone: str) -> None:
    seen = chained([event("device_registered", 0, device="d0", name="d0", price_nusd=1600 * NUSD)])
    peer, days = Peer(seen, zone), 120  # from January to May 2027
    peer.advance(1, days * DAY_MS)
    rows = [row for rows in peer.days().values() for row in rows]
    held = sum(row[2] for row in rows)  # unit-milliseconds
    assert held == days * DAY_MS
    assert len(peer.days()) == days + 1
    query = "SELECT rows FROM months WHERE of = ''"
    months = [row for (blob,) in peer.db.execute(query) for row in rows_of([blob])]
    assert sum(row.unit_ms for row in months) == held


def test_what_somebody_says_of_the_year_2001_costs_no_peer_a_quarter_of_a_century() -> None:
    far = {"from_ms": 978_307_200_000, "count": 1, "currency": "USD", "bought_ms": 978_307_200_000}
    said = [
        event("device_registered", 0, device="d0", name="d0"),
        event("device_rate_set", 1, device="d0", price_micro=10**9, life_months=600, **far),
    ]
    peer = Peer(chained(said), "UTC")
    peer.keeper = Keeper(peer.db, ZoneInfo("UTC"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mesh.edge.bills.cutting.MOST_MS", 3 * DAY_MS)
        peer.advance(2, DAY_MS)
    assert len(peer.days()) == 4  # as far back as a bill goes, here three days


MONEY = sorted(set(EVENTS) & {*BOOKS, "device_registered", "device_removed", "usage_summarised",
                              "job_submitted", "job_dispatched", "job_started", "job_paused",
                              "job_resumed", "job_completed", "telemetry_summarised"})  # fmt: skip


@SOME
@given(data=st.data(), dice=STORIES)
def test_nothing_that_anybody_signs_stops_a_bill(data: st.DataObject, dice: Random) -> None:
    story = Story(dice)
    for kind in data.draw(st.lists(st.sampled_from(MONEY), min_size=1, max_size=6)):
        payload = data.draw(spoilt(data.draw(st.sampled_from(EVENTS[kind]))))
        at, device = story.at(), data.draw(st.sampled_from(["d0", "d9", "", "*", "x" * 300]))
        story.events.append(replace(event(kind, at, BEN, device), payload=payload))
    peer = whole(story, "Europe/Berlin")
    kept = peer.db.execute("SELECT day, rows FROM days").fetchall()
    rows = [(day, row) for day, blob in kept for row in rows_of([blob])]
    for by in GROUPINGS:
        told = report(rows, parse_bill({"by": by}), Names(), T0)
        json.dumps(told, allow_nan=False)
        parts = [group["total_nusd"] for group in told["groups"]]
        assert sum(one or 0 for one in parts) == (told["total_nusd"] or 0)
    again = Peer(peer.shelf._list, "Europe/Berlin")
    again.advance(len(peer.shelf._list), story.now)
    assert again.days() == peer.days()


def test_a_jobs_cost_is_split_by_how_long_it_read_and_wrote() -> None:
    made = {"prompt_tokens": 1000, "tokens_generated": 100, "energy_basis": "measured"}
    speeds = {"prefill_mtps": 1_000_000, "throughput_mtps": 50_000}  # 1 s of reading, 2 of writing
    price = {"price_nusd": 1600 * NUSD, "lifetime_months": 60}
    told = {**made, **speeds, "actual_duration_ms": 3000}
    said = [
        event("device_registered", 0, device="d0", name="d0", **price),
        event("job_submitted", 10, device="d0", job_id="j", model="m"),
        event("job_started", 20, device="d0", job_id="j", attempt=1),
        event("job_completed", 3020, device="d0", job_id="j", attempt=1, **told),
    ]
    peer = Peer(chained(said), "UTC")
    peer.advance(len(said), HOUR_MS)
    (row,) = [
        row for (blob,) in peer.db.execute("SELECT rows FROM days") for row in rows_of([blob])
        if row.group.kind == "used"
    ]  # fmt: skip
    # Three seconds of 36,529,680 nano-dollars an hour: 30,441.4, as a running total has it.
    assert row.nusd == 30442
    assert (row.prompt_nusd, row.generated_nusd) == (10147, 20295)
    (group,) = [
        one for one in report([("2027-01-15", row)], parse_bill({"by": "model"}), Names(), T0)[
            "groups"
        ]
    ]  # fmt: skip
    assert group["million_nusd"] == {
        "prompt": 10_147_000, "cached": None, "generated": 202_950_000, "unsplit": 304_420_000
    }  # fmt: skip


def test_nobody_takes_the_place_of_a_bill_by_a_name() -> None:
    mine, theirs = Billed("vast-r1", ANA, ("a",)), Billed("vast-r1", BEN, ("b",))
    found = _apart([mine, theirs])
    assert found[0] == mine
    assert (found[1].owner, found[1].parts) == (BEN, ("b",))
    assert found[1].device.startswith("vast-r1@")


@SOME
@given(dice=STORIES)
def test_a_verdict_that_changes_as_a_step_dies_is_not_forgotten(dice: Random) -> None:
    story = Story(dice)
    peer = whole(story, "UTC")
    events = peer.shelf._list
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mesh.edge.bills.keeping._verdict", lambda _, author: f"now {author}")
        patch.setattr("mesh.state.members.Members.counts", lambda self, e: e.author == ANA)
        patch.setattr(Cutter, "cut", dies)
        with suppress(sqlite3.OperationalError):
            peer.advance(len(events), story.now)
        patch.undo()
        patch.setattr("mesh.edge.bills.keeping._verdict", lambda _, author: f"now {author}")
        patch.setattr("mesh.state.members.Members.counts", lambda self, e: e.author == ANA)
        peer.advance(len(events), story.now)
        alone = Peer(events, "UTC")
        alone.state = peer.state
        alone.keeper.advance(alone.shelf, peer.state, T0 + story.now)
    assert peer.days() == alone.days()


def dies(*_: object, **__: object) -> None:
    raise sqlite3.OperationalError("disk I/O error")


def by_key(peer: Peer) -> dict[str, int]:
    """What each key's used time came to, of all days."""
    found: dict[str, int] = {}
    for (blob,) in peer.db.execute("SELECT rows FROM days").fetchall():
        for row in rows_of([blob]):
            if row.group.kind == "used":
                found[row.group.key] = found.get(row.group.key, 0) + (row.nusd or 0)
    return found


def asked_by(home: str, key_id: str, *, requests: bool) -> Peer:
    """An hour of Ana's device at a dollar an hour, for a job that `home` submitted for a key."""
    story = Story(Random(0))
    story.events = []
    story.say("device_registered", 0, ANA, "rig", name="rig", hourly_nusd=NUSD)
    story.say("job_submitted", 1, home, "rig", job_id="j", model="m", key_id=key_id)
    about = {"job_id": "j", "attempt": 1}
    story.say("job_dispatched", 2, home, "rig", **about, owner=ANA, plan={"engine": "vllm"})
    story.say("job_started", 3, ANA, "rig", **about)
    if requests:
        for key, cost in (("k2", 300), ("", 100)):
            row = {"key_id": key, "model": "m", "device_id": "rig", "job_id": "j", "requests": 1,
                   "cost_nusd": cost, "generated_tokens": 7}  # fmt: skip
            begun = T0 + HOUR_MS // 2
            story.say("usage_summarised", HOUR_MS // 2, ANA, "rig", begun_ms=begun, rows=[row])
    took = {"actual_duration_ms": HOUR_MS, "tokens_generated": 5}
    story.say("job_completed", 3 + HOUR_MS, ANA, "rig", **about, **took)
    story.now = DAY_MS
    return whole(story, "UTC")


@pytest.mark.parametrize(
    ("home", "key", "requests", "shares"),
    [
        (BEN, key_of(BEN), False, {key_of(BEN): NUSD}),
        (BEN, "", False, {"": NUSD}),
        # Nobody's job counts for a key of somebody else's: it would empty their purse on paper.
        (BEN, key_of(ANA), False, {"": NUSD}),
        # What its requests with keys leave is of the key that the server itself runs for.
        (BEN, key_of(BEN), True, {key_of(BEN): NUSD // 4, "k2": NUSD * 3 // 4}),
        (BEN, "", True, {"": NUSD // 4, "k2": NUSD * 3 // 4}),
    ],
)
def test_a_job_is_billed_to_the_key_that_its_own_peer_named(
    home: str, key: str, *, requests: bool, shares: dict[str, int]
) -> None:
    peer = asked_by(home, key, requests=requests)
    assert by_key(peer) == shares
    rows = [row for (blob,) in peer.db.execute("SELECT rows FROM days") for row in rows_of([blob])]
    assert sum(row.jobs for row in rows) == 1
    tokens = sum(row.generated_tokens for row in rows)
    assert tokens == (14 if requests else 5)
