"""Which offer a request takes, and what past rentals teach of hosts."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.policy.rentals.caps import reserve_nusd
from mesh.policy.rentals.choosing import (
    LEAST_SUCCESS_PPM,
    MILLION,
    UNKNOWN_PPM,
    best_offer,
    is_named,
)
from mesh.policy.rentals.history import ENGINE, PRIOR_PPM, PRIOR_TRIES, Record, records
from mesh.policy.rentals.wanting import unfit
from mesh.state.rentals.rental import Rental
from mesh.state.rentals.requests import Request
from providers.rental.contract import Offer
from tests.policy.rentals.desk import T0, USD, offer

GIB = 1 << 30


def asked(**changed: Any) -> Request:
    given: dict[str, Any] = {
        "request_id": "r1", "author": "A", "provider": "vastai", "account": "main", "gpu": "",
        "gpu_count": 0, "memory_bytes": 0, "offer_id": "", "max_hourly_nusd": 0,
        "life_ms": 3_600_000, "idle_ms": 0, "cap_nusd": USD, "spot": False, "disk_bytes": 0,
        "image": "", "job_id": "", "key": ("", "", 0),
    }  # fmt: skip
    return Request(**(given | changed))


def record(tries: int, came_up: int) -> Record:
    return Record(tries=tries, came_up=came_up, boot_ms=None)


def chosen(
    offers: list[Offer],
    request: Request | None = None,
    *,
    refused: dict[str, str] | None = None,
    tried: tuple[str, ...] = (),
    hosts: dict[tuple[str, str], Record] | None = None,
) -> str:
    """The offer's id, or why there is none."""
    found = best_offer(offers, refused or {}, request or asked(), tried, hosts or {})
    return found if isinstance(found, str) else found.offer_id


CHEAP = offer(offer_id="cheap", hourly_nusd=USD // 2, host_id="h1")
DEAR = offer(offer_id="dear", hourly_nusd=USD * 6 // 10, host_id="h2")


def test_the_cheapest_that_fits_is_taken() -> None:
    assert chosen([DEAR, CHEAP]) == "cheap"
    assert chosen([DEAR, replace(CHEAP, gpu="RTX 3090")], asked(gpu="4090")) == "dear"


def test_what_the_cap_has_no_room_for_is_passed_over_and_told_where_all_is_too_dear() -> None:
    hosts = {("vastai", "h1"): record(9, 0)}
    dear, cheap = (reserve_nusd(one.hourly_nusd, 3_600_000) for one in (DEAR, CHEAP))
    for room, found in ((dear, "dear"), (dear - 1, "cheap"), (cheap - 1, "cheap")):
        best = best_offer([CHEAP, DEAR], {}, asked(), (), hosts, room)
        assert isinstance(best, Offer)
        assert best.offer_id == found
    assert best_offer([CHEAP], {}, asked(), ("cheap",), {}, cheap) == "all_were_tried"
    assert best_offer([CHEAP], {}, asked(), ("cheap",), {}, cheap - 1) == CHEAP


def test_of_equal_prices_the_faster_line_wins() -> None:
    assert chosen([CHEAP, replace(CHEAP, offer_id="x", network_bps=10**9)]) == "x"


def test_a_host_that_failed_each_time_is_passed_over_for_a_dearer_one() -> None:
    hosts = {("vastai", "h1"): record(9, 0)}
    assert chosen([CHEAP, DEAR], hosts=hosts) == "dear"
    assert chosen([CHEAP], hosts=hosts) == "cheap", "and taken where there is no other"
    far = replace(DEAR, hourly_nusd=USD * 20)
    assert chosen([CHEAP, far], hosts=hosts) == "cheap", "a failure costs a boot, not everything"


def test_one_failure_does_not_make_a_host_bad() -> None:
    assert chosen([CHEAP, DEAR], hosts={("vastai", "h1"): record(1, 0)}) == "dear"
    near = replace(CHEAP, hourly_nusd=DEAR.hourly_nusd // 2)
    assert chosen([near, DEAR], hosts={("vastai", "h1"): record(1, 0)}) == "cheap"


def test_what_the_provider_measures_counts_where_we_know_nothing() -> None:
    shaky = replace(CHEAP, reliability_ppm=500_000)
    assert chosen([shaky, DEAR]) == "dear"
    assert chosen([shaky, DEAR], hosts={("vastai", "h1"): record(20, 20)}) == "cheap"


def test_another_providers_host_of_the_same_name_is_another() -> None:
    assert chosen([CHEAP, DEAR], hosts={("runpod", "h1"): record(9, 0)}) == "cheap"


@pytest.mark.parametrize(
    ("changed", "wants", "why"),
    [
        ({"spot": True}, {}, "may_be_taken_back"),
        ({"spot": True}, {"spot": True}, "cheap"),
        ({}, {"spot": True}, "cheap"),
        ({}, {"max_hourly_nusd": USD // 4}, "too_dear"),
        ({}, {"gpu_count": 2}, "another_gpu_count"),
        ({}, {"memory_bytes": 48 * GIB}, "too_little_memory"),
        ({}, {"offer_id": "other"}, "another_offer"),
        ({}, {"provider": "runpod"}, "another_provider"),
        ({"available": False}, {}, "not_available"),
        ({"hourly_nusd": 0}, {}, "no_price"),
        ({"hourly_nusd": -5}, {}, "no_price"),
        ({}, {"gpu": "H100"}, "no_such_gpu"),
    ],
)
def test_what_does_not_fit_says_why(
    changed: dict[str, Any], wants: dict[str, Any], why: str
) -> None:
    assert chosen([replace(CHEAP, **changed)], asked(**wants)) == why


def test_no_offer_at_all_a_price_nobody_believes_and_all_tried_are_told_apart() -> None:
    assert chosen([]) == "nothing_offered"
    assert chosen([CHEAP], refused={"cheap": "far"}) == "price_not_believed"
    assert chosen([CHEAP, DEAR], refused={"cheap": "far"}) == "dear"
    assert chosen([CHEAP], tried=("cheap",)) == "all_were_tried"
    assert chosen([CHEAP, DEAR], tried=("cheap",)) == "dear"


@pytest.mark.parametrize(
    ("gpu", "words", "named"),
    [
        ("RTX 4090", "", True),
        ("RTX 4090", "rtx 4090", True),
        ("NVIDIA GeForce RTX 4090", "4090", True),
        ("RTX 4090 D", "RTX 4090", True),
        ("RTX 4090", "RTX 4090 Ti", False),
        ("A100 80GB PCIe", "a100", True),
    ],
)
def test_a_gpu_is_named_by_words_of_its_name(gpu: str, words: str, named: object) -> None:
    assert is_named(offer(gpu=gpu), words) is named


OFFERS = st.builds(
    offer,
    offer_id=st.sampled_from("abcdef"),
    hourly_nusd=st.integers(-2, 5 * USD),
    memory_bytes=st.sampled_from((8 * GIB, 24 * GIB, 80 * GIB)),
    gpu_count=st.integers(1, 3),
    spot=st.booleans(),
    available=st.booleans(),
    host_id=st.sampled_from(("", "h1", "h2")),
    reliability_ppm=st.none() | st.integers(0, MILLION),
)
REQUESTS = st.builds(
    asked,
    spot=st.booleans(),
    memory_bytes=st.sampled_from((0, 20 * GIB)),
    gpu_count=st.integers(0, 2),
    max_hourly_nusd=st.sampled_from((0, USD)),
)
RECORDS = st.builds(lambda n, m: record(n + m, n), st.integers(0, 9), st.integers(0, 9))
HOSTS = st.dictionaries(st.tuples(st.just("vastai"), st.sampled_from(("h1", "h2"))), RECORDS)


@given(
    offers=st.lists(OFFERS, max_size=8),
    request=REQUESTS,
    refused=st.sets(st.sampled_from("abc")),
    tried=st.sets(st.sampled_from("cde")),
    hosts=HOSTS,
)
def test_what_is_chosen_fits_is_believed_and_new_and_no_better_one_is_left(
    offers: list[Offer],
    request: Request,
    refused: set[str],
    tried: set[str],
    hosts: dict[tuple[str, str], Record],
) -> None:
    found = best_offer(offers, dict.fromkeys(refused, "far"), request, tuple(tried), hosts)
    good = [
        one for one in offers if not unfit(one, request) and one.offer_id not in refused | tried
    ]
    if isinstance(found, str):
        assert (found, good) != ("", [])
        assert good == []
        return
    assert found in good
    assert not found.spot or request.spot
    # Whatever is known of hosts, nobody pays more than their worst and best shares explain.
    worst = -(-MILLION // LEAST_SUCCESS_PPM)
    assert found.hourly_nusd <= worst * min(one.hourly_nusd for one in good) + worst


# History.


def rental(host: str = "h1", **changed: Any) -> Rental:
    """One that came up in two minutes, and was returned by us."""
    one = Rental("r1", "vastai", "main", author="A", instance_id="7", host_id=host)
    one.step, one.called_ms = ENGINE, T0
    one.booted_ms = tuple(T0 + 24_000 * n for n in range(1, ENGINE + 1))
    one.wanted, one.over = False, "job_done"
    for name, value in changed.items():
        setattr(one, name, value)
    return one


FAILED: dict[str, Any] = {"step": 2, "booted_ms": (1, 2), "over": "budget_container"}


def test_a_host_is_known_by_what_came_up_there_and_how_fast() -> None:
    slow = rental(booted_ms=(0, 0, 0, 0, T0 + 240_000))
    known = records([rental(), slow, rental(**FAILED), rental("h2", **FAILED)])
    assert known["vastai", "h1"] == Record(tries=3, came_up=2, boot_ms=120_000)
    assert known["vastai", "h2"] == Record(tries=1, came_up=0, boot_ms=None)
    assert known["vastai", ""].tries == 4, "the provider's own are all of them"


@pytest.mark.parametrize(
    ("before_nusd", "billed_ms"),
    [(3_600_000, 120_000), (360_000, 54_000 + 6_600), (0, 54_000)],  # RunPod, Vast.ai, Lambda Cloud
)
def test_of_a_boot_is_known_what_was_billed(before_nusd: int, billed_ms: int) -> None:
    """An hour at 3.6 million: 1 a millisecond. Up after 66 s, an engine answers 54 s later."""
    one = rental()
    one.meter.begin(T0, before_nusd)
    if before_nusd != 3_600_000:
        one.meter.change(3_600_000, T0 + 66_000, T0 + 66_000)
    one.meter.end(T0 + 3_600_000)
    assert records([one])["vastai", ""].billed_boot_ms == billed_ms


@pytest.mark.parametrize(
    "changed",
    [
        {**FAILED, "over": "cancelled"},
        {**FAILED, "over": "idle"},
        {**FAILED, "over": "life_over"},
        {**FAILED, "wanted": True, "over": ""},
        {"instance_id": ""},
        {"author": ""},
        {"rental_id": "r1.7"},
    ],
    ids=["cancelled", "idle", "life over", "still boots", "never placed", "found", "a twin"],
)
def test_what_says_nothing_of_a_machine_does_not_count(changed: dict[str, Any]) -> None:
    assert records([rental(**changed)]) == {}


def test_a_machine_that_runs_counts_before_it_is_returned() -> None:
    assert records([rental(wanted=True, over="")])["vastai", "h1"].came_up == 1


@given(tries=st.integers(0, 500), share=st.floats(0, 1))
def test_success_lies_between_the_usual_and_what_was_seen(tries: int, share: float) -> None:
    came_up = int(tries * share)
    seen = came_up * MILLION // tries if tries else PRIOR_PPM
    found = record(tries, came_up).success_ppm
    assert min(seen, PRIOR_PPM) - 1 <= found <= max(seen, PRIOR_PPM)
    assert abs(found - seen) <= PRIOR_TRIES * MILLION // (tries + PRIOR_TRIES) + 1
    assert record(0, 0).success_ppm == UNKNOWN_PPM
