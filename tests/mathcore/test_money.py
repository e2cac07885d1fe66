"""Units and money."""

import pytest

from mathcore.api import (
    GIB,
    NUSD,
    Rate,
    cost_nusd,
    parse_bytes,
    parse_duration_ms,
    parse_nusd,
    show_bytes,
    show_nusd,
)


def test_gb_and_gib_are_not_the_same() -> None:
    assert parse_bytes("24GiB") == 24 * GIB
    assert parse_bytes("80 GB") == 80_000_000_000
    assert parse_bytes("1.5gib") == 3 * GIB // 2
    with pytest.raises(ValueError, match="say GB or GiB"):
        parse_bytes("24")


@pytest.mark.parametrize("text", ["", "GiB", "-1GB", "1e9GB", "24XB", "1.2.3GB", "9" * 40 + "GB"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="'"):
        parse_bytes(text)


def test_durations_and_dollars() -> None:
    assert [parse_duration_ms(t) for t in ("250ms", "30s", "5m", "2h", "1d")] == [
        250,
        30_000,
        300_000,
        7_200_000,
        86_400_000,
    ]
    assert parse_nusd("1600") == 1600 * NUSD
    assert parse_nusd("$0.28") == 280_000_000
    assert show_bytes(10_737_418_240) == "10.0 GiB"
    assert show_nusd(13_111_111) == "$0.0131"


def test_120_seconds_at_40_cents_an_hour_are_1_333_cents() -> None:
    assert cost_nusd(Rate(hourly_nusd=400_000_000), 120_000) == 13_333_333
    assert cost_nusd(Rate(hourly_nusd=400_000_000), 118_000) == 13_111_111


def test_an_owned_4090_costs_wear_and_electricity() -> None:
    wear = Rate(price_nusd=1600 * NUSD, lifetime_months=60)
    assert cost_nusd(wear, 3_600_000) == 36_529_680  # $1600 over 60 months of 730 hours
    both = Rate(
        price_nusd=1600 * NUSD, lifetime_months=60, watts=450, tariff_nusd_per_kwh=NUSD // 5
    )
    assert cost_nusd(both, 3_600_000) == 36_529_680 + 90_000_000
