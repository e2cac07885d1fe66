"""Which devices are planned together, and what a set must never get wrong."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import mathcore
from mathcore.api import (
    GIB,
    MIB,
    NUSD,
    DeviceSpec,
    Plan,
    Query,
    Rate,
    find_model,
    plan,
    plan_dict,
    show_bytes,
)
from mathcore.planner.answer import Placement
from mathcore.planner.query import Limits
from mathcore.planner.sets.members import MAX_SETS, may_combine, sets_of
from mathcore.price import cost_nusd, hourly_nusd
from tests.mathcore.fixtures import device

RTX_3090 = {"model": "RTX 3090", "bandwidth_bytes_per_s": 936 * 10**9, "flops": 71 * 10**12}


def ask(devices: list[DeviceSpec], name: str = "llama-2-70b", **changes: object) -> Plan:
    fields: dict[str, object] = {"model": find_model(name), "model_ref": name, **changes}
    return plan(Query(**fields), devices)  # type: ignore[arg-type]


def sets_in(answer: Plan) -> list[Placement]:
    return [placed for placed in answer.placements if placed.members]


FAST = device("fast", location="lan")
SLOW = device("slow", location="lan", **RTX_3090)


def test_two_cards_together_hold_what_neither_does() -> None:
    answer = ask([FAST, SLOW], quant="Q4_K_M")
    (placed,) = answer.placements
    assert (placed.device_id, placed.name) == ("fast+slow", "fast + slow")
    assert [member.device_id for member in placed.members] == ["fast", "slow"]
    assert [refusal.code for refusal in answer.refusals] == ["NoFit(mem)", "NoFit(mem)"]


def test_who_asks_for_single_devices_gets_no_set() -> None:
    assert ask([FAST, SLOW], quant="Q4_K_M", sets=False).placements == ()


def test_sets_are_made_within_the_groups_that_are_asked_for() -> None:
    """A better set over two groups neither is offered nor stands in another's way."""
    other = replace(SLOW, device_id="other", name="other")
    fleet = [FAST, SLOW, other]
    assert [one.device_id for one in ask(fleet, quant="Q4_K_M").placements] == ["fast+other"]
    within = ask(fleet, quant="Q4_K_M", groups=(("slow", "other"), ("fast",)))
    assert [placed.device_id for placed in within.placements] == ["other+slow"]
    apart = ask(fleet, quant="Q4_K_M", groups=(("slow",), ("fast", "unknown")))
    assert apart.placements == ()
    assert ask(fleet, quant="Q4_K_M", groups=()).placements == ()


def test_a_named_device_is_not_helped_by_others() -> None:
    assert ask([FAST, SLOW], quant="Q4_K_M", on="fast").placements == ()


def test_a_set_that_helps_nothing_is_not_offered() -> None:
    """Both hold the model by themselves: a pipeline of them only waits for the slower one."""
    answer = ask([FAST, SLOW], "llama-3-8b", quant="Q4_K_M")
    assert sets_in(answer) == []
    assert len(answer.placements) == 2


def test_a_set_is_offered_for_a_better_quantisation_than_a_member_holds() -> None:
    lone = ask([FAST], "llama-2-13b", objective="balanced").placements[0]
    best = sets_in(ask([FAST, SLOW], "llama-2-13b", quant="F16"))
    assert lone.quant != "F16"
    assert best
    assert best[0].quality == 1.0


@pytest.mark.parametrize(
    "changes",
    [
        {"rate": Rate(hourly_nusd=NUSD)},
        {"location": "cloud"},
        {"kind": "cpu"},
        {"bandwidth_bytes_per_s": 0},
        {"free_bytes": 0},
    ],
)
def test_what_cannot_be_part_of_a_set(changes: dict[str, object]) -> None:
    """Offers are never combined, nor processors, nor what has no known speed."""
    odd = replace(SLOW, **changes)  # type: ignore[arg-type]
    assert may_combine(SLOW)
    assert not may_combine(odd)
    assert sets_in(ask([FAST, odd], quant="Q4_K_M")) == []


def test_members_share_an_engine_or_are_no_set() -> None:
    other = replace(SLOW, engines=("mlx",))
    assert sets_in(ask([FAST, other], quant="Q4_K_M")) == []


def test_ollama_combines_cards_of_a_host_and_never_hosts() -> None:
    apart = [replace(one, engines=("ollama",)) for one in (FAST, SLOW)]
    together = [replace(one, host="rig") for one in apart]
    assert sets_in(ask(apart, quant="Q4_K_M")) == []
    assert [placed.engine for placed in sets_in(ask(together, quant="Q4_K_M"))] == ["ollama"]


def test_mlx_over_several_machines_is_not_planned() -> None:
    macs = [
        device(
            f"m{i}", 24 * GIB, kind="apple", model="Apple M3 Max", engines=("mlx",), location="lan"
        )
        for i in range(2)
    ]
    answer = ask(macs, quant="MLX-4bit")
    assert answer.placements == ()
    assert [(r.device_id, r.code) for r in answer.refusals if "+" in r.device_id] == [
        ("m0+m1", "NoFit(backend)")
    ]


def test_where_nothing_does_the_largest_set_says_what_is_missing() -> None:
    answer = ask([FAST, SLOW, replace(SLOW, device_id="third", name="third")], quant="F16")
    (refusal,) = [refusal for refusal in answer.refusals if "+" in refusal.device_id]
    assert refusal.device_id == "fast+slow+third"
    need = refusal.missing_bytes + 3 * 24 * GIB
    assert refusal.text == (
        f"F16 needs {show_bytes(need)} over 3 cards, 72.0 GiB free: "
        f"{show_bytes(refusal.missing_bytes)} missing"
    )
    tight = [
        replace(one, free_bytes=refusal.missing_bytes // 3 + 24 * GIB + 64 * MIB)
        for one in (FAST, SLOW, replace(SLOW, device_id="third", name="third"))
    ]
    near = ask(tight, quant="F16").refusals
    assert [r.text[-38:] for r in near if "+" in r.device_id] == [
        "free, but not in shares of whole layers"[-38:]
    ]


def test_the_price_is_the_sum_and_the_wait_the_longest() -> None:
    slow = replace(SLOW, wait_ms=90_000, rate=Rate(price_nusd=700 * NUSD, lifetime_months=24))
    fast = replace(FAST, wait_ms=1_000)
    (placed,) = ask([fast, slow], quant="Q4_K_M").placements
    ms = int(placed.duration_ms.p50)
    assert placed.cost_nusd.p50 == pytest.approx(
        cost_nusd(fast.rate, ms) + cost_nusd(slow.rate, ms), abs=2
    )  # noqa: E501
    assert placed.wait_ms == 90_000


def test_each_limit_binds_sets_too() -> None:
    bounds = [
        ("TooSlow", Limits(max_latency_ms=10)),
        ("TooSlow", Limits(max_ttft_ms=1)),
        ("TooSlow", Limits(deadline_ms=10)),
        ("TooSlow", Limits(min_tokens_per_s=1e6)),
        ("CostAboveCap", Limits(max_cost_nusd=1)),
        ("PriceAboveCap", Limits(max_nusd_per_hour=hourly_nusd(FAST.rate))),
    ]
    for code, limits in bounds:
        answer = ask([FAST, SLOW], quant="Q4_K_M", limits=limits)
        assert answer.placements == ()
        assert [r.code for r in answer.refusals if r.device_id == "fast+slow"] == [code]


def test_single_devices_are_answered_exactly_as_before() -> None:
    for devices in ([FAST], [FAST, replace(SLOW, rate=Rate(hourly_nusd=NUSD))]):
        shown = plan_dict(ask(devices, "llama-3-8b"))
        alone = plan_dict(ask(devices, "llama-3-8b", sets=False))
        assert json.dumps(shown) == json.dumps(alone)
        assert "members" not in json.dumps(shown)


def test_the_json_of_a_set_names_its_members() -> None:
    shown = plan_dict(ask([FAST, SLOW], quant="Q4_K_M"))["placements"]
    assert isinstance(shown, list)
    fast, slow = shown[0]["members"]
    assert set(fast) == {
        "device",
        "device_id",
        "cards",
        "layers",
        "first_layer",
        "need_bytes",
        "free_bytes",
        "terms_ms",
    }
    assert (slow["first_layer"], fast["first_layer"]) == (0, slow["layers"])
    assert fast["layers"] + slow["layers"] == 81
    assert fast["need_bytes"] + slow["need_bytes"] == shown[0]["footprint"]["total_bytes"]
    assert shown[0]["basis"].startswith("2 hosts, prior: RTX 3090 and RTX 4090")


def test_the_number_of_sets_is_bounded_whatever_the_fleet() -> None:
    many = [device(f"d{i}", (8 + i % 40) * GIB, location="lan") for i in range(300)]
    assert len(sets_of(many)) < 2 * MAX_SETS
    rigs = [device(f"r{i}-{j}", (8 + i) * GIB, host=f"h{i}") for i in range(8) for j in range(8)]
    assert max(len(one.members) for one in sets_of(rigs)) == 15


def test_all_choices_of_a_small_fleet_are_tried_and_like_cards_are_not_told_apart() -> None:
    unlike = [device(f"d{i}", (8 + i) * GIB, memory_bytes=(8 + i) * GIB) for i in range(5)]
    assert len(sets_of(unlike)) == 2**5 - 1 - 5
    alike = [device(f"d{i}", 24 * GIB, host="rig") for i in range(5)]
    assert [one.key for one in sets_of(alike)] == [
        "d0+d1",
        "d0+d1+d2",
        "d0+d1+d2+d3",
        "d0+d1+d2+d3+d4",
    ]


OWNED = st.builds(
    lambda n, free, speed, price, host, cards: device(
        f"d{n}",
        free * GIB,
        bandwidth_bytes_per_s=speed * 10**9,
        location="lan",
        count=cards,
        rate=Rate(
            price_nusd=price * NUSD, lifetime_months=60, watts=300, tariff_nusd_per_kwh=NUSD // 5
        ),
        host=host,
    ),
    st.integers(0, 10**6),
    st.integers(6, 48),
    st.integers(200, 2000),
    st.integers(100, 5000),
    st.sampled_from(["", "a", "b"]),
    st.sampled_from([1, 1, 2]),
)
FLEETS = st.lists(OWNED, min_size=2, max_size=4, unique_by=lambda d: d.device_id)
OBJECTIVE = st.sampled_from(["cheapest", "fastest", "balanced"])
MODEL = st.sampled_from(["llama-2-13b", "llama-3-70b", "mixtral-8x7b", "gemma3:27b"])


@settings(max_examples=25)
@given(FLEETS, MODEL, OBJECTIVE, st.randoms(use_true_random=False))
def test_shuffling_the_fleet_changes_nothing(
    fleet: list[DeviceSpec], name: str, objective: str, mix: object
) -> None:
    shuffled = list(fleet)
    mix.shuffle(shuffled)  # type: ignore[attr-defined]
    assert plan_dict(ask(shuffled, name, objective=objective)) == plan_dict(
        ask(fleet, name, objective=objective)
    )


CONSTRAINTS = st.one_of(
    st.builds(Limits, max_latency_ms=st.integers(1, 10**6)),
    st.builds(Limits, min_tokens_per_s=st.floats(0.1, 100)),
    st.builds(Limits, max_cost_nusd=st.integers(1, 10**8)),
    st.builds(Limits, max_nusd_per_hour=st.integers(1, 10**9)),
    st.builds(Limits, deadline_ms=st.integers(1, 10**6)),
)


@settings(max_examples=25)
@given(FLEETS, MODEL, OBJECTIVE, CONSTRAINTS)
def test_a_limit_never_improves_the_objective(
    fleet: list[DeviceSpec], name: str, objective: str, limits: Limits
) -> None:
    free = ask(fleet, name, objective=objective).placements
    bound = ask(fleet, name, objective=objective, limits=limits).placements
    assert not bound or free[0].score <= bound[0].score


@settings(max_examples=25)
@given(FLEETS, OWNED, MODEL, OBJECTIVE)
def test_a_device_more_never_makes_the_best_score_worse(
    fleet: list[DeviceSpec], more: DeviceSpec, name: str, objective: str
) -> None:
    """Unless a better type fits with it: below the usual ones the best that fits is taken."""
    before = ask(fleet, name, objective=objective).placements
    after = ask([*fleet, replace(more, device_id="z")], name, objective=objective).placements
    better = bool(before) and not before[0].quality_usual and after[0].quality > before[0].quality
    assert not before or better or after[0].score <= before[0].score


@settings(max_examples=60)
@given(
    st.lists(OWNED, min_size=2, max_size=3, unique_by=lambda d: d.device_id),
    st.integers(0, 2),
    st.integers(1, 1000),
)
def test_a_faster_member_never_makes_a_set_slower(
    fleet: list[DeviceSpec], which: int, gained: int
) -> None:
    """Where cards keep their margins: a deal that must do without them is another deal."""
    old = fleet[which % len(fleet)]
    speed = old.bandwidth_bytes_per_s + gained * 10**9
    better = [replace(one, bandwidth_bytes_per_s=speed) if one is old else one for one in fleet]
    before = ask(fleet, "llama-3-70b", quant="Q4_K_M", objective="fastest").placements
    after = ask(better, "llama-3-70b", quant="Q4_K_M", objective="fastest").placements
    assume(not before or before[0].fit == "fit")
    assert not before or after[0].score <= before[0].score * (1 + 1e-9)


@settings(max_examples=40)
@given(FLEETS, MODEL, st.sampled_from([512, 3000]))
def test_the_members_bytes_are_the_whole_and_every_card_holds_its_own(
    fleet: list[DeviceSpec], name: str, prompt: int
) -> None:
    answer = ask(fleet, name, prompt_tokens=prompt, objective="fastest")
    free = {one.device_id: one for one in fleet}
    for placed in sets_in(answer):
        need = placed.footprint
        assert sum(member.need_bytes for member in placed.members) == need.total_bytes
        assert sum(need.cards) == need.total_bytes
        assert sum(member.cards for member in placed.members) == placed.layout.cards
        for member in placed.members:
            assert member.need_bytes <= member.free_bytes
            assert member.free_bytes == free[member.device_id].free_bytes * member.cards
        assert placed.layout.spare_bytes >= 0
        margin = min(GIB, min(free[m.device_id].free_bytes for m in placed.members) // 20)
        assert placed.fit == "tight" or placed.layout.spare_bytes >= margin - MIB


PROGRAM = """
import json, sys
from mathcore import COMPILED
from mathcore.api import plan_dict
from tests.mathcore.planner.test_sets import FAST, SLOW, ask
from dataclasses import replace
third = replace(SLOW, device_id="third", host="rig", count=2)
fast = replace(FAST, host="rig", engines=("llama.cpp", "vllm"))
print(COMPILED)
print(json.dumps([plan_dict(ask([fast, SLOW, third], name, batch=4, prompt_tokens=2048))
                  for name in ("llama-2-70b", "mixtral-8x7b", "llama-2-13b")]))
"""


def answers(path: str) -> list[str]:
    env = os.environ | {"PYTHONPATH": path, "PYTHONSAFEPATH": "1"}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=env, capture_output=True, text=True, check=True
    )
    return done.stdout.splitlines()


@pytest.mark.skipif(not mathcore.COMPILED, reason="compares the compiled build with the source")
def test_compiled_and_pure_plans_are_the_same_to_the_byte() -> None:
    root = Path(__file__).parents[3]
    compiled, pure = answers(f"{root / 'build' / 'compiled'}:{root}"), answers(str(root))
    assert (compiled[0], pure[0]) == ("True", "False")
    assert '"members"' in pure[1]
    assert compiled[1] == pure[1]


# 70B at Q8_0 with four sequences needs two of its 81 layers elsewhere; Q6_K fits.
STUDIO = device(
    "studio",
    74 * GIB,
    kind="apple",
    model="Apple M3 Ultra",
    bandwidth_bytes_per_s=819 * 10**9,
    flops=57 * 10**12,
    location="lan",
    rate=Rate(price_nusd=4000 * NUSD, lifetime_months=60, watts=270, tariff_nusd_per_kwh=NUSD // 5),
)
STRIX = device(
    "strix",
    96 * GIB,
    model="Ryzen AI Max+ 395",
    bandwidth_bytes_per_s=256 * 10**9,
    flops=59 * 10**12,
    location="lan",
    rate=Rate(price_nusd=2000 * NUSD, lifetime_months=60, watts=120, tariff_nusd_per_kwh=NUSD // 5),
)


@pytest.mark.parametrize("objective", ["balanced", "fastest", "cheapest"])
def test_one_host_is_preferred_to_two_that_only_gain_quality_nobody_can_tell(
    objective: str,
) -> None:
    answer = ask([STUDIO, STRIX], "llama-3-70b", batch=4, objective=objective)
    assert answer.placements[0].members == ()
    asked = ask([STUDIO, STRIX], "llama-3-70b", batch=4, quant="Q8_0", objective=objective)
    together = sets_in(asked)[0]
    strix = next(member for member in together.members if member.device_id == "strix")
    assert 0 < strix.layers <= 4  # the case a newcomer met
    assert together.quality > answer.placements[0].quality
    assert sets_in(answer) == []  # nor offered


def test_a_set_that_gains_more_than_its_error_is_placed_first() -> None:
    """Q4_K_M is all that fits one card; two hold Q6_K, slower and visibly better."""
    free = 54 * GIB // 10
    cards = [replace(FAST, free_bytes=free, device_id=name, name=name) for name in ("a", "b")]
    answer = ask(cards, "llama-3-8b")
    assert answer.placements[0].members
    assert answer.placements[0].quality > answer.placements[1].quality + 0.01


@settings(max_examples=30)
@given(FLEETS, MODEL, OBJECTIVE)
def test_a_set_is_above_a_device_only_when_its_bad_case_beats_the_device_s_middle(
    fleet: list[DeviceSpec], name: str, objective: str
) -> None:
    """Where both have the same quality, so that times and their costs alone decide."""
    found = ask(fleet, name, objective=objective).placements
    for i, placed in enumerate(found):
        if not placed.members:
            continue
        for below in found[i + 1 :]:
            if below.members or below.quality != placed.quality:
                continue
            faster = placed.answer_ms.p90 <= below.answer_ms.p50
            cheaper = placed.answer_cost_nusd.p90 <= below.answer_cost_nusd.p50 + 1
            assert faster or (cheaper and objective != "fastest")
