"""Whatever is asked for of a time, by any grouping and as FOCUS, is the same money."""

from __future__ import annotations

from pathlib import Path
from random import Random
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mathcore.units import DAY_MS, NUSD
from mesh.api.bills.asked import BillAsked, parse_bill
from mesh.api.bills.report import Names
from mesh.api.bills.tables import Focus
from mesh.edge.bills.asking import Bills
from mesh.ledger.event import Event
from mesh.state.fold import apply
from mesh.state.state import State
from tests.edge.bills.story import ZONES, ListShelf, Story
from tests.state.job_story import T0, chained, event

NOWHERE = Path("/nonexistent/home")  # bills are kept in memory
STORIES = st.randoms(use_true_random=False)
SLOW = [HealthCheck.too_slow, HealthCheck.data_too_large]


def bills_of(events: list[Event], now: int, zone: str = "UTC") -> Bills:
    state = State()
    for at, one in enumerate(events, 1):
        apply(state, one)
        state.cursor = at
    shelf = ListShelf(events)
    return Bills(
        NOWHERE, ZoneInfo(zone), lambda: (shelf, state), lambda: T0 + now, lambda _: Names()
    )


def effective(found: Focus, column: str = "EffectiveCost") -> int:
    return sum(int(str(row[column]).replace(".", "")) for row in found.rows)


def charged(story: Story) -> Story:
    """And what meters, invoices and credits said of some of its days."""
    for _ in range(story.dice.randint(0, 4)):
        author, device = story.dice.choice(story.devices)
        about = T0 + story.at() - DAY_MS
        story.say("charge_recorded", story.at(), author, device, from_ms=about,
                  to_ms=about + story.dice.randrange(60_000, 5 * DAY_MS),
                  amount_nusd=story.dice.choice((-3, 1)) * NUSD + story.dice.randrange(1000),
                  basis=story.dice.choice(("measured", "invoiced")),
                  component=story.dice.choice(("", "power", "rent", "wear", "disk")))  # fmt: skip
    return story


@settings(max_examples=30, suppress_health_check=SLOW, deadline=None)
@given(
    dice=STORIES,
    zone=st.sampled_from(ZONES),
    kept=st.sampled_from(ZONES),
    since=st.sampled_from(("", "2027-01", "2027-01-15", "2027-01-16")),
    until=st.sampled_from(("", "2027-01", "2027-01-16", "2027-01-17")),
)
def test_focus_adds_up_to_the_report_in_any_zone_and_time(
    dice: Random, zone: str, kept: str, since: str, until: str
) -> None:
    story = charged(Story(dice))
    bills = bills_of(story.arrived(), story.now, kept)
    period = {name: day for name, day in (("since", since), ("until", until)) if day}
    asked = {"tz": zone, **period}
    found = bills.focus(parse_bill(asked))
    wanted = {by: bills.ask(parse_bill({"by": by, **asked})) for by in ("day", "device", "job")}
    assert {report["total_nusd"] or 0 for report in wanted.values()} == {effective(found)}
    for row in found.rows:
        for name in ("ProviderName", "PublisherName", "InvoiceIssuerName", "BilledCost"):
            assert row[name], "FOCUS 1.2 allows no null there"
        billed = row["x_Basis"] == "invoiced" or row["ServiceName"] not in ("wear", "power")
        assert row["BilledCost"] == (row["EffectiveCost"] if billed else "0.000000000")


def test_a_charge_that_goes_on_after_the_time_asked_for_is_in_it_by_its_part_alone() -> None:
    month = {"from_ms": T0, "to_ms": T0 + 30 * DAY_MS, "amount_nusd": 30 * NUSD}
    said = [
        event("device_registered", 0, device="d", name="d", price_nusd=NUSD, watts=100,
              tariff_nusd_per_kwh=NUSD),
        event("job_submitted", 1, job_id="j", device="d"),
        event("job_dispatched", 2, device="d", job_id="j", attempt=1),
        event("job_started", 3, device="d", job_id="j", attempt=1),
        event("charge_recorded", 30 * DAY_MS, device="d", basis="invoiced", component="power",
              **month),
    ]  # fmt: skip
    bills = bills_of(chained(said), 31 * DAY_MS)
    day = {"since": "2027-01-20", "until": "2027-01-20"}
    totals = {
        bills.ask(parse_bill({"by": by, **day}))["total_nusd"] for by in ("day", "device", "job")
    }
    assert totals == {effective(bills.focus(parse_bill(day)))}
    assert NUSD * 9 // 10 < effective(bills.focus(parse_bill(day)), "BilledCost") < NUSD * 11 // 10


def test_focus_goes_back_no_further_than_the_report(monkeypatch: pytest.MonkeyPatch) -> None:
    far = {"from_ms": 978_307_200_000, "count": 1, "currency": "USD", "bought_ms": 978_307_200_000}
    said = [
        event("device_registered", 0, device="d0", name="d0"),
        event("device_rate_set", 1, device="d0", price_micro=10**9, life_months=600, **far),
    ]
    monkeypatch.setattr("mesh.edge.bills.cutting.MOST_MS", 3 * DAY_MS)
    bills = bills_of(chained(said), DAY_MS)
    days = {row["ChargePeriodStart"] for row in bills.focus(parse_bill({})).rows}
    assert len(days) == 4, "as far back as a bill goes, here three days"
    assert effective(bills.focus(parse_bill({}))) == bills.ask(parse_bill({}))["total_nusd"]


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin"])
def test_lines_of_a_long_bill_are_not_all_had_at_once(
    zone: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = [event("device_registered", 0, device="d", name="d", price_nusd=1600 * NUSD)]
    bills = bills_of(chained(said), 120 * DAY_MS, "Asia/Kathmandu")
    asked: BillAsked = parse_bill({"tz": zone, "by": "month"})
    whole = bills.ask(asked)
    monkeypatch.setattr("mesh.edge.bills.cutting.SPAN_MS", DAY_MS)
    assert bills.ask(asked) == whole
    assert effective(bills.focus(asked)) == whole["total_nusd"]
