"""What a rented machine cost stays in the bill, however many were rented since."""

from pathlib import Path
from random import Random
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mathcore.units import DAY_MS, HOUR_MS, NUSD
from mesh.api.bills.asked import parse_bill
from mesh.edge.bills.asking import Bills
from mesh.edge.bills.cutting import Cutter
from mesh.edge.bills.local import names_of
from mesh.state.rentals import account
from mesh.state.runs.making import machine_prefix
from tests.edge.bills.story import ACCOUNT, Peer, Story, asked, known, life_of
from tests.state.job_story import ANA, BEN, T0, chained

STORIES = st.randoms(use_true_random=False)


def rented(count: int, author: str = ANA) -> Story:
    """So many machines, each for an hour of its day."""
    story = Story(Random(0))
    story.events = []
    story.say("account_taken", 0, ANA, "", **ACCOUNT, epoch=1, peer=author)
    for n in range(count):
        ats = [0, 0, 0, 0, HOUR_MS, HOUR_MS + 3]
        for at, (kind, payload) in zip(ats, life_of(f"r{n}", NUSD), strict=False):
            story.step(n * DAY_MS + at, author, f"r{n}x1", kind, **payload)
    story.now = count * DAY_MS
    return story


@pytest.mark.parametrize("most", [1, 2, 2048])
def test_months_that_were_paid_stay_when_the_state_lets_the_oldest_rentals_go(
    monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    monkeypatch.setattr(account, "MAX_RENTALS", most)
    story = rented(4)
    peer = known(chained(story.events))
    assert len(list(peer.state.rentals.every())) == min(4, most)
    bills = Bills(
        Path("/nowhere"), ZoneInfo("UTC"), lambda: (peer.shelf, peer.state),
        lambda: T0 + story.now, names_of,
    )  # fmt: skip
    found = bills.ask(parse_bill({"by": "device"}))
    assert found["total_nusd"] == 4 * NUSD
    assert [one["devices"][0]["rented"] for one in found["groups"]] == [True] * 4  # type: ignore[attr-defined]


@settings(max_examples=40)
@given(dice=STORIES)
def test_a_bill_does_not_depend_on_how_many_rentals_the_state_keeps(dice: Random) -> None:
    story = Story(dice)
    for n in range(2, 5):
        story.rent(n)
    events = story.arrived()
    every, few = Peer(events, "UTC"), Peer(events, "UTC")
    every.advance(len(events), story.now)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(account, "MAX_RENTALS", 1)
        for cursor in (len(events) // 2, len(events)):
            few.advance(cursor, story.now)
    assert few.days() == every.days()


def test_what_a_newcomer_said_of_a_rental_counts_once_it_had_the_account() -> None:
    story = rented(1, BEN)
    events = chained(story.events)
    (taken,) = (one for one in events if one.event_type == "account_taken")
    rest = [one for one in events if one != taken]
    peer = Peer([*rest, taken], "UTC")
    peer.advance(len(rest), story.now)
    assert peer.days() == {}
    peer.advance(len(events), story.now)
    assert peer.days()
    assert asked(known([*rest, taken]), story.now)["total_nusd"] == NUSD


def test_an_event_about_one_rental_has_no_other_cut_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    story = rented(3)
    events = chained(story.events)
    peer = Peer(events, "UTC")
    peer.advance(len(events) - 1, story.now)  # the last is not over yet
    cut: list[str] = []
    put = Cutter._put

    def seen(self: Cutter, device: str, *rest: object) -> None:
        cut.append(device)
        put(self, device, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(Cutter, "_put", seen)
    peer.advance(len(events), story.now)
    assert cut == ["vast-r2"]


def test_a_device_is_part_of_the_machine_that_it_is_named_after() -> None:
    story = rented(2)
    device = f"{machine_prefix(ANA, 'vast-r1')}0"
    story.say("device_registered", DAY_MS, ANA, device, name=device, location="cloud")
    story.say("job_started", DAY_MS + 9, ANA, device, job_id="j", attempt=1)
    done = {"job_id": "j", "attempt": 1}
    story.say("job_completed", DAY_MS + HOUR_MS // 2, ANA, device, **done)
    found = asked(known(chained(story.events)), story.now, by="job")
    (job,) = (one for one in found["groups"] if one["total_cost_nusd"])
    assert 0 < job["total_cost_nusd"] < NUSD
    assert [one["device_id"] for one in job["devices"]] == ["vast-r1"]


def test_a_rental_that_ends_ahead_of_this_peers_clock_is_added_up_as_time_goes_by() -> None:
    story = rented(1)
    events = chained(story.events)
    peer = Peer(events, "UTC")
    for now in (HOUR_MS // 2, HOUR_MS * 3 // 4, DAY_MS):
        peer.advance(len(events), now)
    at_once = Peer(events, "UTC")
    at_once.advance(len(events), DAY_MS)
    assert peer.days() == at_once.days()
