"""How the table of typical prices is made of a daily series."""

from scripts.lab.typical_prices import SOURCE, newest, table


def row(price: float, **changes: str) -> dict[str, str]:
    fields = {
        "date": "2026-07-20",
        "provider": "vast.ai",
        "gpu_model": "RTX_4090",
        "gpu_count": "1",
        "region": "US",
        "rental_type": "on_demand",
        "price_min_usd": str(price),
        "price_median_usd": str(price),
        "price_max_usd": str(price),
    }
    return {**fields, **changes}


def made(*rows: dict[str, str]) -> list[tuple[object, ...]]:
    return list(table(list(rows)))


def test_a_price_is_the_median_of_medians_times_the_count() -> None:
    rows = [row(price, gpu_count="4") for price in (0.3, 0.4, 0.5, 0.9)]
    assert made(*rows) == [
        ("vastai", "RTX 4090", 4, 24, "1.8", "no", "2026-07-20", SOURCE),
    ]


def test_too_few_offers_are_no_typical_price() -> None:
    assert made(*[row(0.3)] * 3) == []


def test_of_a_list_of_prices_rows_that_mix_machines_are_left_out() -> None:
    mixed = row(1.99, provider="lambda", price_min_usd="0.79", price_max_usd="2.79")
    assert made(*[mixed] * 5) == []


def test_runpods_spot_and_community_machines_are_left_out() -> None:
    spot = row(0.3, provider="runpod", rental_type="spot", region="secure")
    community = row(0.3, provider="runpod", region="any")
    secure = row(0.7, provider="runpod", region="secure")
    found = made(*[spot] * 5, *[community] * 5, *[secure] * 5)
    assert [(one[0], one[4], one[5]) for one in found] == [("runpod", "0.7", "no")]


def test_only_the_newest_days_count() -> None:
    days = [row(0.3, date=f"2026-07-{day:02}") for day in range(1, 21)]
    assert {one["date"] for one in newest(days)} == {f"2026-07-{day}" for day in range(14, 21)}
