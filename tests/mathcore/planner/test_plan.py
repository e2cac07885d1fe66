"""Where a model may run, and the reason for every no."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mathcore.api import (
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
from mathcore.planner.query import Limits
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
    assert refusal.text == "Q8_0 needs 78.5 GiB, 74.5 GiB free: 4.0 GiB missing"
    mask, tokens = 4096 * 512 * 2, 512
    compute = mask + tokens * (4 * (3 * 28_672 + 4 * 8_192) + 40)
    held = 73_013_035_008 + 10_737_418_240 + compute + 250 * MIB
    # Small inputs aside, which start on 64 bytes each.
    assert abs(refusal.missing_bytes - (held - 80_000_000_000)) <= 16_384


def test_what_an_engine_may_not_use_is_not_counted_as_free() -> None:
    served = device("served", 24 * GIB, engines=("vllm",))
    refusal = plan(query(quant="AWQ"), [served]).refusals[0]
    need, usable, free, missing = (
        float(word) for word in refusal.text.replace(":", "").split() if word[0].isdigit()
    )
    assert " GiB, vllm may use " in refusal.text
    assert usable < free == 24.0
    assert need - usable == pytest.approx(missing, abs=0.11)


def test_q4_k_m_of_70b_with_batch_8_fits_80_gb() -> None:
    placed = only(plan(query(quant="Q4_K_M", batch=8), [A100]))
    assert placed.fit == "fit"
    assert placed.footprint.kv_bytes == 10_737_418_240


def test_the_objective_chooses_the_quantisation_nobody_named() -> None:
    # Llama 2 loses a third to a half of what Llama 3 8B does, so five bits are enough.
    for name, batch, card, best in (
        ("llama-2-70b", 8, A100, "Q5_K_M"),
        ("llama-3-8b", 1, device(), "Q6_K"),
    ):
        assert only(plan(query(name, batch=batch), [card])).quant == best
        fast = only(plan(query(name, batch=batch, objective="fastest"), [card]))
        assert fast.quant == "Q4_K_M"


def test_quality_below_the_usual_is_planned_by_name_or_where_nothing_better_fits() -> None:
    """Llama 3 8B: Q3_K_M has 3.74 GiB of weights, IQ3_XXS 3.04, IQ1_S 1.88."""
    small = device("small", 4 * GIB)
    placed = only(plan(query("llama-3-8b"), [small]))
    assert (placed.quant, round(placed.quality, 3)) == ("IQ3_XXS", 0.832)
    assert only(plan(query("llama-3-8b", quant="Q2_K"), [small])).quant == "Q2_K"
    large = device("large", 6 * GIB)
    (best,) = plan(query("llama-3-8b", sets=False), [small, large]).placements
    assert best.name == "large"
    assert best.quality > 0.965


def test_the_least_quality_asked_for_ends_the_way_down_the_ladder() -> None:
    small = device("small", 4 * GIB)
    limited = query("llama-3-8b", limits=Limits(min_quality=0.85))
    answer = plan(limited, [small])
    assert answer.placements == ()
    assert answer.refusals[0].text.startswith("Q3_K_M needs ")
    enough = query("llama-3-8b", limits=Limits(min_quality=0.83))
    assert only(plan(enough, [small])).quant == "IQ3_XXS"


def test_what_fits_nowhere_is_refused_with_the_smallest_type_there_is() -> None:
    (refusal,) = plan(query("llama-3-8b"), [device("tiny", GIB)]).refusals
    assert refusal.text.startswith("IQ1_S needs ")


def test_a_limit_of_time_is_not_met_with_a_worse_type_unasked() -> None:
    quick = query("llama-3-8b", limits=Limits(min_tokens_per_s=10_000.0))
    answer = plan(quick, [device("small", 6 * GIB)])
    assert [refusal.code for refusal in answer.refusals] == ["TooSlow"]


def test_an_eight_bit_cache_is_tried_only_when_asked_for() -> None:
    wide = query("llama-2-70b", batch=8, quant="Q8_0")
    assert plan(wide, [A100]).placements == ()
    auto = query("llama-2-70b", batch=8, quant="Q8_0", kv_type="auto")
    assert only(plan(auto, [A100])).layout.kv_type == "q8_0"


def test_less_than_a_gib_to_spare_is_tight() -> None:
    exact = only(plan(query(quant="Q4_K_M"), [A100])).footprint.total_bytes
    snug = device("snug", exact + GIB - 1)
    assert only(plan(query(quant="Q4_K_M"), [snug])).fit == "tight"
    roomy = device("roomy", exact + GIB)
    assert only(plan(query(quant="Q4_K_M"), [roomy])).fit == "fit"
    assert plan(query(quant="Q4_K_M"), [device("short", exact - 1)]).refusals[0].missing_bytes == 1


def test_a_card_with_nothing_free_is_refused_also_beside_free_ram() -> None:
    full = device("full", 0, memory_bytes=24 * GIB, ram_free_bytes=64 * GIB)
    assert plan(query("llama-3-8b"), [full]).refusals[0].code == "NoFit(mem)"


def test_what_weights_run_on_is_known_to_the_speed_model() -> None:
    card = device("big", 80 * GIB, engines=("llama.cpp", "vllm"))
    asked = {"F16": ("wide",), "Q4_K_M": (), "AWQ": ("w4a16",), "HF-BF16": ()}
    for quant, flags in asked.items():
        assert only(plan(query("llama-3-8b", quant=quant), [card])).run.flags == flags


def test_two_cards_miss_by_what_both_together_lack() -> None:
    pair = device("pair", 20 * GIB, count=2)
    refusal = plan(query(quant="Q4_K_M", batch=4), [pair]).refusals[0]
    assert "per card" in refusal.text
    alone = plan(query(quant="Q4_K_M", batch=4), [device("one", 20 * GIB)]).refusals[0]
    assert 0 < refusal.missing_bytes < alone.missing_bytes - 18 * GIB


def test_a_deadline_is_held_against_p90() -> None:
    free = only(plan(query(quant="Q4_K_M"), [A100]))
    limit = int(free.duration_ms.p50) + 1
    late = plan(query(quant="Q4_K_M", limits=Limits(deadline_ms=limit)), [A100])
    assert [refusal.code for refusal in late.refusals] == ["TooSlow"]
    limit = int(free.duration_ms.p90) + 1
    kept = plan(query(quant="Q4_K_M", limits=Limits(deadline_ms=limit)), [A100])
    assert len(kept.placements) == 1


def test_a_latency_counts_from_loaded_and_a_deadline_from_now() -> None:
    free = only(plan(query(quant="Q4_K_M"), [A100]))
    load_ms = dict(free.terms)["load"] * 1000
    between = int(free.duration_ms.p90 - load_ms)
    assert plan(query(quant="Q4_K_M", limits=Limits(max_latency_ms=between)), [A100]).placements
    late = plan(query(quant="Q4_K_M", limits=Limits(deadline_ms=between)), [A100])
    assert late.placements == ()


def test_the_cheapest_comes_first() -> None:
    dear = device("dear", rate=Rate(hourly_nusd=4 * NUSD))
    cheap = device("cheap", rate=Rate(hourly_nusd=NUSD))
    answer = plan(query("llama-3-8b"), [dear, cheap])
    assert [placed.device_id for placed in answer.placements] == ["cheap", "dear"]


def test_devices_a_question_leaves_out_are_counted_and_not_refused() -> None:
    answer = plan(query("llama-3-8b", on="b"), [device("a"), device("b"), device("c")])
    assert only(answer).device_id == "b"
    assert (answer.refusals, answer.not_asked) == ((), 2)
    assert plan_dict(answer)["not_asked"] == 2


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"engine": "vllm"}, "NoFit(backend)"),
        ({"quant": "Q9_X"}, "NoFit(quant)"),
        ({"kv_type": "f7"}, "NoFit(backend)"),
        ({"context": 8192}, "NoFit(ctx)"),
        ({"context": 64}, "NoFit(ctx)"),
    ],
)
def test_an_impossible_query_is_refused_with_its_reason(
    changes: dict[str, object], code: str
) -> None:
    assert plan(query(**changes), [A100]).refusals[0].code == code


def test_a_device_that_takes_no_work_now_is_refused_with_its_reason_and_is_in_no_set() -> None:
    well = device("well", model="RTX 4090", host="rig")
    lost = device("lost", model="RTX 4090", host="rig", withheld=("Unreachable", "lost: gone"))
    answer = plan(query(quant="Q4_0"), [well, lost])  # 70b: two cards would hold it
    assert answer.placements == ()
    refusals = {one.device_id: (one.code, one.text) for one in answer.refusals}
    assert refusals["lost"] == ("Unreachable", "lost: gone")
    both = plan(query(quant="Q4_0"), [well, replace(lost, withheld=None)])
    assert {one.device_id for one in both.placements} == {"lost+well"}


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
    [
        ("NVIDIA GeForce RTX 4090", "RTX 4090"),
        ("rtx4070 ti", "RTX 4070 Ti"),
        ("NVIDIA A100-SXM4-80GB", "A100 SXM 80GB"),
        ("A100 80GB", "A100 80GB"),
        ("NVIDIA L4", "L4"),
        ("Apple M3 Max", "Apple M3 Max"),
    ],
)
def test_cards_are_found_by_the_names_drivers_give(name: str, card: str) -> None:
    fact = lookup_gpu(name)
    assert fact is not None
    assert fact.name == card


def test_unknown_and_mobile_cards_are_not_mistaken_for_others() -> None:
    for name in ("RTX A100", "GTX 9999", ""):
        assert lookup_gpu(name) is None


LIMITS: list[tuple[str, str, object]] = [
    ("TooSlow", "max_latency_ms", 10),
    ("TooSlow", "max_ttft_ms", 1),
    ("TooSlow", "deadline_ms", 10),
    ("TooSlow", "min_tokens_per_s", 1e6),
    ("PriceAboveCap", "max_nusd_per_hour", 1),
    ("CostAboveCap", "max_cost_nusd", 1),
    ("LowQuality", "min_quality", 0.9999),
]


@pytest.mark.parametrize(("code", "limit", "value"), LIMITS)
def test_each_limit_refuses_with_its_own_code(code: str, limit: str, value: object) -> None:
    limits = Limits(**{limit: value})  # type: ignore[arg-type]
    answer = plan(query("llama-3-8b", quant="Q8_0", limits=limits), [device()])
    assert [refusal.code for refusal in answer.refusals] == [code]


def test_waiting_for_a_busy_device_counts_towards_a_deadline_and_not_towards_a_latency() -> None:
    busy = device(wait_ms=3_600_000)
    late = Limits(deadline_ms=3_600_000)
    assert plan(query("llama-3-8b", limits=late), [busy]).refusals[0].code == "TooSlow"
    assert plan(query("llama-3-8b", limits=Limits(max_latency_ms=3_600_000)), [busy]).placements


CARDS = st.builds(
    lambda n, gib, speed, price: device(
        f"d{n}",
        gib * GIB,
        bandwidth_bytes_per_s=speed * 10**9,
        rate=Rate(hourly_nusd=price),
    ),
    st.integers(0, 10**6),
    st.integers(4, 96),
    st.integers(100, 4000),
    st.integers(10**7, 5 * 10**9),
)
CONSTRAINTS = st.one_of(
    st.builds(Limits, max_latency_ms=st.integers(1, 10**6)),
    st.builds(Limits, max_ttft_ms=st.integers(1, 10**5)),
    st.builds(Limits, min_tokens_per_s=st.floats(0.1, 500)),
    st.builds(Limits, max_nusd_per_hour=st.integers(1, 5 * 10**9)),
    st.builds(Limits, max_cost_nusd=st.integers(1, 10**8)),
    st.builds(Limits, min_quality=st.floats(0, 1)),
)
OBJECTIVE = st.sampled_from(["cheapest", "fastest", "balanced"])


@given(CARDS, CONSTRAINTS, OBJECTIVE)
def test_a_limit_never_improves_the_objective(
    card: DeviceSpec, limits: Limits, objective: str
) -> None:
    free = plan(query("llama-3-8b", objective=objective), [card]).placements
    bound = plan(query("llama-3-8b", objective=objective, limits=limits), [card]).placements
    assert not bound or free[0].score <= bound[0].score


@given(CARDS, st.integers(0, 40), st.integers(0, 2000), st.integers(0, 10**7), OBJECTIVE)
def test_a_strictly_better_device_never_ranks_lower(
    card: DeviceSpec, gib: int, speed: int, saved: int, objective: str
) -> None:
    better = replace(
        card,
        device_id="0-better",
        name="better",
        free_bytes=card.free_bytes + gib * GIB,
        memory_bytes=card.memory_bytes + gib * GIB,
        bandwidth_bytes_per_s=card.bandwidth_bytes_per_s + speed * 10**9,
        rate=Rate(hourly_nusd=max(1, card.rate.hourly_nusd - saved)),  # 0 would be unknown
    )
    ranked = plan(query("llama-3-8b", objective=objective), [card, better]).placements
    assert not ranked or ranked[0].device_id == "0-better"


@given(st.lists(CARDS, min_size=2, max_size=8, unique_by=lambda c: c.device_id))
def test_what_is_marked_pareto_is_beaten_by_nothing(cards: list[DeviceSpec]) -> None:
    found = plan(query("llama-3-8b"), cards).placements
    for one in found:
        mine = (one.answer_cost_nusd.p50, one.answer_ms.p50, -one.quality)
        beaten = any(
            all(a <= b for a, b in zip(theirs, mine, strict=True)) and theirs != mine
            for other in found
            if (theirs := (other.answer_cost_nusd.p50, other.answer_ms.p50, -other.quality))
        )
        assert one.pareto is not beaten
