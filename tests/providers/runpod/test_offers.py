"""The catalogue read as offers: units, clouds, availability, and what is no offer."""

from __future__ import annotations

from typing import Any

import pytest

from providers.rental.contract import Ask, Reply, Unread
from providers.runpod.offers import chosen, offer_id, offers_from, offers_request, read_offer_id

GIB = 1 << 30


def gpu(**changed: Any) -> dict[str, Any]:
    return {
        "id": "NVIDIA GeForce RTX 4090",
        "name": "RTX 4090",
        "pool": "ADA_24",
        "manufacturer": "NVIDIA",
        "memory": 24,
        "secure": True,
        "community": True,
        "price": {"secure": 0.69, "community": 0.34, "serverless": 1.1},
        "maxCount": {"secure": 8, "community": 4},
        "availability": "LOW",
        "dataCenters": [{"id": "US-KS-2", "name": "US-KS-2", "availability": "LOW"}],
        **changed,
    }


def read(*gpus: object, cloud: Any = "SECURE", count: int = 1, disk: int = 0) -> Any:
    return offers_from(Reply(status=200, body={"gpus": list(gpus)}), cloud, count, disk)


def test_a_price_is_for_one_accelerator_and_an_offer_for_the_machine() -> None:
    (one,) = read(gpu(), disk=73_000_000_000)
    (four,) = read(gpu(), count=4, disk=73_000_000_000)
    # $0.69 an hour each, and 73 GB at $0.10 a month of 730 hours: a cent an hour.
    assert one.hourly_nusd == 690_000_000 + 10_000_000
    assert four.hourly_nusd == 4 * 690_000_000 + 10_000_000
    assert (four.gpu_count, four.memory_bytes, four.disk_bytes) == (4, 24 * GIB, 73_000_000_000)
    assert one.stopped_hourly_nusd == 0


def test_the_disk_is_priced_in_whole_gb_rounded_up() -> None:
    (one,) = read(gpu(), disk=40 * GIB)  # 42.9 GB
    assert one.hourly_nusd - 690_000_000 == round(43 * 100_000_000 / 730)


def test_secure_and_community_are_two_offers_with_prices_of_their_own() -> None:
    (secure,), (community,) = read(gpu()), read(gpu(), cloud="COMMUNITY")
    assert secure.offer_id == "SECURE/1/NVIDIA GeForce RTX 4090"
    assert community.offer_id == "COMMUNITY/1/NVIDIA GeForce RTX 4090"
    assert community.hourly_nusd - secure.hourly_nusd == 340_000_000 - 690_000_000
    assert (secure.region, community.region) == ("US-KS-2", "")


@pytest.mark.parametrize("price", [0, 0.0, -0.5, None, "free", True, [], float("nan"), 1e30])
def test_what_is_no_price_makes_no_offer(price: object) -> None:
    assert read(gpu(price={"secure": price})) == ()


@pytest.mark.parametrize(
    "changed",
    [
        {"secure": False},
        {"maxCount": {"secure": 0}},
        {"maxCount": None},
        {"memory": None},
        {"memory": -24},
        {"memory": 0},
        {"id": ""},
        {"id": 7},
        {"id": "a\nb"},
        {"price": 0.4},
    ],
)
def test_a_row_that_cannot_be_read_is_left_out_and_the_others_stay(changed: Any) -> None:
    (left,) = read(gpu(**changed), "no object", None, gpu(id="NVIDIA L4", name="L4"))
    assert left.gpu == "L4"


def test_no_offer_has_more_accelerators_than_the_largest_machine() -> None:
    assert len(read(gpu(), cloud="COMMUNITY", count=4)) == 1
    assert read(gpu(), cloud="COMMUNITY", count=8) == ()


@pytest.mark.parametrize(
    ("level", "free"),
    [("LOW", True), ("MEDIUM", True), ("HIGH", True), ("NONE", False), (None, False), ([], False)],
)
def test_what_the_catalogue_says_of_stock_is_what_the_offer_says(level: Any, free: bool) -> None:  # noqa: FBT001
    (one,) = read(gpu(availability=level))
    assert one.available is free


def test_a_name_that_people_see_has_no_control_characters() -> None:
    (one,) = read(gpu(name="RTX\x1b[31m\u202e 4090\n"))
    assert one.gpu == "RTX[31m 4090"


def test_the_catalogue_is_asked_for_one_cloud_and_count() -> None:
    asked = offers_request("COMMUNITY", 2)
    assert (asked.op, asked.method, asked.path) == ("offers", "GET", "/v2/catalog/gpus")
    assert asked.query == {
        "include": "AVAILABILITY",
        "product": "POD",
        "count": "2",
        "cloud": "COMMUNITY",
    }


def test_wanted_offers_come_free_ones_first_and_then_by_price() -> None:
    big = gpu(id="big", memory=80, price={"secure": 1.64}, availability="HIGH")
    offers = read(gpu(id="gone", availability="NONE", price={"secure": 0.1}), gpu(), big)
    assert [o.memory_bytes // GIB for o in chosen(offers, Ask())] == [24, 80, 24]
    assert [o.offer_id for o in chosen(offers, Ask(memory_bytes=48 * GIB))] == ["SECURE/1/big"]
    assert len(chosen(offers, Ask(limit=2))) == 2


@pytest.mark.parametrize(
    ("reply", "why"),
    [
        (Reply(status=0, broke="timeout"), "timeout"),
        (Reply(status=401, body={"title": "Unauthorized", "detail": "missing"}), "auth"),
        (Reply(status=403), "auth"),
        (Reply(status=429), "429"),
        (Reply(status=502, body="bad gateway"), "5xx"),
        (Reply(status=410), "retired"),
        (Reply(status=200, body=""), "malformed"),
        (Reply(status=200, body={"gpus": {}}), "malformed"),
        (Reply(status=400, body={"detail": "include requires product"}), "rule_or_capacity"),
    ],
)
def test_what_is_no_catalogue_says_why(reply: Reply, why: str) -> None:
    found = offers_from(reply, "SECURE", 1, 0)
    assert isinstance(found, Unread)
    assert found.why == why


def test_an_offer_id_is_read_back_and_no_other_text_is() -> None:
    assert read_offer_id(offer_id("SECURE", 8, "NVIDIA A/B")) == ("SECURE", 8, "NVIDIA A/B")
    for text in ("", "SECURE", "SECURE/1/", "ALL/1/x", "SECURE/0/x", "SECURE/65/x", "SECURE/²/x"):
        assert read_offer_id(text) is None
