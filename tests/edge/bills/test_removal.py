"""A device that is gone costs nothing until it is registered again, whoever took it away."""

from random import Random
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mathcore.units import DAY_MS, HOUR_MS, NUSD
from mesh.edge.bills.kept import rows_of
from mesh.ledger.event import Event
from mesh.state.bills.calendar import day_of
from mesh.state.members import RUNNER
from mesh.state.runs.sums import USED
from mesh.state.trust.roles import ADMIN
from tests.edge.bills.story import Peer, Story, asked, known
from tests.state.job_story import ANA, BEN, T0, chained, event

UTC = ZoneInfo("UTC")
MONTHS = {"price_nusd": 1460 * NUSD, "lifetime_months": 2}  # a dollar an hour
RATE = {"count": 1, "price_micro": 2920 * 10**6, "currency": "USD", "life_months": 2}


def registered(at: int) -> Event:
    return event("device_registered", at, device="d0", name="d0", **MONTHS)


def removed(at: int, author: str = ANA) -> Event:
    return event("device_removed", at, author, device="d0", reason="sold")


def said(at: int, about: int, *, dollars: int = 2) -> Event:
    """A rate of so many dollars an hour."""
    rate = {**RATE, "price_micro": dollars * 1460 * 10**6}
    return event("device_rate_set", at, device="d0", from_ms=T0 + about, bought_ms=T0, **rate)


def cost(*events: Event, now: int = DAY_MS) -> int:
    found = asked(known(chained(list(events))), now)["total_nusd"]
    assert isinstance(found, int)
    return found


@pytest.mark.parametrize("author", [ANA, BEN])
@pytest.mark.parametrize("about", [0, HOUR_MS, 3 * HOUR_MS])
def test_what_a_rate_says_ends_with_the_device(author: str, about: int) -> None:
    told = said(HOUR_MS, about)
    before = 2 * NUSD + (2 * HOUR_MS - min(about, 2 * HOUR_MS)) // HOUR_MS * NUSD
    assert cost(registered(0), told, removed(2 * HOUR_MS, author)) == before
    again = registered(5 * HOUR_MS)
    assert cost(registered(0), told, removed(2 * HOUR_MS, author), again, now=6 * HOUR_MS) == (
        before + 2 * NUSD
    ), "what was said of it counts again"


@pytest.mark.parametrize(("owner", "admin", "dollars"), [(BEN, ANA, 24), (ANA, BEN, 0)])
def test_of_a_registration_and_a_removal_in_one_instant_the_later_key_counts(
    owner: str, admin: str, dollars: int
) -> None:
    """As the state has it."""
    there = event("device_registered", 0, owner, device="d0", name="d0", **MONTHS)
    away = event("device_removed", 0, admin, device="d0", reason="sold")
    assert cost(there, away) == dollars * NUSD


@pytest.mark.parametrize("author", [ANA, BEN])
def test_a_device_that_comes_back_as_it_was_costs_again(author: str) -> None:
    events = registered(0), removed(HOUR_MS, author), registered(3 * HOUR_MS)
    assert cost(*events[:2]) == NUSD
    assert cost(*events, now=5 * HOUR_MS) == 3 * NUSD


@pytest.mark.parametrize("author", [ANA, BEN])
def test_a_rent_that_somebody_pays_by_hand_ends_with_the_machine(author: str) -> None:
    box = event("device_registered", 0, device="d0", name="d0", hourly_nusd=NUSD)
    again = event("device_registered", 4 * HOUR_MS, device="d0", name="d0", hourly_nusd=NUSD)
    assert cost(box, removed(HOUR_MS, author)) == NUSD
    assert cost(box, removed(HOUR_MS, author), again, now=5 * HOUR_MS) == 2 * NUSD


def test_who_is_no_admin_takes_nobodys_device_away(monkeypatch: pytest.MonkeyPatch) -> None:
    def role(_: object, one: Event) -> str:
        return ADMIN if one.author == ANA else RUNNER

    monkeypatch.setattr("mesh.state.members.Members.role_of", role)
    assert cost(registered(0), removed(HOUR_MS, BEN)) == 24 * NUSD


@pytest.mark.parametrize("facts", [MONTHS, {"hourly_nusd": NUSD}])
def test_a_job_that_outlives_its_device_has_an_hour_without_a_price(facts: dict[str, int]) -> None:
    power = {"tariff_nusd_per_kwh": 150_000_000, "watts": 450, "count": 1}
    about = {"device": "d0", "job_id": "j", "attempt": 1}
    events = [
        event("device_registered", 0, device="d0", name="d0", **facts, **power),
        event("job_started", 0, **about),
        removed(HOUR_MS),
        event("job_completed", 2 * HOUR_MS, **about),
    ]
    assert asked(known(chained(events)), DAY_MS)["used_unknown_ms"] == HOUR_MS
    bare = [event("device_registered", 0, device="d0", name="d0", **facts), *events[1:]]
    hours = 1 if "hourly_nusd" in facts else 2  # of an owned one power has no price before either
    assert asked(known(chained(bare)), DAY_MS)["used_unknown_ms"] == hours * HOUR_MS


@settings(max_examples=25)
@given(dice=st.randoms(use_true_random=False))
def test_a_device_that_nobody_uses_costs_just_while_the_state_has_it(dice: Random) -> None:
    story = Story(dice)
    for _ in range(3):
        story.remove()
    events = story.arrived()
    peer = Peer(events, "UTC")
    days = 3 * story.days  # after everything that is said
    peer.advance(len(events), days * DAY_MS)
    query = "SELECT device, rows FROM days WHERE day = ?"
    rows = peer.db.execute(query, (day_of(T0 + days * DAY_MS - 1, UTC),)).fetchall()
    rests = {
        device for device, blob in rows if any(row.group.kind != USED for row in rows_of([blob]))
    }
    by_hand = {one.device_id for one in events if one.payload.get("hourly_nusd")}
    owned = {device for _, device in story.devices} - by_hand
    assert rests & owned == peer.state.devices.keys() & owned


def test_an_admins_removal_is_forgotten_with_its_word(monkeypatch: pytest.MonkeyPatch) -> None:
    peer = Peer(chained([registered(0), removed(HOUR_MS, BEN)]), "UTC")
    peer.advance(2, DAY_MS)
    assert wear(peer) == NUSD
    monkeypatch.setattr("mesh.state.members.Members.counts", lambda _, one: one.author == ANA)
    monkeypatch.setattr("mesh.edge.bills.keeping._verdict", lambda _, author: f"now {author}")
    peer.advance(2, DAY_MS)
    assert wear(peer) == 24 * NUSD


def wear(peer: Peer) -> int:
    blobs = peer.db.execute("SELECT rows FROM days").fetchall()
    return sum(row.nusd or 0 for (blob,) in blobs for row in rows_of([blob]))
