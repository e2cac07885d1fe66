"""Vast.ai's offers, from replies written by hand."""

from __future__ import annotations

import cProfile
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from providers.rental.contract import Ask, Offer, Reply, Unread
from providers.rental.units import GB, MIB
from providers.vastai.money import BID_STEP_NUSD, bid_nusd, disk_gb, storage_nusd
from providers.vastai.offers import offers_from, offers_request

CALLS_AN_OFFER = 110
TEN_GB = Ask(disk_bytes=10 * GB)
ROW: dict[str, Any] = {
    "id": 12345678,
    "machine_id": 88888,
    "gpu_name": "RTX 4090",
    "gpu_ram": 24564,
    "num_gpus": 4,
    "dph_base": 1.2,
    "dph_total": 9.9,  # with another disk than ours
    "min_bid": 0.611111,
    "storage_cost": 0.149333,
    "inet_up_cost": 0.00456,
    "inet_down_cost": 0,
    "inet_down": 876.5,
    "cpu_cores_effective": 31.9,
    "cpu_ram": 65536,
    "geolocation": "Sweden, SE",
    "reliability2": 0.9986,
    "rentable": True,
}


def read(*rows: object, ask: Ask = TEN_GB) -> tuple[Offer, ...]:
    found = offers_from(Reply(status=200, body={"offers": list(rows)}), ask)
    assert isinstance(found, tuple)
    return found


def test_an_offer_is_read_whole() -> None:
    assert read(ROW) == (
        Offer(
            provider="vastai",
            offer_id="12345678",
            gpu="RTX 4090",
            gpu_count=4,
            memory_bytes=24564 * MIB,
            hourly_nusd=1_200_000_000 + 2_074_069,  # 0.149333 $ x 10 GB / 720 h
            stopped_hourly_nusd=2_074_069,
            disk_bytes=10 * GB,
            disk_hourly_nusd_per_gb=207_407,
            egress_nusd_per_gb=4_560_000,
            ingress_nusd_per_gb=0,
            spot=False,
            region="Sweden, SE",
            vcpus=31,
            ram_bytes=65536 * MIB,
            network_bps=876_500_000,
            host_id="88888",
            reliability_ppm=998_600,
            available=True,
        ),
    )


def test_a_months_storage_is_of_720_hours_as_the_sample_of_its_description_has_it() -> None:
    assert storage_nusd(0.149333, 10) == 2_074_069
    assert storage_nusd(0.15, 10.08) == 2_100_000


def test_prices_are_the_machines_whatever_the_count() -> None:
    one, eight = read({**ROW, "num_gpus": 1}, {**ROW, "num_gpus": 8})
    assert one.hourly_nusd == eight.hourly_nusd


def test_a_bid_costs_the_least_bid_and_the_disk() -> None:
    (spot,) = read(ROW, ask=replace(TEN_GB, spot=True))
    assert spot.spot
    assert spot.hourly_nusd == 611_200_000 + 2_074_069  # up to what can be bid
    assert spot.stopped_hourly_nusd == 2_074_069


@settings(deadline=None)
@given(st.integers(0, 128 * 10**9))
def test_a_bid_is_never_rounded_below_the_least_and_its_text_is_exact(nusd: int) -> None:
    bid = bid_nusd(nusd)
    assert nusd <= bid < nusd + BID_STEP_NUSD or bid == 1_000_000
    assert Decimal(repr(bid / 10**9)) * 10**9 == bid


def test_two_cards_of_one_name_differ_by_their_own_memory() -> None:
    small, large = read(ROW, {**ROW, "gpu_ram": 49140})
    assert (small.gpu, small.memory_bytes) == ("RTX 4090", 24564 * MIB)
    assert (large.gpu, large.memory_bytes) == ("RTX 4090", 49140 * MIB)
    assert read(ROW, {**ROW, "gpu_ram": 49140}, ask=Ask(memory_bytes=40 << 30)) == read(
        {**ROW, "gpu_ram": 49140}, ask=Ask(memory_bytes=40 << 30)
    )


@pytest.mark.parametrize(
    "odd",
    [
        {"id": None},
        {"id": "../../users"},
        {"id": True},
        {"gpu_ram": None},
        {"gpu_ram": 0},
        {"gpu_ram": "24 GB"},
        {"num_gpus": 0},
        {"num_gpus": 1.5},
        {"num_gpus": 10**9},
        {"dph_base": 0},
        {"dph_base": -0.4},
        {"dph_base": None},
        {"dph_base": "free"},
        {"dph_base": 5e6},
        {"dph_base": True},
        {"storage_cost": None},
        {"storage_cost": -1},
    ],
)
def test_an_offer_without_what_it_needs_is_left_out(odd: dict[str, object]) -> None:
    assert len(read({**ROW, **odd}, ROW)) == 1


def test_what_is_not_said_is_unknown() -> None:
    keys = ("id", "gpu_ram", "num_gpus", "dph_base", "storage_cost")
    (bare,) = read({key: ROW[key] for key in keys})
    assert (bare.gpu, bare.region, bare.host_id, bare.reliability_ppm) == ("", "", "", None)


def test_a_name_that_would_move_the_cursor_does_not() -> None:
    (offer,) = read({**ROW, "gpu_name": "RTX\x1b[2J 4090\n" + "x" * 500})
    assert offer.gpu.isprintable()
    assert len(offer.gpu) <= 80


@pytest.mark.parametrize("body", [{"offers": None}, {"offers": {}}, [], "offers", None, {}])
def test_a_reply_without_offers_is_none(body: object) -> None:
    assert isinstance(offers_from(Reply(status=200, body=body), TEN_GB), Unread)


def test_the_request_names_units_as_vast_does() -> None:
    request = offers_request(Ask(memory_bytes=24564 * MIB, gpu_count=2, disk_bytes=40 << 30))
    body: Any = request.body
    assert (request.method, request.path) == ("POST", "/api/v0/bundles/")
    assert body["gpu_ram"] == {"gte": 24564}
    assert body["num_gpus"] == {"eq": 2}
    assert body["allocated_storage"] == 43  # 40 GiB fit into 43 GB
    assert body["type"] == "on-demand"
    spot: Any = offers_request(Ask(spot=True)).body
    assert spot["type"] == "bid"
    assert spot["order"] == [["min_bid", "asc"]]


@settings(deadline=None)
@given(st.integers(0, 1 << 50))
def test_a_disk_that_is_asked_for_holds_what_is_needed(wanted: int) -> None:
    gigabytes = disk_gb(wanted)
    assert gigabytes * GB >= wanted
    assert gigabytes >= 8
    assert disk_gb(gigabytes * GB) == gigabytes


def test_an_offer_takes_few_steps_to_read() -> None:
    """Ten thousand are read in 0.13 s where nothing else runs. Seconds depend on who else runs, so
    what is bounded is how many calls one offer takes."""
    rows = [{**ROW, "id": n + 1, "dph_base": 0.1 + n / 10_000} for n in range(1000)]
    profile = cProfile.Profile()
    found = profile.runcall(
        offers_from, Reply(status=200, body={"offers": rows}), Ask(disk_bytes=40 << 30, limit=1000)
    )
    assert isinstance(found, tuple)
    assert len(found) == 1000
    calls = sum(entry.callcount for entry in profile.getstats())
    assert calls / 1000 < CALLS_AN_OFFER
