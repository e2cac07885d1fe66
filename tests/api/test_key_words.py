"""Rates and budgets as people type them."""

import pytest

from mathcore.units import NUSD
from mesh.api.serving.keys import parse_budget, parse_rate


@pytest.mark.parametrize(
    ("text", "per_min"), [("60/min", 60), ("60", 60), (" 5 / minute", 5), ("600/h", 10)]
)
def test_a_rate_is_so_many_requests_a_minute(text: str, per_min: int) -> None:
    assert parse_rate(text) == per_min


@pytest.mark.parametrize("text", ["", "0", "x", "-1/min", "60/s", "61/h", "1.5/min", "9999999/min"])
def test_what_is_no_rate_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match="60/min"):
        parse_rate(text)


@pytest.mark.parametrize(
    ("text", "nusd", "per"),
    [
        ("$5/day", 5 * NUSD, "day"),
        ("0.50/d", NUSD // 2, "day"),
        ("20 USD/month", 20 * NUSD, "month"),
        ("$20", 20 * NUSD, "total"),
        ("20/total", 20 * NUSD, "total"),
    ],
)
def test_a_budget_is_an_amount_and_a_time(text: str, nusd: int, per: str) -> None:
    assert parse_budget(text) == (nusd, per)


@pytest.mark.parametrize(
    "text", ["", "$", "/day", "$5/week", "$5/", "-5", "$0/day", "9999999", "5€"]
)
def test_what_is_no_budget_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match=r"\$5/day"):
        parse_budget(text)
