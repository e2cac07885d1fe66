"""What tokens a day cost, held against arithmetic done by hand and against laws of any amount."""

from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mathcore.band import Band
from mathcore.units import DAY_MS, GB, HOUR_MS, NUSD
from mesh.policy.compare.amounts import DAYS_PER_MONTH, MILLION, half_up
from mesh.policy.compare.render import row_dict
from mesh.policy.compare.rows import Row, api_row, held_row, owned_row, rented_row
from tests.policy.compare.held import EIGHT_HOURS, amount, api, owned, placed, quote, whole

TOKENS = st.integers(1, 10**15)
NANOS = st.integers(1, 10**13)
COSTS = ("day_nusd", "fixed_nusd", "use_nusd", "month_nusd", "million_nusd", "total_nusd")
ENDS = ("p10", "p50", "p90")


def nusd(row: Row, name: str) -> dict[str, int]:
    found = row_dict(row, None, 0)[name]
    assert isinstance(found, dict)
    return found


def test_1600_dollars_over_60_months_are_36_529_680_nano_dollars_an_hour() -> None:
    row = owned_row(placed(), owned(1600, watts=0, cents=15), amount(1))
    wear = row.line.fixed.mid
    assert half_up(wear / 24) == 36_529_680
    assert half_up(wear * DAYS_PER_MONTH) == 26_666_666_667
    assert nusd(row, "day_nusd")["p50"] == 876_712_329


def test_an_owned_device_adds_its_power_for_the_hours_it_works() -> None:
    # 3.6 million tokens at 1,000 a second: an hour of 450 W at 20 cents is 9 cents.
    row = owned_row(placed(), owned(0, watts=450, cents=20), amount(3_600_000))
    assert whole(row.busy_ms) == (HOUR_MS // 2, HOUR_MS, 2 * HOUR_MS)  # type: ignore[arg-type]
    assert whole(row.day_nusd) == (45_000_000, 90_000_000, 180_000_000)
    assert whole(row.million_nusd) == (12_500_000, 25_000_000, 50_000_000)


def test_idle_power_is_paid_for_the_hours_and_work_adds_what_is_above_it() -> None:
    device = replace(owned(0, watts=450, cents=20), idle_mw=50_000)
    row = owned_row(placed(), device, amount(3_600_000))
    # 50 W for 8 h are 0.4 kWh, and 400 W more for the hour of work.
    assert whole(row.line.fixed)[1] == 80_000_000
    assert whole(row.day_nusd)[1] == 160_000_000


def test_a_rented_4090_at_28_cents_costs_its_hours_and_its_boot() -> None:
    # An hour of work after two minutes of boot: 31/30 of 0.28.
    row = rented_row(placed(), quote("0.28", boot_ms=120_000), amount(3_600_000))
    assert whole(row.day_nusd)[1] == 289_333_333
    assert whole(row.line.fixed) == (9_333_333, 9_333_333, 9_333_333)
    assert whole(row.million_nusd)[1] == 80_370_370


@pytest.mark.parametrize(("billed_ms", "boot_nusd"), [(0, 0), (60_000, 4_666_667)])
def test_of_a_boot_costs_what_the_provider_bills_of_it(billed_ms: int, boot_nusd: int) -> None:
    told = quote("0.28", boot_ms=120_000, billed_boot_ms=billed_ms)
    row = rented_row(placed(), told, amount(3_600_000))
    assert whole(row.start_ms)[1] == 120_000  # type: ignore[arg-type]
    assert whole(row.line.fixed)[1] == boot_nusd
    assert whole(row.day_nusd)[1] == 280_000_000 + boot_nusd
    assert row.kept is not None
    assert whole(row.kept.fixed)[1] == 8 * 280_000_000 + boot_nusd


def test_kept_it_costs_its_hours_whatever_it_does() -> None:
    row = rented_row(placed(), quote("0.28", boot_ms=120_000), amount(3_600_000))
    assert row.kept is not None
    assert whole(row.kept.fixed)[1] == 2_249_333_333  # 8 h and 2 min
    assert whole(row.kept.per_million) == (0, 0, 0)


def test_a_day_of_a_kept_machine_has_24_hours() -> None:
    row = rented_row(placed(), quote("1", boot_ms=HOUR_MS), amount(1, work_ms=DAY_MS))
    assert row.kept is not None
    assert whole(row.kept.fixed)[1] == 24 * NUSD


def test_a_machine_is_brought_the_model_and_pays_for_what_comes_in() -> None:
    # 9.4 GB over 94 % of 1 Gbit/s are 80 s, and a tenth for the handshake; 2 cents a GB come in.
    one = placed(weights_bytes=9_400_000_000)
    told = quote("3.6", boot_ms=0, ingress_nusd_per_gb=NUSD // 50)
    row = rented_row(one, told, amount(1))
    assert row.start_ms is not None
    assert round(row.start_ms.mid) == 80_100
    assert round(row.line.fixed.mid) == round(80.1 * NUSD / 1000) + 188_000_000


def test_loading_is_paid_too() -> None:
    load = Band(p10=10_000.0, p50=20_000.0, p90=40_000.0)
    row = rented_row(placed(load_ms=load), quote("3.6"), amount(1))
    assert whole(row.start_ms) == (10_000, 20_000, 40_000)  # type: ignore[arg-type]


def test_where_nobody_learned_how_long_it_boots_the_error_bar_is_wide() -> None:
    row = rented_row(placed(), quote("0.28", boot_ms=None), amount(1))
    assert whole(row.start_ms) == (60_000, 180_000, 540_000)  # type: ignore[arg-type]
    offer = row_dict(row, None, 0)["offer"]
    assert isinstance(offer, dict)
    assert offer["boot_basis"] == "assumed"


def test_an_api_takes_one_price_for_what_is_read_and_one_for_what_is_written() -> None:
    # Of 4 million tokens three are read at $0.05 a million and one is written at $0.08.
    row = api_row(api("0.05", "0.08"), amount(4 * MILLION))
    assert whole(row.day_nusd)[1] == 230_000_000
    assert whole(row.million_nusd)[1] == 57_500_000
    assert nusd(row, "month_nusd")["p50"] == 6_995_833_333  # times 730/24
    assert nusd(row, "fixed_nusd")["p50"] == 0


def test_what_can_be_made_is_hours_times_speed() -> None:
    row = owned_row(placed(), owned(100), amount(28_800_000))
    assert whole(row.at_most) == (57_600_000, 28_800_000, 14_400_000)  # type: ignore[arg-type]
    assert row_dict(row, None, 0)["at_most_tokens"] == {
        "p10": 14_400_000,
        "p50": 28_800_000,
        "p90": 57_600_000,
    }


@pytest.mark.parametrize(
    ("tokens", "makes"),
    [(14_400_000, "yes"), (14_400_001, "likely"), (28_800_000, "likely"), (28_800_001, "no")],
)
def test_an_amount_is_made_nine_times_in_ten_one_time_in_two_or_not(
    tokens: int, makes: str
) -> None:
    assert owned_row(placed(), owned(100), amount(tokens)).makes == makes


def test_who_cannot_make_it_is_priced_for_what_it_makes() -> None:
    row = rented_row(placed(), quote("0.28"), amount(10**9))
    assert row.makes == "no"
    assert whole(row.busy_ms) == (EIGHT_HOURS, EIGHT_HOURS, EIGHT_HOURS)  # type: ignore[arg-type]
    assert whole(row.day_nusd)[1] == 2_240_000_000
    assert whole(row.million_nusd) == (38_888_889, 77_777_778, 155_555_556)


def test_an_end_of_the_error_bar_has_no_more_hours_than_the_day() -> None:
    row = rented_row(placed(), quote("0.28"), amount(28_800_000))
    assert row.makes == "likely"
    assert whole(row.made) == (28_800_000, 28_800_000, 14_400_000)
    assert whole(row.busy_ms) == (EIGHT_HOURS // 2, EIGHT_HOURS, EIGHT_HOURS)  # type: ignore[arg-type]
    assert whole(row.million_nusd) == (38_888_889, 77_777_778, 155_555_556)


def test_a_device_at_a_rate_neither_boots_nor_is_brought_anything() -> None:
    row = held_row(placed(), NUSD, amount(3_600_000))
    assert (row.kind, whole(row.line.fixed)) == ("rented", (0, 0, 0))
    assert whole(row.day_nusd)[1] == NUSD


def test_what_is_paid_in_months_has_the_purchase_whole_and_no_wear() -> None:
    device = owned(1600, watts=450, cents=20)
    row = owned_row(placed(), device, amount(3_600_000))
    total = row_dict(row, 12, 0)["total_nusd"]
    assert isinstance(total, dict)
    assert total["p50"] == 1600 * NUSD + half_up(90_000_000 * DAYS_PER_MONTH * 12)


def test_unknown_stays_unknown() -> None:
    row = owned_row(placed(), owned(None), amount(MILLION))
    shown = row_dict(row, 12, 0)
    assert row.lacks == ("price", "watts", "tariff")
    assert [shown[name] for name in COSTS] == [None] * len(COSTS)
    assert shown["owned"] == {
        "price_nusd": None,
        "wear_nusd_per_day": None,
        "load_mw": None,
        "idle_mw": 0,
        "tariff_nusd_per_kwh": None,
        "basis": "registration",
    }


def test_a_known_price_with_an_unknown_power_is_a_lower_bound_and_says_so() -> None:
    shown = row_dict(owned_row(placed(), owned(1600), amount(MILLION)), None, 0)
    assert (shown["lacks"], shown["use_nusd"]) == (["watts", "tariff"], None)
    assert shown["day_nusd"] == shown["fixed_nusd"] == dict.fromkeys(ENDS, 876_712_329)


def test_a_known_power_is_shown_where_the_price_is_unknown() -> None:
    shown = row_dict(
        owned_row(placed(), owned(None, watts=450, cents=20), amount(3_600_000)), None, 0
    )
    assert shown["use_nusd"]["p50"] == 90_000_000
    assert shown["day_nusd"] is None


def test_a_price_of_nothing_is_known() -> None:
    assert owned_row(placed(), owned(0, watts=1, cents=1), amount(1)).lacks == ()


def rows(tokens: int, price: int, hourly: int) -> list[Row]:
    asked = amount(tokens)
    charged = replace(
        api("1", "1"), input_nusd_per_million=price, output_nusd_per_million=3 * price
    )
    return [
        owned_row(placed(), owned(1600, watts=450, cents=15), asked),
        rented_row(placed(), replace(quote("1"), hourly_nusd=hourly), asked),
        api_row(charged, asked),
    ]


@given(TOKENS, TOKENS, NANOS, NANOS)
def test_more_tokens_are_never_cheaper_a_day(few: int, more: int, price: int, hourly: int) -> None:
    few, more = sorted((few, more))
    for one, other in zip(rows(few, price, hourly), rows(more, price, hourly), strict=True):
        assert all(a <= b for a, b in zip(one.day_nusd, other.day_nusd, strict=True))


@given(TOKENS, NANOS, NANOS)
def test_a_million_times_the_millions_is_the_day_to_a_nano_dollar(
    tokens: int, price: int, hourly: int
) -> None:
    for row in rows(tokens, price, hourly):
        shown = row_dict(row, None, 0)
        made, day = shown["made_tokens"], shown["day_nusd"]["p50"]
        off = Fraction(shown["million_nusd"]["p50"]) * made / MILLION - day
        # Each of the two is rounded once, and the tokens where it does not make them all.
        slack = 0 if row.makes != "no" else row.million_nusd.mid / MILLION
        assert abs(off) <= Fraction(made, 2 * MILLION) + 1 + slack


@given(TOKENS, NANOS, NANOS)
def test_a_day_is_what_is_fixed_and_what_use_adds(tokens: int, price: int, hourly: int) -> None:
    for row in rows(tokens, price, hourly):
        shown = row_dict(row, None, 0)
        for end in ("p10", "p50", "p90"):
            parts = shown["fixed_nusd"][end] + shown["use_nusd"][end]
            assert abs(parts - shown["day_nusd"][end]) <= 1


@given(TOKENS, NANOS, NANOS)
def test_error_bars_are_in_order(tokens: int, price: int, hourly: int) -> None:
    for row in rows(tokens, price, hourly):
        for value in (row.day_nusd, row.million_nusd, row.busy_ms):
            assert value is None or value.good <= value.mid <= value.bad


def test_gb_and_bytes_of_what_comes_in() -> None:
    one = rented_row(
        placed(weights_bytes=GB), quote("0", ingress_nusd_per_gb=10_000_000), amount(1)
    )
    assert whole(one.line.fixed) == (10_000_000, 10_000_000, 10_000_000)
