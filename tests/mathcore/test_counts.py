"""Counts, memory and hourly prices as people write them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mathcore.units import (
    GIB,
    TIB,
    parse_bytes,
    parse_count,
    parse_hourly_nusd,
    parse_memory,
    show_count,
)


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("4096", 4096),
        ("8k", 8192),
        ("128K", 131_072),
        ("1M", 1_048_576),
        ("1.5k", 1536),
        (" 2 k ", 2048),
    ],
)
def test_k_is_1024_as_engines_mean_it(text: str, count: int) -> None:
    assert parse_count(text) == count


@pytest.mark.parametrize(
    "text", ["", "k", "1.5", "-1", "8kk", "8 GB", "1e3", "9" * 40, "999999999M"]
)
def test_what_is_no_count_says_what_is(text: str) -> None:
    with pytest.raises(ValueError, match="say for example 4096, 8k or 1M|more than anything|unit"):
        parse_count(text)


@given(st.integers(0, 2**40))
def test_a_shown_count_reads_back(count: int) -> None:
    assert parse_count(show_count(count)) == count


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("24GB", 24 * GIB),
        ("24 GiB", 24 * GIB),
        ("24g", 24 * GIB),
        ("1.5TB", 1536 * GIB),
        ("2TiB", 2 * TIB),
        ("23.5GiB", 25_232_932_864),
        ("512MB", GIB // 2),
    ],
)
def test_makers_gb_of_device_memory_means_gib(text: str, size: int) -> None:
    assert parse_memory(text) == size


def test_gb_of_anything_else_is_decimal() -> None:
    assert parse_bytes("24GB") == 24_000_000_000


@pytest.mark.parametrize("text", ["24", "", "GB", "24 GHz", "0GB", "-1GB", "9999999999TB"])
def test_what_is_no_memory_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="say for example|any machine"):
        parse_memory(text)


@pytest.mark.parametrize(
    "text", ["0.45", "0.45/h", "$0.45", "$0.45/h", "0.45 USD/h", "USD 0.45 / hour", "0.45 $/hr"]
)
def test_the_price_of_an_hour_is_read_as_people_write_it(text: str) -> None:
    assert parse_hourly_nusd(text) == 450_000_000


@pytest.mark.parametrize(
    "text", ["", "0", "-1", "0.45/min", "free", "1e9", "99999999/h", "0.45 EUR/h"]
)
def test_what_is_no_price_of_an_hour_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="say for example 0.45/h"):
        parse_hourly_nusd(text)
