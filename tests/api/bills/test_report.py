"""Bills as people and programs read them."""

import csv
import io
import json
from random import Random
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mathcore.units import DAY_MS, NUSD
from mesh.api.bills.asked import parse_bill
from mesh.api.bills.cents import csv_lines, named_rows, plain, table, usd
from mesh.api.bills.report import Names, report
from mesh.api.bills.tables import FOCUS, Focus, focus
from mesh.state.bills.bill import bill
from mesh.state.bills.given import Given, gather
from mesh.state.bills.inputs import (
    Band,
    Charge,
    Price,
    Rate,
    Rental,
    Run,
    Tariff,
    Watched,
    Who,
)
from mesh.state.bills.lines import Line, total
from mesh.state.bills.tokens import whose
from mesh.state.runs.sums import day_rows
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


def told(known: Given, lines: list[Line], by: str = "day", zone: ZoneInfo = UTC) -> Any:
    """What `fleet cost --by` answers of these lines."""
    ran = [run for runs in known.runs.values() for run in runs]
    days = day_rows(lines, zone, whose(known), ran, {}, (), by_job=by == "job")
    rows = [(day, row) for day, each in days.items() for row in each]
    return report(rows, parse_bill({"by": by, "tz": zone.key}), Names(hardware=MODELS), DAY)


def test_the_seeds_day_is_told_as_the_seed_tells_it() -> None:
    (day,) = told(*seeds_day())["groups"]
    assert list(day)[:2] == ["period", "devices"]
    assert [list(one)[:3] for one in day["devices"]] == [["device_id", "model", "hours_used"]] * 2
    names = ("device_id", "model", "hours_used", "cost_nusd")
    assert [tuple(one[name] for name in names) for one in day["devices"]] == [
        (CARD, "RTX 4090", 12.5, 456_621_004),  # the seed says $0.46
        (CLOUD, "A100", 3.2, 1_280_000_000),
    ]
    assert (day["period"], day["total_cost"], day["total_throughput"]) == (
        "2026-04-19", 1.736621004, 45_000,
    )  # fmt: skip


def test_idle_and_unknown_stand_beside_what_was_used() -> None:
    day = told(*seeds_day())["groups"][0]
    card, cloud = day["devices"]
    assert (card["cost_nusd"], card["idle_nusd"]) == (456_621_004, 420_091_324)
    assert (card["unknown_ms"], card["basis"]) == (DAY_MS, "unknown"), "no tariff is not 0"
    assert (day["sources"], day["oldest_ms"]) == (["price", "quote"], DAY - 5)
    assert (cloud["basis"], cloud["unknown_ms"]) == ("estimated", 0)


def test_the_month_is_the_sum_of_its_days_in_any_zone() -> None:
    known, lines = seeds_day()
    day, month = (told(known, lines, by)["groups"][0] for by in ("day", "month"))
    assert day | {"period": ""} == month | {"period": ""}
    parts = told(known, lines, zone=ZoneInfo("America/New_York"))["groups"]
    assert [one["period"] for one in parts] == ["2026-04-18", "2026-04-19"]
    assert sum(one["total_nusd"] for one in parts) == day["total_nusd"]
    assert sum(one["total_throughput"] for one in parts) == 45_000


def test_a_device_whose_price_nobody_knows_costs_null_and_one_nobody_used_0() -> None:
    used = Run(job="j", device="d", spans=((DAY, DAY + 1000),))
    known = gather([Rate(device="d", from_ms=DAY), Rate(device="e", from_ms=DAY), used])
    one, other = told(known, bill(known, DAY + 1000).lines)["groups"][0]["devices"]
    assert (one["cost"], one["cost_nusd"], one["basis"]) == (None, None, "unknown")
    assert (other["cost"], other["cost_nusd"], other["unknown_nusd"]) == (0, 0, None)


@pytest.mark.parametrize(
    ("by", "names"),
    [
        ("day", ["2026-04-19"]), ("month", ["2026-04"]), ("device", [CARD, CLOUD]),
        ("job", ["(idle)", "=j2", "j1"]), ("user", ["(idle)", "ann", "bob"]),
        ("model", ["(idle)", "(none)", "llama"]), ("owner", ["(none)"]),
        ("engine", ["(idle)", "(none)"]), ("key", ["(idle)", "(no key)"]),
        ("kind", ["idle", "used"]),
    ],
)  # fmt: skip
def test_every_grouping_adds_up_to_the_same(by: str, names: list[str]) -> None:
    known, lines = seeds_day()
    found = told(known, lines, by)
    groups = found["groups"]
    assert sorted(one["period" if by in ("day", "month") else by] for one in groups) == names
    assert sum(one["total_nusd"] or 0 for one in groups) == found["total_nusd"] == total(lines)


def effective(found: Focus) -> int:
    return sum(int(str(row["EffectiveCost"]).replace(".", "")) for row in found.rows)


def read(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


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
    found = focus(lines, zone, "f", {}, whose(known))
    assert effective(found) == whole
    reports = told(known, lines, zone=zone)["groups"]
    assert sum(one["total_nusd"] or 0 for one in reports) == whole


def test_dollars_are_exact_and_formulas_are_text() -> None:
    assert [usd(one) for one in (None, 0, 456_621_004, -5, 12 * NUSD)] == [
        None, "0.000000000", "0.456621004", "-0.000000005", "12.000000000",
    ]  # fmt: skip
    assert [plain(one) for one in ("=1+1", "@x", "-2", "\n=1", "\x00", "job", "")] == [
        "'=1+1", "'@x", "'-2", "'\n=1", "'\x00", "job", "",
    ]  # fmt: skip


def test_a_credit_is_a_number_and_a_name_that_begins_like_a_formula_is_none() -> None:
    credit = Charge(device="-d", from_ms=DAY, to_ms=DAY + DAY_MS, nusd=-5 * NUSD)
    (row,) = read(focus(bill(gather([credit]), DAY + DAY_MS).lines, UTC, "f", {}, {}).csv())
    assert {row[name] for name in ("BilledCost", "EffectiveCost", "ListCost")} == {"-5.000000000"}
    assert (row["ResourceId"], row["PricingQuantity"]) == ("'-d", "1")


def test_an_invoice_of_power_is_billed_and_what_nobody_invoiced_of_it_is_not() -> None:
    known = gather([
        Rate(device="d", from_ms=DAY, price=1600 * NUSD, bought_ms=DAY, life_months=60,
             tdp_mw=100_000, tariff="t"),
        Tariff(name="t", from_ms=DAY, zone="UTC",
               bands=(Band(weekdays="0123456", from_min=0, to_min=1440, price=NUSD),)),
        Run(job="j", device="d", spans=((DAY, DAY + DAY_MS),)),
        Charge(device="d", from_ms=DAY, to_ms=DAY + DAY_MS // 2, nusd=7 * NUSD, component="power"),
    ])  # fmt: skip
    lines = bill(known, DAY + DAY_MS).lines
    found = focus(lines, UTC, "f", {}, {})
    by = {(row["ServiceName"], row["x_Basis"]): row["BilledCost"] for row in found.rows}
    assert by == {
        ("power", "invoiced"): "7.000000000",
        ("power", "estimated"): "0.000000000",
        ("wear", "estimated"): "0.000000000",
    }
    assert effective(found) == total(lines)


@pytest.mark.parametrize("lines", ["rent", "other"])
def test_no_row_is_without_a_provider_where_nobody_named_one(lines: str) -> None:
    charge = Charge(device="d", from_ms=DAY, to_ms=DAY + DAY_MS, nusd=5, component=lines)
    rented = Rental(device="d", from_ms=DAY, prices=(Price(from_ms=DAY, hourly_nusd=NUSD),))
    known = gather([charge if lines == "other" else rented])
    (row,) = focus(bill(known, DAY + DAY_MS).lines, UTC, "f", {"d": ""}, {}).rows
    names = ("ProviderName", "PublisherName", "InvoiceIssuerName")
    assert [row[name] for name in names] == ["self"] * 3


@pytest.mark.parametrize("text", ["a\rb", "a\nb", "a\r\nb", "a,b", 'a"b', "\r", ""])
def test_any_text_is_one_cell_of_one_row(text: str) -> None:
    made = table(["name", "n"], [[text, -1], ["next", None]])
    rows = list(csv.reader(io.StringIO(made, newline="")))
    assert rows == [["name", "n"], [text, "-1"], ["next", ""]]
    assert made.endswith("next,\n")


def test_names_in_rows_of_a_plan_run_in_no_spreadsheet_and_amounts_stay_numbers() -> None:
    rows = [
        {"name": "=cmd()", "nusd": -5, "share": 0.5},
        {"name": "a\rb", "nusd": None, "share": 1},
    ]
    head = ("name", "nusd", "share")
    made = "".join(csv_lines(head, named_rows(head, rows)))
    assert made == 'name,nusd,share\n\'=cmd(),-5,0.5\n"a\rb",,1\n'
