"""Which prices are refused, how they are grouped, and whose turn it is to ask."""

import pytest

from mathcore.market.typical import Typical
from mathcore.units import GIB, NUSD
from mesh.ledger import codec
from mesh.policy.market import (
    LEAST_OFFERS,
    REFRESH_MS,
    TAKE_OVER_MS,
    grouped,
    is_due,
    judged,
    moved_rows,
    region_class,
    typical_by_hardware,
)
from mesh.state.facts.fact import encode
from mesh.state.facts.offers import OffersRefreshed
from mesh.state.market.groups import MAX_GPU_NAME, MAX_ROWS, Kind, kind_of, read_rows
from mesh.state.market.market import Usual
from mesh.state.market.quotes import Quote

ME, OTHER = "a" * 64, "b" * 64
NOW = 1_800_000_000_000
CARD = kind_of("RTX 4090", 1, 24 * GIB, spot=False)
TABLE = typical_by_hardware(
    [
        Typical(
            provider="vastai", gpu="B200", gpu_count=1, memory_bytes=180 * GIB, spot=False,
            hourly_nusd=5 * NUSD, at_ms=0, source="",
        )
    ]
)  # fmt: skip


def quote(nusd: int, gpu: str = "RTX 4090", gib: float = 24, **changes: object) -> Quote:
    fields = {"source": "offer", "provider": "vastai", "gpu_count": 1, "at_ms": NOW, **changes}
    return Quote(gpu=gpu, memory_bytes=int(gib * GIB), hourly_nusd=nusd, **fields)  # type: ignore[arg-type]


def usual(nusd: int, samples: int = 3) -> dict[Kind, Usual]:
    return {CARD: Usual(median_nusd=nusd, samples=samples)}


def why(one: Quote, *others: Quote, held: dict[Kind, Usual] | None = None) -> str:
    refused = judged([one, *others], held or {}, TABLE)[1]
    return next((no.why for no in refused if no.quote is one), "")


@pytest.mark.parametrize("nusd", [0, -1])
def test_no_price_is_a_price_of_zero_or_less(nusd: int) -> None:
    assert why(quote(nusd)) == "it has no price"


def test_a_price_that_no_ledger_could_hold_is_refused() -> None:
    assert why(quote(10**30, "NEW 9000")) == "no machine costs so much"


@pytest.mark.parametrize("cents", [20, 100, 500])
def test_a_price_within_five_times_the_usual_is_taken(cents: int) -> None:
    assert why(quote(cents * NUSD // 100), held=usual(NUSD)) == ""


def test_a_price_over_five_times_the_usual_is_refused_with_both_prices() -> None:
    text = why(quote(5 * NUSD + 1), held=usual(NUSD))
    assert text == "$5.00 an hour is more than 5 times $1.00, its median of the last week"


def test_a_price_under_a_fifth_of_the_usual_is_refused() -> None:
    text = why(quote(NUSD // 5 - 1), held=usual(NUSD))
    assert text.endswith("is less than a fifth of $1.00, its median of the last week")


def test_too_short_a_history_is_no_yardstick() -> None:
    assert why(quote(50 * NUSD), held=usual(NUSD, samples=2)) == ""


def test_the_shipped_table_tells_a_b200_at_a_cent_though_its_driver_reports_less_memory() -> None:
    text = why(quote(NUSD // 100, "B200", 179.06))
    assert text.endswith("is less than a fifth of $5.00, what it typically cost")


def test_a_machine_the_table_lacks_is_held_against_other_providers_and_single_cards() -> None:
    eight = quote(NUSD, "B200", 179.06, provider="elsewhere", gpu_count=8)
    assert why(eight).endswith("is less than a fifth of $40.00, what it typically cost")
    assert why(quote(NUSD, "B200", 179.06, spot=True)) == ""


def test_offers_of_a_kind_that_nobody_knows_are_held_against_each_other() -> None:
    others = [quote(NUSD, "NEW 9000", 64) for _ in range(LEAST_OFFERS)]
    assert "the median of these offers" in why(quote(NUSD // 100, "NEW 9000", 64), *others)
    assert why(quote(NUSD // 100, "NEW 9000", 64), *others[:3]) == ""


def test_a_card_with_twice_the_memory_is_another_kind() -> None:
    assert why(quote(9 * NUSD, gib=48), held=usual(NUSD)) == ""


@pytest.mark.parametrize(
    "changes", [{"gpu_count": 0}, {"gpu_count": 999}, {"gib": 0}, {"gpu": ""}, {"gpu": "x" * 65}]
)
def test_a_machine_that_is_none_is_refused(changes: dict[str, object]) -> None:
    assert why(quote(NUSD, **changes)) != ""  # type: ignore[arg-type]


# Groups


def test_rows_have_count_cheapest_and_median_by_kind_and_region() -> None:
    many = [quote(n * NUSD, region="Texas, US") for n in (3, 1, 2, 9)]
    rows = grouped([*many, quote(NUSD, region="Sweden, SE")]).rows
    found = [(row.region, row.n, row.min_nusd, row.median_nusd) for row in rows]
    assert found == [("eu", 1, NUSD, NUSD), ("us", 4, NUSD, 2 * NUSD)]


def test_memory_of_a_row_is_that_of_its_smallest_machine() -> None:
    (row,) = grouped([quote(NUSD, gib=24), quote(NUSD, gib=23.99)]).rows
    assert row.memory_bytes == int(23.99 * GIB)


def test_too_many_rows_lose_their_regions_first_and_then_the_rarest_kinds() -> None:
    places = ["us-1", "eu-1", "asia-1"]
    few = [quote(NUSD, f"card {n}", region=place) for n in range(60) for place in places]
    assert {row.region for row in grouped(few).rows} == {""}
    assert grouped(few).left_out == 0
    many = [quote(NUSD, f"card {n}") for n in range(MAX_ROWS + 7)] + [quote(NUSD, "card 0")]
    found = grouped(many)
    assert len(found.rows) == MAX_ROWS
    assert found.left_out == 7
    assert "card 0" in {row.gpu for row in found.rows}


def test_the_largest_event_can_be_signed_and_is_read_back_whole() -> None:
    quotes = [
        quote(10**15 - 1, f"{n:03}{chr(34) * (MAX_GPU_NAME - 3)}", 500, gpu_count=64, spot=True)
        for n in range(MAX_ROWS)
    ]
    rows = grouped(quotes).rows
    fact = OffersRefreshed(
        provider="p" * 40, account="a" * 40, refreshed_ms=NOW, offers=5000, refused=9, rows=rows
    )
    assert len(codec.encode(encode(fact))) < codec.MAX_EVENT_BYTES
    assert len(read_rows(rows)) == MAX_ROWS


@pytest.mark.parametrize(
    ("region", "is_in"),
    [
        ("California, US", "us"),
        ("us-west-1", "us"),
        ("Sweden, SE", "eu"),
        ("EU-RO-1", "eu"),
        ("europe-central-1", "eu"),
        ("asia-south-1", "ap"),
        ("AP-JP-1", "ap"),
        ("CA-MTL-1", "other"),
        ("me-west-1", "other"),
        ("", ""),
    ],
)
def test_a_providers_regions_are_four_parts_of_the_world(region: str, is_in: str) -> None:
    assert region_class(region) == is_in


def moved(old: list[Quote], new: list[Quote]) -> list[tuple[str, int, int]]:
    rows = moved_rows(read_rows(grouped(old).rows), grouped(new).rows)
    return [(row.gpu, row.n, row.min_nusd // NUSD) for row in rows]


def test_small_moves_are_no_news() -> None:
    assert moved([quote(100 * NUSD)] * 2, [quote(105 * NUSD)] * 3) == []


def test_prices_that_moved_and_kinds_that_came_are_news() -> None:
    old, new = [quote(100 * NUSD)], [quote(94 * NUSD), quote(NUSD, "RTX 3090")]
    assert moved(old, new) == [("RTX 3090", 1, 1), ("RTX 4090", 1, 94)]


def test_kinds_that_are_gone_are_said_to_be_none() -> None:
    assert moved([quote(NUSD), quote(NUSD, "RTX 3090")], [quote(NUSD)]) == [("RTX 3090", 0, 0)]


# Turns


def due(**given: object) -> bool:
    return is_due(now_ms=NOW, me=ME, **given)  # type: ignore[arg-type]


def test_whoever_has_the_key_asks_first_and_then_every_five_minutes() -> None:
    assert due()
    assert not due(tried_ms=NOW - REFRESH_MS + 1)
    assert due(tried_ms=NOW - REFRESH_MS)


def test_the_owner_alone_asks_where_the_ledger_says_who_that_is() -> None:
    assert not due(owner=OTHER)
    assert due(owner=ME, seen_ms=NOW, seen_by=OTHER)


def test_without_an_owner_whoever_asked_last_goes_on_until_it_is_not_heard() -> None:
    assert not due(seen_ms=NOW - TAKE_OVER_MS + 1, seen_by=OTHER)
    assert due(seen_ms=NOW - TAKE_OVER_MS, seen_by=OTHER)
    assert due(seen_ms=NOW - 1, seen_by=ME)


def test_a_clock_that_was_set_back_does_not_stop_the_asking() -> None:
    assert due(tried_ms=NOW + 24 * 3_600_000)


def test_a_clock_far_ahead_keeps_nobody_from_asking() -> None:
    assert due(seen_ms=NOW + 10 * REFRESH_MS, seen_by=OTHER)
