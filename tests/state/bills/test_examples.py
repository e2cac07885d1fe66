"""Examples people know by heart, to the nano-dollar."""

from collections.abc import Callable
from dataclasses import replace
from zoneinfo import ZoneInfo

import pytest

from mathcore.units import DAY_MS, HOUR_MS, NUSD
from mesh.state.bills.bill import Bill, bill
from mesh.state.bills.calendar import day_of, month_of, zone_of
from mesh.state.bills.charges import call_lines
from mesh.state.bills.given import gather
from mesh.state.bills.inputs import (
    WHOLE,
    Band,
    Call,
    Charge,
    FxRate,
    Input,
    Item,
    Metered,
    Price,
    Rate,
    Rental,
    Run,
    Tariff,
    Watched,
    Who,
)
from mesh.state.bills.lines import Line, Sum, sums, total
from mesh.state.bills.owned import loss_nusd, worn_nusd
from mesh.state.bills.reading import MAX_COUNT
from mesh.state.bills.tokens import per_million, split, whose
from tests.simulation.bills.history import ms

FLAT = "0123456"
KWH = 3_600_000_000  # millijoules
NOON = ms("2026-07-14T12:00")


def of(now: int, *inputs: Input) -> Bill:
    return bill(gather(inputs), now)


def rented(hourly: int, to: int, **also: object) -> Rental:
    prices = (Price(from_ms=0, hourly_nusd=hourly),)
    return Rental(device="r", from_ms=0, prices=prices, to_ms=to, **also)  # type: ignore[arg-type]


def ran(job: str, to: int, begun: int = 0, device: str = "r", **also: object) -> Run:
    return Run(job=job, device=device, spans=((begun, to),), **also)  # type: ignore[arg-type]


def rate(**also: object) -> Rate:
    set_: dict[str, object] = {
        "device": "d", "from_ms": NOON, "bought_ms": NOON, "price": 1600 * NUSD, "life_months": 60,
    }  # fmt: skip
    return Rate(**(set_ | also))  # type: ignore[arg-type]


def tariff(price: int, zone: str = "UTC", currency: str = "USD", begun: int = 0) -> Tariff:
    band = Band(weekdays=FLAT, from_min=0, to_min=1440, price=price)
    return Tariff(name="t", from_ms=begun, zone=zone, bands=(band,), currency=currency)


def by_day(zone: ZoneInfo) -> Callable[[Line], str]:
    return lambda one: day_of(one.at_ms, zone)


def by_month(zone: ZoneInfo) -> Callable[[Line], str]:
    return lambda one: month_of(one.at_ms, zone)


def by_part(lines: list[Line], component: str = "") -> dict[str, Sum]:
    return sums((one for one in lines if component in ("", one.component)), lambda one: one.part)


def test_1600_dollars_over_60_months_are_26_67_a_month_and_0_0365_an_hour() -> None:
    one = rate()
    assert loss_nusd(gather([]), one) == 1600 * NUSD
    assert worn_nusd(one, 1600 * NUSD, NOON + 730 * HOUR_MS) == 26_666_666_666
    assert worn_nusd(one, 1600 * NUSD, NOON + HOUR_MS) == 36_529_680
    assert worn_nusd(one, 1600 * NUSD, NOON + 60 * 730 * HOUR_MS) == 1600 * NUSD
    assert worn_nusd(one, 1600 * NUSD, NOON + 99 * 730 * HOUR_MS) == 1600 * NUSD
    assert worn_nusd(one, 1600 * NUSD, NOON - 1) == 0


def test_the_wear_of_a_whole_life_is_exactly_price_less_resale() -> None:
    begun = ms("2026-01-01")
    life = 2 * 730 * HOUR_MS
    one = rate(from_ms=begun, bought_ms=begun, price=999_999_999_999, resale=7, life_months=2)
    jobs = [
        ran(f"j{n}", begun + 20 * n * HOUR_MS + 12_345_678, begun + 20 * n * HOUR_MS + n, "d")
        for n in range(70)
    ]
    lines = of(begun + life + DAY_MS, one, *jobs).lines
    assert sum(one.nusd or 0 for one in lines if one.component == "wear") == 999_999_999_992


def test_a_vast_4090_at_0_28_for_48_seconds_and_a_runpod_one_at_0_45() -> None:
    for hourly, cost in ((280_000_000, 3_733_333), (450_000_000, 6_000_000)):
        lines = of(10**9, rented(hourly, 48_000), ran("j", 48_000)).lines
        assert total(lines) == cost
        assert {one.part for one in lines} == {"j"}


def test_a_call_of_aws_lambda_of_120_seconds_with_10240_mb_costs_20_000_240() -> None:
    items = (
        Item(component="requests", quantity=1, nusd=200),
        Item(component="gb-seconds", quantity=120_000 * 10_240, nusd=166_667, per=10 * 1000 * 1024),
    )
    call = Call(job="j", device="aws", at_ms=0, items=items)
    assert [one.nusd for one in call_lines(call)] == [200, 20_000_040]
    assert total(of(1, call).lines) == 20_000_240
    assert total(of(0, call).lines) == 0, "it wasn't made yet"


def test_a_minimum_is_the_jobs_it_was_rented_for_and_charges_take_its_place() -> None:
    quoted = rented(280_000_000, 48_000, minimum_ms=HOUR_MS, for_job="j")
    lines = of(10**9, quoted, ran("j", 48_000)).lines
    assert {part: one.nusd for part, one in by_part(lines).items()} == {"j": 280_000_000}
    metered = Charge(device="r", from_ms=0, to_ms=HOUR_MS, nusd=275_000_000, basis="measured")
    invoice = Charge(device="r", from_ms=0, to_ms=HOUR_MS, nusd=300_000_000)
    found = of(10**9, quoted, ran("j", 48_000), invoice, metered)
    assert total(found.lines) == 300_000_000
    assert [one.nusd for one in found.differences] == [-5_000_000, 25_000_000]
    assert {one.basis for one in found.lines} == {"invoiced"}


def test_steps_round_the_time_up_and_units_multiply_only_where_the_price_is_theirs() -> None:
    hour = 3600 * NUSD
    assert total(of(10**9, rented(hour, 1_001, step_ms=1000)).lines) == 2 * NUSD
    assert total(of(10**9, rented(hour, 1_000, count=4)).lines) == NUSD
    assert total(of(10**9, rented(hour, 1_000, count=4, per_unit=True)).lines) == 4 * NUSD


def test_a_disk_is_paid_until_it_is_gone_by_the_providers_month() -> None:
    for hours in (720, 730):
        one = rented(0, HOUR_MS, gone_ms=2 * HOUR_MS, disk_gb=hours, disk_month_nusd=NUSD,
                     month_hours=hours)  # fmt: skip
        assert total(of(10 * HOUR_MS, one).lines) == 2 * NUSD


def test_a_price_read_again_counts_from_then_on_and_none_is_unknown() -> None:
    prices = [(0, 10 * NUSD), (HOUR_MS, 20 * NUSD), (2 * HOUR_MS, None)]
    one = Rental(device="r", from_ms=0, to_ms=3 * HOUR_MS, prices=tuple(
        Price(from_ms=at, hourly_nusd=nusd) for at, nusd in prices
    ))  # fmt: skip
    (idle,) = by_part(of(DAY_MS, one).lines).values()
    assert (idle.nusd, idle.unknown_ms, idle.unit_ms) == (30 * NUSD, HOUR_MS, 3 * HOUR_MS)
    assert (idle.basis, idle.sources) == ("unknown", {"quote", "reread", "none"})


def test_a_machine_rented_twice_keeps_its_jobs_apart() -> None:
    first, again = rented(NUSD, HOUR_MS), Rental(
        device="r", from_ms=2 * HOUR_MS, to_ms=3 * HOUR_MS,
        prices=(Price(from_ms=2 * HOUR_MS, hourly_nusd=2 * NUSD),),
    )  # fmt: skip
    lines = of(DAY_MS, first, again, ran("a", HOUR_MS), ran("b", 3 * HOUR_MS, HOUR_MS)).lines
    found = by_part(lines)
    assert {part: one.nusd for part, one in found.items()} == {"a": NUSD, "b": 2 * NUSD}
    assert found["b"].unknown_ms == HOUR_MS, "between both nobody knows a price"


def test_when_the_count_drops_idle_is_not_negative() -> None:
    one = rate(price=730 * NUSD, life_months=1)
    gone = rate(price=730 * NUSD, life_months=1, count=0, from_ms=NOON + HOUR_MS // 2)
    seen = Watched(device="d", from_ms=NOON, to_ms=NOON + HOUR_MS)
    lines = of(NOON + HOUR_MS, one, gone, seen, ran("j", NOON + HOUR_MS // 2, NOON, "d")).lines
    found = by_part(lines, "wear")
    assert {part: sum_.nusd for part, sum_ in found.items()} == {"j": NUSD // 2}


def test_a_job_on_a_device_that_nobody_owns_is_time_without_a_price() -> None:
    gone = rate(count=0)
    lines = of(NOON + HOUR_MS, gone, ran("j", NOON + HOUR_MS, NOON, "d", units=2)).lines
    (one,) = by_part(lines).values()
    assert (one.amount, one.unknown_ms, one.basis) == (None, 2 * HOUR_MS, "unknown")
    alone = of(HOUR_MS, ran("j", HOUR_MS, device="nobodys")).lines
    assert sum(one.unknown_ms for one in alone) == HOUR_MS


OVER = Rental(
    device="d",
    from_ms=NOON - HOUR_MS,
    to_ms=NOON,
    prices=(Price(from_ms=0, hourly_nusd=NUSD),),
)


@pytest.mark.parametrize("had", [rate(count=0), OVER])
def test_jobs_that_have_a_device_whole_share_the_time_in_which_it_is_nobodys(had: Input) -> None:
    """How many units it has nobody knows."""
    runs = [
        ran("j", NOON + HOUR_MS, NOON, "d", units=WHOLE),
        ran("k", NOON + HOUR_MS, NOON + HOUR_MS // 2, "d", units=WHOLE),
    ]
    lines = [one for one in of(NOON + HOUR_MS, had, *runs).lines if one.at_ms >= NOON]
    found = {part: one.unknown_ms for part, one in by_part(lines).items() if one.unknown_ms}
    assert found == {"j": HOUR_MS * 3 // 4, "k": HOUR_MS // 4}


def test_no_device_has_more_units_than_a_job_that_has_it_whole() -> None:
    assert MAX_COUNT <= WHOLE


def test_an_hour_nobody_watched_is_unknown_and_still_wears() -> None:
    seen = Watched(device="d", from_ms=NOON, to_ms=NOON + HOUR_MS)
    one = rate(idle_mw=1_000_000, tariff="t")
    found = by_part(of(NOON + 2 * HOUR_MS, one, seen, tariff(NUSD)).lines, "power")
    assert found["idle"].nusd == NUSD
    assert (found["unknown"].amount, found["unknown"].unknown_ms) == (None, HOUR_MS)
    wear = by_part(of(NOON + 2 * HOUR_MS, one, seen).lines, "wear")
    assert (wear["idle"].nusd, wear["unknown"].nusd) == (36_529_680, 36_529_680)


def test_power_is_the_meters_else_the_jobs_own_else_its_nominal_watts_else_unknown() -> None:
    end = NOON + HOUR_MS
    base = {"tariff": "t", "tdp_mw": 2_000_000, "price": None}
    job = ran("j", end, NOON, "d")
    measured = ran("j", end, NOON, "d", energy_mj=3 * KWH)
    meter = Metered(device="d", from_ms=NOON, to_ms=end, energy_mj=4 * KWH)
    cases: list[tuple[list[Input], int | None, str, str]] = [
        ([rate(**base), tariff(NUSD), measured, meter], 4 * NUSD, "measured", "meter"),
        ([rate(**base), tariff(NUSD), measured], 3 * NUSD, "measured", "job"),
        ([rate(**base), tariff(NUSD), job], 2 * NUSD, "estimated", "tdp"),
        ([rate(**base | {"tdp_mw": None}), tariff(NUSD), job], None, "unknown", "none"),
        ([rate(**base), measured, meter], None, "unknown", "none"),
        ([rate(**base), tariff(NUSD, "Nowhere/Land"), measured], None, "unknown", "none"),
        ([rate(**base), tariff(NUSD, currency="EUR"), measured], None, "unknown", "none"),
    ]
    for inputs, nusd, basis, source in cases:
        (one,) = by_part(of(end, *inputs).lines, "power").values()
        assert (one.amount, one.basis, one.sources) == (nusd, basis, {source})


def test_an_amount_is_as_old_as_the_oldest_figure_it_rests_on() -> None:
    plan = replace(tariff(NUSD), told_ms=7)
    for told, oldest in ((9, 7), (5, 5), (None, 7)):
        one = rate(tdp_mw=1, tariff="t", told_ms=told)
        lines = of(NOON + HOUR_MS, one, ran("j", NOON + HOUR_MS, NOON, "d"), plan).lines
        found = by_part(lines, "power")["j"]
        assert found.told_ms == oldest


def test_a_job_that_a_client_calls_idle_is_still_a_job() -> None:
    for name, part in (("idle", "idle (job)"), ("unknown", "unknown (job)"), ("", "(job)")):
        lines = of(HOUR_MS, rented(NUSD, HOUR_MS, for_job=name), ran(name, HOUR_MS)).lines
        assert set(by_part(lines)) == {part}


def test_a_machine_that_is_rented_later_leaves_its_time_until_then_as_it_was() -> None:
    prices = (Price(from_ms=NOON, hourly_nusd=NUSD),)
    later = Rental(device="d", from_ms=NOON + DAY_MS, prices=prices)
    lines = of(NOON + HOUR_MS, rate(), later).lines
    assert total(lines) == 36_529_680


def test_a_paused_job_pays_nothing_and_its_energy_is_spread_over_its_running_time() -> None:
    spans = ((NOON, NOON + HOUR_MS), (NOON + 2 * HOUR_MS, NOON + 4 * HOUR_MS))
    job = Run(job="j", device="d", spans=spans, energy_mj=3 * KWH)
    seen = Watched(device="d", from_ms=NOON, to_ms=NOON + DAY_MS)
    one = rate(tariff="t", idle_mw=0)
    lines = of(NOON + 4 * HOUR_MS, one, job, seen, tariff(NUSD)).lines
    hours = sums((one for one in lines if one.component == "power"),
                 lambda one: (one.at_ms - NOON) // HOUR_MS)  # fmt: skip
    assert [hours[n].nusd for n in range(4)] == [NUSD, 0, NUSD, NUSD]
    assert by_part(lines)["j"].unit_ms == 3 * HOUR_MS


def test_two_jobs_share_one_unit_by_the_memory_that_is_kept_for_them() -> None:
    end = NOON + HOUR_MS
    one = rate(price=730 * NUSD, life_months=1)
    both = [
        ran("a", end, NOON, "d", reserved_bytes=30), ran("b", end, NOON, "d", reserved_bytes=10),
    ]  # fmt: skip
    wear = by_part(of(end, one, *both).lines, "wear")
    assert {job: sum_.nusd for job, sum_ in wear.items()} == {"a": 750_000_000, "b": 250_000_000}
    unsure = [both[0], ran("b", end, NOON, "d")]
    wear = by_part(of(end, one, *unsure).lines, "wear")
    assert {job: sum_.nusd for job, sum_ in wear.items()} == {"a": NUSD // 2, "b": NUSD // 2}


def test_a_purchase_is_worth_what_its_currency_was_that_day_and_power_what_it_is_now() -> None:
    end = NOON + HOUR_MS
    old = FxRate(currency="EUR", from_ms=NOON - DAY_MS, nusd=2 * NUSD)
    new = FxRate(currency="EUR", from_ms=NOON + 1, nusd=3 * NUSD)
    one = rate(price=730 * NUSD, life_months=1, currency="EUR", tdp_mw=1_000_000, tariff="t")
    job = ran("j", end, NOON, "d")
    lines = of(end, one, job, old, new, tariff(NUSD, currency="EUR")).lines
    assert by_part(lines, "wear")["j"].nusd == 2 * NUSD
    assert by_part(lines, "power")["j"].nusd == (2 * NUSD + 3 * 3 * NUSD) // 4, "next quarter-hour"


def test_both_hours_of_a_night_that_repeats_one_have_its_band() -> None:
    begun = ms("2026-10-25")
    bands = (
        Band(weekdays="6", from_min=120, to_min=180, price=5 * NUSD),
        Band(weekdays=FLAT, from_min=0, to_min=1440, price=NUSD),
    )
    plan = Tariff(name="t", from_ms=0, zone="Europe/Berlin", bands=bands)
    one = rate(from_ms=begun, price=None, tdp_mw=1_000_000, tariff="t")
    job = ran("j", begun + 4 * HOUR_MS, begun, "d")
    lines = of(begun + 4 * HOUR_MS, one, job, plan).lines
    hours = sums((one for one in lines if one.component == "power"),
                 lambda one: (one.at_ms - begun) // HOUR_MS)  # fmt: skip
    assert [hours[n].nusd for n in range(4)] == [5 * NUSD, 5 * NUSD, NUSD, NUSD]


def test_a_price_of_a_million_tokens_is_rounded_and_of_none_there_is_no_price() -> None:
    assert per_million(1_500_000, 10_000) == 150_000_000
    assert per_million(1, 0) is None


def test_a_jobs_cost_is_split_by_measured_phase_and_else_not_at_all() -> None:
    who = Who(tokens=(100, 50, 10), phases_ms=(100, 0, 200))
    assert split(10, who) == {"prompt": 3, "cached": 0, "generated": 7}
    assert split(10, Who(tokens=(1, 1, 1))) == {"unsplit": 10}
    twice = [ran("j", 9, who=who), ran("j", 9, device="q", who=who)]
    assert whose(gather(twice))["j"] == Who(tokens=(200, 100, 20), phases_ms=(200, 0, 400))
    unsure = whose(gather([twice[0], ran("j", 9, device="q")]))["j"]
    assert unsure.phases_ms is None


def test_a_charge_for_a_time_of_which_nothing_is_known_is_a_line_of_its_own() -> None:
    found = of(10**9, Charge(device="x", from_ms=5, to_ms=9, nusd=-7, owner="ann"))
    (one,) = found.lines
    assert (one.part, one.component, one.nusd, one.owner) == ("unknown", "other", -7, "ann")
    assert found.differences[0].nusd == -7


def test_a_utilitys_bill_takes_the_place_of_power_and_leaves_wear() -> None:
    end = NOON + HOUR_MS
    one, job = rate(tdp_mw=1_000_000, tariff="t"), ran("j", end, NOON, "d")
    charge = Charge(device="d", from_ms=NOON, to_ms=end, nusd=5 * NUSD)
    lines = of(end, one, job, tariff(NUSD), charge).lines
    assert by_part(lines, "power")["j"].nusd == 5 * NUSD
    assert by_part(lines, "wear")["j"].nusd == 36_529_680


def test_a_leap_year_has_every_day_whole_in_every_zone() -> None:
    begun, end = ms("2024-01-01") - DAY_MS, ms("2024-12-31") + 2 * DAY_MS
    one = rate(from_ms=begun, bought_ms=begun)
    jobs = [
        ran(f"j{n}", begun + n * 9 * DAY_MS + 40 * HOUR_MS, begun + n * 9 * DAY_MS + n * 1_234_567,
            "d") for n in range(1, 40)
    ]  # fmt: skip
    lines = of(end, one, Watched(device="d", from_ms=begun, to_ms=end), *jobs).lines
    odd = {
        "Europe/Berlin": {"2024-03-31": 23.0, "2024-10-27": 25.0},
        "America/New_York": {"2024-03-10": 23.0, "2024-11-03": 25.0},
        "Asia/Kathmandu": {},
        "Australia/Lord_Howe": {"2024-04-07": 24.5, "2024-10-06": 23.5},
    }
    for name, changes in odd.items():
        zone = zone_of(name)
        assert zone is not None
        days, months = sums(lines, by_day(zone)), sums(lines, by_month(zone))
        hours = {day: sum_.unit_ms / HOUR_MS for day, sum_ in days.items() if day[:4] == "2024"}
        assert {day: h for day, h in hours.items() if h != 24} == changes
        assert months["2024-02"].unit_ms == 29 * DAY_MS
        assert sum(one.nusd for one in months.values()) == total(lines)
    wear = sum(one.nusd or 0 for one in lines if one.component == "wear")
    assert wear == 1600 * NUSD * (end - begun) // (60 * 730 * HOUR_MS)
