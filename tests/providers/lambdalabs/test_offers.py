"""Instance types become offers: money, memory and what is left out."""

from dataclasses import replace

import pytest

from providers.lambdalabs.offers import cards_of, offer_id_of, read, request, type_and_region
from providers.rental.contract import Ask, Offer, Reply, Unread
from tests.providers.lambdalabs.replies import A10, error, kind, ok

GIB = 1 << 30


def offers(value: object, **ask: object) -> tuple[Offer, ...]:
    found = read(ok(value), replace(Ask(), **ask))
    assert not isinstance(found, Unread)
    return found.offers


def test_a_type_is_an_offer_in_each_region_that_has_capacity() -> None:
    here, there = offers({"gpu_1x_a10": A10})
    assert (here.offer_id, here.region) == ("gpu_1x_a10/us-east-1", "us-east-1")
    assert (there.offer_id, there.region) == ("gpu_1x_a10/us-west-1", "us-west-1")
    assert here.gpu == "A10 (24 GB PCIe)"
    assert (here.gpu_count, here.memory_bytes) == (1, 24 * GIB)
    assert (here.vcpus, here.ram_bytes, here.disk_bytes) == (30, 200 * GIB, 1400 * GIB)
    assert not here.spot


def test_cents_an_hour_are_of_the_whole_machine() -> None:
    eight = kind(description="8x A100 (40 GB SXM4)", price_cents_per_hour=1592, specs={"gpus": 8})
    one = offers({"x": eight})[0]
    assert one.hourly_nusd == 15_920_000_000
    assert (one.gpu_count, one.memory_bytes) == (8, 40 * GIB)


def test_a_machine_costs_nothing_while_it_boots() -> None:
    one = offers({"x": A10})[0]
    assert (one.hourly_nusd, one.stopped_hourly_nusd) == (1_290_000_000, 0)


@pytest.mark.parametrize(
    ("text", "count", "gpu", "gib"),
    [
        ("1x A10 (24 GB PCIe)", 1, "A10 (24 GB PCIe)", 24),
        ("8x H100 (80 GB SXM5)", 8, "H100 (80 GB SXM5)", 80),
        ("1x GH200 (96 GB)", 1, "GH200 (96 GB)", 96),
        ("4x RTX A6000 (48 GB)", 4, "RTX A6000 (48 GB)", 48),
        ("1x H100 (80 GB HBM3 SXM)", 1, "H100 (80 GB HBM3 SXM)", 80),
        ("16x B200 (180 GB SXM6)", 16, "B200 (180 GB SXM6)", 180),
    ],
)
def test_memory_is_read_from_the_description(text: str, count: int, gpu: str, gib: int) -> None:
    cards = cards_of(text)
    assert cards is not None
    assert (cards.count, cards.gpu, cards.memory_bytes) == (count, gpu, gib * GIB)


@pytest.mark.parametrize(
    "text",
    [
        "1x A10",
        "1x A10 (PCIe)",
        "1x A10 (24 MB PCIe)",
        "1x A10 (24.5 GB)",
        "A10 (24 GB PCIe)",
        "0x A10 (24 GB)",
        "1x A10 (24 GB PCIe) and more",
        "1x A10 (24 GB / 48 GB)",
        " 1x A10 (24 GB)",
        "1x A10 (24 GB)\n",
        "1x A10 (99999 GB)",
        "",
        None,
        24,
    ],
)
def test_what_says_it_in_any_other_way_is_not_guessed(text: object) -> None:
    assert cards_of(text) is None


def test_what_is_left_out_is_counted_by_why_and_named() -> None:
    found = read(
        ok(
            {
                "gpu_1x_a10": A10,
                "cpu": kind(name="cpu", description="4 vCPU", specs={"gpus": 0}),
                "dark": kind(name="dark", description="1x Dark (ask)"),
                "two": kind(name="two", description="2x A10 (24 GB)"),
                "free": kind(name="free", price_cents_per_hour=0),
                "less": kind(name="less", price_cents_per_hour=-5),
                "odd": 7,
            }
        ),
        Ask(),
    )
    assert not isinstance(found, Unread)
    assert {one.offer_id.partition("/")[0] for one in found.offers} == {"gpu_1x_a10"}
    assert found.left_out == {"no_gpu": 1, "memory": 1, "count": 1, "price": 2, "odd": 1}
    assert found.names == ("dark", "two", "free", "less", "odd")


def test_a_type_without_capacity_is_no_offer() -> None:
    assert offers({"x": kind(regions=[])}) == ()


def test_only_what_was_asked_for_is_offered_and_the_cheapest_first() -> None:
    eight = kind(name="eight", description="8x A100 (40 GB SXM4)", specs={"gpus": 8})
    dear = kind(name="dear", description="1x H100 (80 GB)", price_cents_per_hour=329)
    small = kind(name="small", specs={"storage_gib": 20}, price_cents_per_hour=1)
    stock = {"d": dear, "e": eight, "a": A10, "s": small}
    assert [one.hourly_nusd for one in offers(stock, gpu_count=1)] == sorted(
        [1_290_000_000] * 2 + [3_290_000_000] * 2
    )
    assert {one.gpu_count for one in offers(stock, gpu_count=8)} == {8}
    assert {one.memory_bytes for one in offers(stock, memory_bytes=41 * GIB)} == {80 * GIB}
    assert len(offers(stock, limit=3)) == 3
    assert offers(stock, spot=True) == ()


@pytest.mark.parametrize(
    ("reply", "why"),
    [
        (Reply(status=0, broke="timeout"), "timeout"),
        (Reply(status=0, broke="?"), "unreached"),
        (Reply(status=429), "429"),
        (error(401, "global/invalid-api-key"), "auth"),
        (error(403, "global/account-inactive"), "auth"),
        (Reply(status=410), "retired"),
        (Reply(status=404, body="<html>"), "retired"),
        (Reply(status=308, body=""), "retired"),
        (Reply(status=503, body="busy"), "5xx"),
        (Reply(status=200, body=""), "malformed"),
        (Reply(status=200, body={"data": []}), "malformed"),
        (error(200, "global/internal-error"), "global/internal-error"),
    ],
)
def test_no_answer_says_why(reply: Reply, why: str) -> None:
    found = read(reply, Ask())
    assert isinstance(found, Unread)
    assert found.why == why


def test_an_offers_id_says_type_and_region_and_nothing_else_does() -> None:
    assert type_and_region(offer_id_of("gpu_1x_a10", "us-west-1")) == ("gpu_1x_a10", "us-west-1")
    for text in ("", "gpu", "/us-west-1", "gpu/", "a/b/c", "../x/us-west-1", "gpu/US"):
        assert type_and_region(text) is None


def test_the_question_is_one_get() -> None:
    assert (request().method, request().path) == ("GET", "/api/v1/instance-types")
