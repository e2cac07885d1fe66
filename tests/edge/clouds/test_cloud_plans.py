"""Machines to rent in a plan: after what is owned, at their own memory, with all they cost."""

from dataclasses import replace
from typing import Any

import pytest

from mathcore.units import GIB, NUSD
from mesh.api.errors import RequestError
from mesh.edge.planning import plan_query
from mesh.state.market.device import cheapest_of_kinds, device_of
from mesh.state.market.quotes import Quote
from mesh.state.state import State

NOW = 1_800_000_000_000
CARD = Quote(
    source="offer", provider="vastai", account="main", offer_id="7", gpu="RTX 4090", gpu_count=1,
    memory_bytes=24564 << 20, hourly_nusd=NUSD // 2, at_ms=NOW - 60_000,
)  # fmt: skip


def planned(*quotes: Quote, **asked: object) -> Any:
    given = {"model": "qwen3-8b", "what_if": ["RTX 3090"], "cloud": True, **asked}
    return plan_query(State(), given, now=NOW, quotes=lambda: quotes)


def rented(found: Any) -> list[Any]:
    return [row for row in found["placements"] if "offer" in row]


def test_owned_devices_come_first_however_slow_and_offers_carry_price_and_age() -> None:
    found = planned(replace(CARD, gpu="H100 SXM", memory_bytes=80 * GIB, spot=True), CARD)
    assert [row["device"] for row in found["placements"]][0] == "RTX 3090"
    row = next(row for row in rented(found) if not row["offer"]["spot"])
    assert row["device"] == "vastai RTX 4090"
    assert row["provider"] == "vastai"
    offer = row["offer"]
    assert (offer["offer"], offer["basis"], offer["age_ms"]) == ("7", "quoted", 60_000)
    assert (offer["hourly_nusd"], offer["boot_ms"], offer["success_ppm"]) == (NUSD // 2, None, None)
    assert found["sources"][0]["source"] == "offer"


def test_owned_devices_are_planned_as_if_there_were_nothing_to_rent() -> None:
    alone = plan_query(State(), {"model": "qwen3-8b", "what_if": ["RTX 3090"]}, now=NOW)
    both = planned(replace(CARD, hourly_nusd=60 * NUSD))
    own = [row for row in both["placements"] if "offer" not in row]
    assert own == alone["placements"]


def test_without_cloud_nothing_is_rented() -> None:
    asked = {"model": "qwen3-8b", "what_if": ["RTX 3090"]}
    found: Any = plan_query(State(), asked, now=NOW, quotes=lambda: (CARD,))
    assert rented(found) == []
    assert "sources" not in found


def test_the_most_an_hour_may_cost_holds_for_machines_to_rent() -> None:
    found = planned(
        CARD, replace(CARD, offer_id="8", gpu="RTX 5090", hourly_nusd=NUSD), max_price="0.6"
    )
    assert [row["offer"]["gpu"] for row in rented(found)] == ["RTX 4090"]
    assert "PriceAboveCap" in [row["code"] for row in found["refusals"]]


def test_the_memory_is_the_offers_and_not_the_names() -> None:
    big = device_of(replace(CARD, memory_bytes=49140 << 20))
    small = device_of(CARD)
    assert big is not None
    assert small is not None
    assert big.memory_bytes == 49140 << 20
    assert small.memory_bytes == 24564 << 20
    assert small.free_bytes <= small.memory_bytes
    assert big.bandwidth_bytes_per_s == small.bandwidth_bytes_per_s


def test_a_gpu_nobody_knows_is_not_planned_and_named() -> None:
    found = planned(replace(CARD, offer_id="8", gpu="Zorg 9"), CARD)
    assert len(rented(found)) == 1
    assert any("Zorg 9" in note for note in found["notes"])


def test_of_each_kind_the_cheapest_is_planned_and_of_two_the_better_connected() -> None:
    quotes = [
        CARD,
        replace(CARD, offer_id="8", hourly_nusd=NUSD // 4),
        replace(CARD, offer_id="9", hourly_nusd=NUSD // 4, network_bps=10**9),
        replace(CARD, offer_id="10", gpu_count=2),
        replace(CARD, offer_id="11", provider="runpod"),
    ]
    assert [one.offer_id for one in cheapest_of_kinds(quotes)] == ["9", "11", "10"]
    assert cheapest_of_kinds(reversed(quotes)) == cheapest_of_kinds(quotes)


@pytest.mark.parametrize(("told_ms", "billed_ms"), [(None, 90_000), (0, 0), (30_000, 30_000)])
def test_booting_and_fetching_the_model_take_time_and_money_where_they_are_known(
    told_ms: int | None, billed_ms: int
) -> None:
    (plain,) = rented(planned(CARD))
    slow = replace(
        CARD,
        network_bps=10**8,
        boot_ms=90_000,
        billed_boot_ms=told_ms,
        ingress_nusd_per_gb=NUSD // 50,
    )
    (row,) = rented(planned(slow))
    size = row["footprint"]["weights_bytes"]
    fetch_ms = 8000 * size / (0.94 * 10**8)
    assert row["wait_ms"] == pytest.approx(90_000 + fetch_ms, rel=0.01)
    assert plain["wait_ms"] == 0
    extra = row["cost_nusd"]["p50"] - plain["cost_nusd"]["p50"]
    paid = CARD.hourly_nusd * (billed_ms + fetch_ms) / 3_600_000 + NUSD / 50 * size / 10**9
    assert extra == pytest.approx(paid, rel=0.01)


def test_a_deadline_and_a_cap_count_the_way_there() -> None:
    slow = replace(CARD, network_bps=10**8)
    for limit, code in (({"deadline": "60s"}, "TooSlow"), ({"max_cost": "0.02"}, "CostAboveCap")):
        assert len(rented(planned(CARD, **limit))) == 1
        found = planned(slow, **limit)
        assert rented(found) == []
        assert code in [row["code"] for row in found["refusals"]]


def test_a_star_means_that_nothing_on_either_side_is_better() -> None:
    best = replace(
        CARD, offer_id="8", gpu="H100 SXM", memory_bytes=80 * GIB, hourly_nusd=NUSD // 100
    )
    found = planned(best, CARD, rate="2/h")
    assert [row["pareto"] for row in found["placements"]] == [False, True, False]


def test_a_model_too_large_for_what_is_owned_is_placed_on_what_can_be_rented() -> None:
    big = replace(CARD, gpu="H100 SXM", memory_bytes=80 * GIB, gpu_count=2)
    found = planned(big, model="llama-3.3-70b")
    assert {row["device"] for row in rented(found)} == {"vastai 2x H100 SXM"}
    assert found["ways_out"] == []


def test_cloud_and_one_device_contradict_each_other() -> None:
    with pytest.raises(RequestError, match="cloud"):
        planned(CARD, on="rig")


def test_no_offers_leave_the_plan_as_it_is() -> None:
    found = planned()
    assert found["sources"] == []
    assert [row["device"] for row in found["placements"]] == ["RTX 3090"]
