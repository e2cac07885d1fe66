"""Where a model may run, and the reason for every no."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mathcore import (
    GIB,
    MIB,
    NUSD,
    DeviceSpec,
    Placement,
    Plan,
    Query,
    Rate,
    find_model,
    lookup_gpu,
    parse_bytes,
    plan,
    plan_dict,
)
from mathcore.fleet import Limits
from tests.mathcore.fixtures import device


def query(name: str = "llama-2-70b", **changes: object) -> Query:
    fields: dict[str, object] = {"model": find_model(name), "model_ref": name, **changes}
    return Query(**fields)  # type: ignore[arg-type]


def only(answer: Plan) -> Placement:
    assert len(answer.placements) == 1
    return answer.placements[0]


A100 = device("a100", parse_bytes("80GB"), model="A100 80GB", bandwidth_bytes_per_s=2039 * 10**9)


def test_q8_0_of_70b_with_batch_8_is_refused_on_80_gb() -> None:
    answer = plan(query(quant="Q8_0", batch=8), [A100])
    assert answer.placements == ()
    refusal = answer.refusals[0]
    assert refusal.code == "NoFit(mem)"
    assert refusal.text == "needs 78.5 GiB, 74.5 GiB free: 4.0 GiB missing"
    mask, tokens = 4096 * 512 * 2, 512
    scratch = mask + tokens * (4 * (3 * 28_672 + 5 * 8_192) + 40)
    held = 73_013_035_008 + 10_737_418_240 + scratch + 250 * MIB
    # Small inputs start on 64 bytes each.
    assert 0 <= refusal.missing_bytes - (held - 80_000_000_000) <= 1024


def test_q4_k_m_of_70b_with_batch_8_fits_80_gb() -> None:
    placed = only(plan(query(quant="Q4_K_M", batch=8), [A100]))
    assert placed.fit == "fit"
    assert placed.footprint.kv_bytes == 10_737_418_240


def test_nobody_named_a_quantisation_so_the_best_that_fits_is_taken() -> None:
    assert only(plan(query(batch=8), [A100])).quant == "Q6_K"
    assert only(plan(query("llama-3-8b"), [device()])).quant == "Q8_0"


def test_less_than_a_gib_to_spare_is_tight() -> None:
    exact = only(plan(query(quant="Q4_K_M"), [A100])).footprint.total_bytes
    snug = device("snug", exact + GIB - 1)
    assert only(plan(query(quant="Q4_K_M"), [snug])).fit == "tight"
    roomy = device("roomy", exact + GIB)
    assert only(plan(query(quant="Q4_K_M"), [roomy])).fit == "fit"
    assert plan(query(quant="Q4_K_M"), [device("short", exact - 1)]).refusals[0].missing_bytes == 1


def test_a_deadline_is_held_against_p90() -> None:
    free = only(plan(query(quant="Q4_K_M"), [A100]))
    limit = int(free.duration_ms.p50) + 1
    late = plan(query(quant="Q4_K_M", limits=Limits(max_latency_ms=limit)), [A100])
    assert [refusal.code for refusal in late.refusals] == ["TooSlow"]
    limit = int(free.duration_ms.p90) + 1
    kept = plan(query(quant="Q4_K_M", limits=Limits(max_latency_ms=limit)), [A100])
    assert len(kept.placements) == 1


def test_the_cheapest_comes_first() -> None:
    dear = device("dear", rate=Rate(hourly_nusd=4 * NUSD))
    cheap = device("cheap", rate=Rate(hourly_nusd=NUSD))
    answer = plan(query("llama-3-8b"), [dear, cheap])
    assert [placed.device_id for placed in answer.placements] == ["cheap", "dear"]


def test_every_other_device_says_it_was_not_chosen() -> None:
    answer = plan(query("llama-3-8b", on="b"), [device("a"), device("b")])
    assert only(answer).device_id == "b"
    assert answer.refusals[0].code == "NotChosen"


@pytest.mark.parametrize(
    ("changes", "code"),
    [({"engine": "vllm"}, "NoFit(backend)"), ({"quant": "Q9_X"}, "NoFit(quant)"),
     ({"kv_type": "f7"}, "NoFit(backend)"), ({"context": 8192}, "NoFit(ctx)"),
     ({"context": 64}, "NoFit(ctx)")],
)  # fmt: skip
def test_an_impossible_query_is_refused_with_its_reason(
    changes: dict[str, object], code: str
) -> None:
    assert plan(query(**changes), [A100]).refusals[0].code == code


def test_a_device_without_llama_cpp_is_refused() -> None:
    assert plan(query(), [device(engines=("mlx",))]).refusals[0].code == "NoFit(backend)"


@given(order=st.permutations(range(6)))
def test_the_order_of_devices_changes_nothing(order: list[int]) -> None:
    devices: list[DeviceSpec] = [device(f"d{i}", (8 + 8 * (i // 2)) * GIB) for i in range(6)]
    shuffled = [devices[i] for i in order]
    ask = query("llama-2-13b", quant="Q8_0")
    assert plan_dict(plan(ask, shuffled)) == plan_dict(plan(ask, devices))


def test_bytes_money_and_time_are_whole_in_json() -> None:
    shown = plan_dict(plan(query(batch=8), [A100]))
    placements = shown["placements"]
    assert isinstance(placements, list)
    first = placements[0]
    for part in ("footprint", "duration_ms", "cost_nusd"):
        assert all(type(value) is int for value in first[part].values())
    assert first["tokens_per_s"]["p10"] < first["tokens_per_s"]["p50"]


@pytest.mark.parametrize(
    ("name", "card"),
    [("NVIDIA GeForce RTX 4090", "RTX 4090"), ("rtx4070 ti", "RTX 4070 Ti"),
     ("NVIDIA A100-SXM4-80GB", "A100 SXM 80GB"), ("A100 80GB", "A100 80GB"),
     ("NVIDIA L4", "L4"), ("Apple M3 Max", "Apple M3 Max")],
)  # fmt: skip
def test_cards_are_found_by_the_names_drivers_give(name: str, card: str) -> None:
    fact = lookup_gpu(name)
    assert fact is not None
    assert fact.name == card


def test_unknown_and_mobile_cards_are_not_mistaken_for_others() -> None:
    for name in ("RTX A100", "GTX 9999", "NVIDIA GeForce RTX 4090 Laptop GPU", ""):
        assert lookup_gpu(name) is None
