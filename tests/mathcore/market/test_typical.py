"""The table of typical prices: whole, readable, dated, and of hardware we know."""

from datetime import datetime

import pytest

from mathcore.data import read_rows
from mathcore.hardware.names import lookup_gpu
from mathcore.market.typical import COLUMNS, Typical, typical_prices
from mathcore.units import GIB, NUSD

ROWS = read_rows("market", "prices.csv")


def test_every_row_has_the_columns_and_nothing_is_empty() -> None:
    assert len(ROWS) >= 50
    for row in ROWS:
        assert tuple(row) == COLUMNS
        assert all(row.values())
        assert row["spot"] in ("yes", "no")
        datetime.fromisoformat(row["date"])


@pytest.mark.parametrize("row", typical_prices(), ids=lambda row: f"{row.provider}-{row.gpu}")
def test_a_row_is_of_known_hardware_of_a_size_it_is_sold_with(row: Typical) -> None:
    facts = lookup_gpu(row.gpu)
    assert facts is not None
    assert facts.name == row.gpu
    assert row.memory_bytes // GIB in facts.memory_options


@pytest.mark.parametrize("row", typical_prices(), ids=lambda row: f"{row.provider}-{row.gpu}")
def test_a_price_is_one_of_a_card_times_its_count(row: Typical) -> None:
    assert NUSD // 20 < row.hourly_nusd // row.gpu_count < 10 * NUSD


def test_no_machine_stands_there_twice() -> None:
    names = [(row.provider, row.gpu, row.gpu_count, row.spot) for row in typical_prices()]
    assert len(set(names)) == len(names)


def test_providers_without_spot_machines_have_none() -> None:
    assert {row.provider for row in typical_prices() if row.spot} == {"vastai"}


def test_a_day_begins_at_midnight_utc() -> None:
    assert {row.at_ms for row in typical_prices()} == {1_784_505_600_000}  # 2026-07-20
