"""A bill as known on a day is the one that could be made at the end of that day, and no other."""

from random import Random
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mathcore.units import DAY_MS, HOUR_MS, NUSD
from mesh.api.bills import GROUPINGS
from mesh.edge.bills.gathering import Watch
from mesh.ledger.event import Event, order_key
from mesh.state.bills.calendar import bounds_ms, day_of
from tests.edge.bills.story import ZONES, Story, asked, known, life_of
from tests.state.job_story import ANA, BEN, chained, event

T0 = 1_800_000_000_000  # 2027-01-15 08:00 UTC
TODAY, LATER = "2027-01-15", "2027-01-18"
MIDNIGHT = 16 * HOUR_MS
ABOUT = {"job_id": "j", "attempt": 1}


def by(events: list[Event], end_ms: int) -> list[Event]:
    """Those that were said before an instant."""
    return [one for one in events if order_key(one)[0] < end_ms]


@settings(max_examples=60)
@given(
    dice=st.randoms(use_true_random=False),
    zone=st.sampled_from(ZONES),
    group=st.sampled_from(GROUPINGS),
)
def test_a_bill_as_known_on_a_day_is_that_of_what_was_said_by_its_end(
    dice: Random, zone: str, group: str
) -> None:
    story = Story(dice)
    events = story.arrived()
    day = day_of(T0 + dice.randrange(story.days * DAY_MS), ZoneInfo(zone))
    end = bounds_ms(day, ZoneInfo(zone))[1]
    watch = Watch(author=dice.choice(("", ANA)), from_ms=T0 + dice.choice((0, story.days)) * DAY_MS)
    then, later = known(by(events, end)), known(events)
    query = {"by": group, "tz": zone}
    was = asked(then, end - T0, watch, **query)
    found = asked(later, story.days * DAY_MS + 9 * DAY_MS, watch, **query, as_of=day)
    differs = {name for name in was if was[name] != found[name]}
    assert differs <= {"as_of"}


def rented_by_hand() -> list[Event]:
    """A device at a dollar an hour, and a job that runs from its first hour into its third day."""
    return [
        event("device_registered", 0, device="d0", name="d0", hourly_nusd=NUSD),
        event("job_submitted", 1, device="d0", job_id="j", model="m"),
        event("job_started", HOUR_MS, device="d0", **ABOUT),
        event("job_completed", 2 * DAY_MS, device="d0", **ABOUT),
    ]


def test_a_job_that_ended_after_the_day_ran_until_its_end() -> None:
    peer = known(chained(rented_by_hand()))
    was = asked(known(by(peer.shelf._list, T0 + MIDNIGHT)), MIDNIGHT, Watch(author=ANA, from_ms=T0))
    found = asked(peer, 3 * DAY_MS, Watch(author=ANA, from_ms=T0), as_of=TODAY)
    for one in (was, found):
        assert (one["total_cost_nusd"], one["total_nusd"]) == (15 * NUSD, 16 * NUSD)
        assert one["jobs"] == 1


@pytest.mark.parametrize("day", [TODAY, LATER])
def test_what_telemetry_said_later_was_not_known(day: str) -> None:
    told = {"begun_ms": T0 + HOUR_MS, "span_ms": HOUR_MS, "readings": 9, "health": "ok"}
    said = [
        event("device_registered", 0, device="d0", name="d0", price_nusd=1460 * NUSD,
              lifetime_months=2),
        event("telemetry_summarised", MIDNIGHT + HOUR_MS, device="d0", **told),
    ]  # fmt: skip
    found = asked(known(chained(said)), 9 * DAY_MS, as_of=day)
    assert found["idle_nusd"] == (NUSD if day == LATER else 0)


@pytest.mark.parametrize(("day", "nusd"), [(TODAY, 16 * NUSD), (LATER, 99 * NUSD)])
def test_an_invoice_that_came_later_was_not_known(day: str, nusd: int) -> None:
    story = Story(Random(0))
    story.events = []
    story.say("account_taken", 0, ANA, "", provider="vastai", account="main", epoch=1, peer=ANA)
    life = life_of("r1", NUSD)
    life[-1] = "rental_invoiced", {"amount_nusd": 99 * NUSD, "step_nusd": 1}
    ats = [0, 0, 1, HOUR_MS, MIDNIGHT - 2, MIDNIGHT + 3, MIDNIGHT + HOUR_MS]
    for at, (kind, payload) in zip(ats, life, strict=True):
        story.step(at, ANA, "r1x1", kind, **payload)
    peer = known(chained(story.events))
    assert asked(peer, 9 * DAY_MS, as_of=day)["total_nusd"] == nusd


def test_whose_device_it_was_is_what_was_known_then() -> None:
    facts = {"device": "box", "name": "box", "hourly_nusd": NUSD}
    said = [
        event("device_registered", 0, BEN, **facts),
        event("device_registered", DAY_MS, ANA, **facts),
    ]
    peer = known(chained(said))
    assert asked(peer, 9 * DAY_MS, as_of=TODAY)["total_nusd"] == 16 * NUSD
