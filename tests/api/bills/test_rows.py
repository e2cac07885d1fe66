"""Bills as people and programs read them."""

import csv
import io
import json
from fractions import Fraction
from random import Random
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mathcore.units import DAY_MS, NUSD
from mesh.api.bills.cents import CENT, plain, shown, usd
from mesh.api.bills.rows import WHOSE, amount_row, amount_rows, grouping, period_report
from mesh.api.bills.tables import COLUMNS, FOCUS, Focus, cost_csv, focus
from mesh.state.bills.bill import bill
from mesh.state.bills.calendar import day_of
from mesh.state.bills.given import Given, gather
from mesh.state.bills.inputs import Price, Rate, Rental, Run, Watched, Who
from mesh.state.bills.lines import Line, Sum, sums, total
from mesh.state.bills.tokens import whose
from tests.simulation.bills.history import History, ms

DAY = ms("2026-04-19")
UTC = ZoneInfo("UTC")
CARD, CLOUD = "local-rtx-4090", "vast-a100-001"
MODELS = {CARD: "RTX 4090", CLOUD: "A100"}


def seeds_day() -> tuple[Given, list[Line]]:
    """12.5 hours of a card of $1600, and 3.2 of an A100 at $0.40."""
    known = gather([
        Rate(device=CARD, from_ms=DAY, bought_ms=DAY, price=1600 * NUSD, life_months=60,
             told_ms=DAY - 5),
        Watched(device=CARD, from_ms=DAY, to_ms=DAY + DAY_MS),
        Run(job="j1", device=CARD, spans=((DAY, DAY + 45_000_000),),
            who=Who(user="ann", model="llama", tokens=(0, 0, 45_000))),
        Rental(device=CLOUD, from_ms=DAY, to_ms=DAY + 11_520_000,
               prices=(Price(from_ms=DAY, hourly_nusd=400_000_000),)),
        Run(job="=j2", device=CLOUD, spans=((DAY, DAY + 11_520_000),), who=Who(user="bob")),
    ])  # fmt: skip
    return known, bill(known, DAY + DAY_MS).lines


def test_the_seeds_day_is_shown_as_the_seed_shows_it() -> None:
    known, lines = seeds_day()
    found = period_report(known, lines, "2026-04-19", UTC, MODELS)
    names = ("device_id", "model", "hours_used", "cost")
    assert [{name: one[name] for name in names} for one in found["devices"]] == [
        {"device_id": CARD, "model": "RTX 4090", "hours_used": 12.5, "cost": 0.46},
        {"device_id": CLOUD, "model": "A100", "hours_used": 3.2, "cost": 1.28},
    ]
    assert list(found)[:5] == ["period", "zone", "devices", "total_cost", "total_throughput"]
    assert (found["total_cost"], found["total_throughput"]) == (1.74, 45_000)


def test_idle_and_unknown_stand_beside_what_was_used() -> None:
    known, lines = seeds_day()
    card, cloud = period_report(known, lines, "2026-04-19", UTC, MODELS)["devices"]
    assert (card["used_nusd"], card["idle_nusd"]) == (456_621_004, 420_091_324)
    assert (card["unknown_ms"], card["basis"]) == (DAY_MS, "unknown"), "no tariff is not 0"
    assert (card["sources"], card["oldest_ms"]) == (["price"], DAY - 5)
    assert (cloud["basis"], cloud["sources"], cloud["unknown_ms"]) == ("estimated", ["quote"], 0)


def test_the_month_is_the_sum_of_its_days_and_other_days_are_empty() -> None:
    known, lines = seeds_day()
    day, month, other = (
        period_report(known, lines, period, UTC, MODELS)
        for period in ("2026-04-19", "2026-04", "2026-04-20")
    )
    assert day | {"period": ""} == month | {"period": ""}
    assert (other["devices"], other["total_cost"], other["total_nusd"]) == ([], 0, 0)
    zone = ZoneInfo("America/New_York")
    parts = [period_report(known, lines, f"2026-04-{d}", zone, MODELS) for d in (18, 19)]
    assert sum(one["total_nusd"] for one in parts) == day["total_nusd"]
    assert sum(one["total_throughput"] for one in parts) == 45_000


def test_a_device_whose_price_nobody_knows_costs_null_and_one_nobody_used_0() -> None:
    used = Run(job="j", device="d", spans=((DAY, DAY + 1000),))
    known = gather([Rate(device="d", from_ms=DAY), Rate(device="e", from_ms=DAY), used])
    lines = bill(known, DAY + 1000).lines
    one, other = period_report(known, lines, "2026-04-19", UTC, {})["devices"]
    assert (one["cost"], one["used_nusd"], one["basis"]) == (None, None, "unknown")
    assert (other["cost"], other["used_nusd"], other["unknown_nusd"]) == (0, 0, None)


@pytest.mark.parametrize(
    ("by", "names"),
    [
        ("day", ["2026-04-19"]), ("month", ["2026-04"]), ("device", [CARD, CLOUD]),
        ("job", ["=j2", "idle", "j1"]), ("user", ["", "ann", "bob"]), ("model", ["", "llama"]),
        ("owner", [""]), ("engine", [""]), ("key", [""]),
    ],
)  # fmt: skip
def test_every_grouping_adds_up_to_the_same(by: str, names: list[str]) -> None:
    known, lines = seeds_day()
    rows = amount_rows(lines, grouping(by, UTC, whose(known)))
    assert [name for name, _ in rows] == names
    assert sum(row["nusd"] or 0 for _, row in rows) == total(lines)


def test_what_bills_are_not_grouped_by_is_refused_with_what_they_are() -> None:
    with pytest.raises(ValueError, match="colour.*device.*engine"):
        grouping("colour", UTC, {})
    assert "user" in WHOSE


def test_an_amount_says_how_sure_it_is_what_from_and_how_old() -> None:
    line = Line(0, "d", "", "j", "wear", "estimated", "price", 7, 5, 0, 3)
    unknown = line._replace(basis="unknown", source="none", told_ms=None, unknown_ms=5, nusd=None)
    both = Sum()
    both.add(line)
    both.add(unknown)
    assert amount_row(both) == {
        "nusd": 3, "unit_ms": 10, "unknown_ms": 5, "basis": "unknown", "sources": ["price"],
        "oldest_ms": 7,
    }  # fmt: skip


def effective(found: Focus) -> int:
    return sum(int(str(row["EffectiveCost"]).replace(".", "")) for row in found.rows)


def read(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_csv_leaves_unknown_cells_empty_and_runs_no_formula() -> None:
    _, lines = seeds_day()
    rows = read(cost_csv(lines, UTC))
    assert tuple(rows[0]) == COLUMNS
    unknown = [row for row in rows if row["basis"] == "unknown"]
    assert {row["component"] for row in unknown} == {"power"}
    assert {(row["cost_usd"], row["cost_nusd"]) for row in unknown} == {("", "")}
    assert sum(int(row["cost_nusd"] or 0) for row in rows) == total(lines)
    assert {row["part"] for row in rows} == {"j1", "idle", "'=j2"}


def test_focus_has_its_columns_and_bills_nothing_for_what_is_owned() -> None:
    known, lines = seeds_day()
    found = focus(lines, UTC, "home", {CLOUD: "Vast.ai"}, whose(known))
    assert found.left_out_ms == DAY_MS, "power without a tariff"
    assert {tuple(row) for row in found.rows} == {FOCUS}
    assert effective(found) == total(lines)
    by = {(row["ResourceId"], row["ProviderName"], row["BilledCost"]) for row in found.rows}
    assert by == {(CARD, "self", "0.000000000"), (CLOUD, "Vast.ai", "1.280000000")}
    first: Any = next(row for row in found.rows if row["SubAccountId"] == "ann")
    assert (first["ChargePeriodStart"], first["ChargePeriodEnd"], first["BillingPeriodEnd"]) == (
        "2026-04-19T00:00:00Z", "2026-04-20T00:00:00Z", "2026-05-01T00:00:00Z",
    )  # fmt: skip
    assert json.loads(first["Tags"]) == {"model": "llama", "part": "j1"}
    assert (first["ConsumedQuantity"], first["ServiceCategory"]) == (
        "12.500000000", "AI and Machine Learning",
    )  # fmt: skip
    assert tuple(read(found.csv())[0]) == FOCUS


@settings(max_examples=10, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(st.randoms(use_true_random=False))
def test_tables_of_any_history_add_up(dice: Random) -> None:
    history = History(dice)
    known, lines = history.given(), history.bill().lines
    zone = ZoneInfo("Australia/Lord_Howe")
    whole = total(lines)
    rows = read(cost_csv(lines, zone))
    assert sum(int(row["cost_nusd"] or 0) for row in rows) == whole
    found = focus(lines, zone, "f", {}, whose(known))
    assert effective(found) == whole
    days = sorted(sums(lines, lambda one: day_of(one.at_ms, zone)))
    reports = [period_report(known, lines, day, zone, {}) for day in days]
    assert sum(one["total_nusd"] for one in reports) == whole
    for one in reports:
        cents = sum(Fraction(str(row["cost"] or 0)) for row in one["devices"])
        assert cents == Fraction(str(one["total_cost"])), "as shown"


@given(st.dictionaries(st.text(max_size=2), st.integers(-(10**15), 10**15), min_size=1))
def test_cents_as_shown_add_up_and_none_is_a_cent_off(parts: dict[str, int]) -> None:
    found, whole = shown(parts), sum(parts.values())
    assert sum(found.values()) == (2 * whole + CENT) // (2 * CENT)
    assert all(abs(found[key] * CENT - nusd) < CENT for key, nusd in parts.items())


def test_dollars_are_exact_and_formulas_are_text() -> None:
    assert [usd(one) for one in (None, 0, 456_621_004, -5, 12 * NUSD)] == [
        None, "0.000000000", "0.456621004", "-0.000000005", "12.000000000",
    ]  # fmt: skip
    assert [plain(one) for one in ("=1+1", "@x", "-2", "job", "")] == [
        "'=1+1", "'@x", "'-2", "job", "",
    ]  # fmt: skip
