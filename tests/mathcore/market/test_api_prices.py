"""The table of what hosted APIs charge: whole, readable, dated, and of models we know."""

from datetime import date
from urllib.parse import urlsplit

import pytest

from mathcore.catalogue.models import find_row
from mathcore.data import read_rows
from mathcore.market.api_prices import (
    COLUMNS,
    MILLION,
    ApiPrice,
    api_prices,
    prices_of,
    yardsticks,
)
from mathcore.units import DAY_MS, NUSD

ROWS = read_rows("market", "api_prices.csv")
MAY_BE_EMPTY = {"model", "cached_nusd_per_million"}
LOOKED_UP = date(2026, 11, 30)


def test_every_row_has_the_columns_and_only_two_may_be_empty() -> None:
    assert len(ROWS) >= 200
    for row in ROWS:
        assert tuple(row) == COLUMNS
        assert all(value for name, value in row.items() if name not in MAY_BE_EMPTY)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row['provider']}-{row['name']}")
def test_a_row_is_dated_and_says_where_it_is_from(row: dict[str, str]) -> None:
    written, seen = (date.fromisoformat(row[name]) for name in ("written", "seen"))
    assert date(2024, 1, 1) < written <= seen <= LOOKED_UP
    assert urlsplit(row["page"]).scheme == "https"
    repository, _, commit = row["source"].partition("@")
    assert repository.count("/") == 1
    assert len(commit) == 7


@pytest.mark.parametrize("one", api_prices(), ids=lambda one: f"{one.provider}-{one.name}")
def test_a_price_is_of_a_million_tokens(one: ApiPrice) -> None:
    # A cent to a hundred dollars: a price a thousand tokens or a token would be far outside.
    assert NUSD // 100 <= one.input_nusd_per_million <= 100 * NUSD
    assert NUSD // 100 <= one.output_nusd_per_million <= 100 * NUSD
    cached = one.cached_nusd_per_million
    assert cached is None or 0 < cached <= one.input_nusd_per_million
    assert one.input_nusd_per_million % (NUSD // MILLION) == 0  # no provider says less


@pytest.mark.parametrize("one", api_prices(), ids=lambda one: f"{one.provider}-{one.name}")
def test_a_model_is_called_as_the_catalogue_calls_it(one: ApiPrice) -> None:
    row = find_row(one.model) if one.model else None
    assert one.model == "" or (row is not None and row.name == one.model)


@pytest.mark.parametrize(
    "one", [one for one in api_prices() if one.model], ids=lambda one: f"{one.provider}-{one.name}"
)
def test_a_name_says_the_same_size_as_the_model(one: ApiPrice) -> None:
    def sizes(name: str) -> set[str]:
        words = name.lower().replace("_", "-").replace(":", "-").replace("@", "-").split("-")
        return {word for word in words if word[:1].isdigit() and word.endswith("b")}

    served, known = sizes(one.name.rpartition("/")[2]), sizes(one.model)
    assert not served or not known or served & known, (served, known)


def test_a_provider_sells_a_name_once() -> None:
    names = [(one.provider, one.name) for one in api_prices()]
    assert len(set(names)) == len(names)


def test_a_model_is_found_by_its_name_alone() -> None:
    served = {one.provider: one for one in prices_of("llama-3.1-8b")}
    groq = served["groq"]
    assert (groq.input_nusd_per_million, groq.output_nusd_per_million) == (50_000_000, 80_000_000)
    assert prices_of("llama-3.1-70b") == []
    assert prices_of("") == []


def test_yardsticks_are_closed_models_and_no_open_one_is_among_them() -> None:
    assert {one.provider for one in yardsticks()} == {"anthropic", "openai"}
    assert not any(find_row(one.name) for one in yardsticks())


def test_a_day_begins_at_midnight_utc() -> None:
    assert {one.seen_ms for one in api_prices()} == {1_782_864_000_000}  # 2026-07-01
    assert all(one.written_ms % DAY_MS == 0 for one in api_prices())
