"""How a model is dealt to a set, how long it takes there: hand-computed, stage by stage."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mathcore.api import GIB, MIB, DeviceSpec, Query, find_model, plan, weigh
from mathcore.engines.footprint import ContextShape
from mathcore.engines.llamacpp.memory import PIPELINE_COPIES, compute_bytes
from mathcore.engines.vllm.cache import VllmShape
from mathcore.engines.vllm.memory import AMPERE, NCCL_BYTES, activation_bytes, graph_bytes
from mathcore.engines.vllm.start import even_layers
from mathcore.model.spec import ModelSpec
from mathcore.planner.answer import Placement
from mathcore.planner.search import Search, weights_of
from mathcore.planner.sets.members import as_device, sets_of
from mathcore.planner.sets.search import SetSearch
from mathcore.planner.sets.timing import (
    HOST_HOP_S,
    LAN_ROUND_TRIP_S,
    network_bytes_per_s,
    part_of,
)
from mathcore.planner.sets.vllm import layers_by_memory, maker_of
from mathcore.speed.chip import chip_of
from mathcore.speed.learning import Observation
from mathcore.speed.predict import prior_speed
from mathcore.speed.terms import Run
from mathcore.speed.work import Work, work_of
from tests.mathcore.fixtures import device


def model(name: str) -> ModelSpec:
    spec = find_model(name)
    assert spec is not None
    return spec


# Llama 2 13B at 16 bits, 4,096 tokens: every layer alike, so each number below is one line of sums.
SPEC = model("llama-2-13b")
LAYER = 2 * (4 * 5120 * 5120 + 3 * 5120 * 13_824) + 4 * 2 * 5120  # matrices, two f32 norms
CACHE = 4096 * 2 * 5120 * 2  # K and V of a layer
OUTPUT = 2 * 32_000 * 5120
NORM = 4 * 5120


def compute(low: int, high: int) -> int:
    """The buffer of a card in a pipeline, proven against llama.cpp elsewhere."""
    shape = ContextShape(context=4096)
    return compute_bytes(SPEC, shape, card=True, layers=(low, high), copies=PIPELINE_COPIES)


COMPUTE = compute(0, 41)
DRIVER = 250 * MIB
RTX_3090 = {"model": "RTX 3090", "bandwidth_bytes_per_s": 936 * 10**9, "flops": 71 * 10**12}
BIG = device("big", 24 * GIB, location="lan", host="rig")
SMALL = device("small", 12 * GIB, location="lan", host="rig", **RTX_3090)


def only(devices: list[DeviceSpec], spec: ModelSpec = SPEC, **changes: object) -> Placement:
    fields: dict[str, object] = {"model": spec, "model_ref": "m", "quant": "F16", **changes}
    found = [p for p in plan(Query(**fields), devices).placements if p.members]  # type: ignore[arg-type]
    assert len(found) == 1
    return found[0]


def test_the_sums_are_those_of_the_weights() -> None:
    weights = weigh(SPEC, "F16")
    assert weights.layer_bytes == (LAYER,) * 40
    assert weights.total_bytes == 40 * LAYER + 2 * OUTPUT + NORM


def test_the_faster_card_of_a_host_takes_what_it_holds_and_the_other_the_rest() -> None:
    """24 GiB less 1 GiB of margin, compute buffer, driver and output leave room for 33 layers."""
    room = 23 * GIB - COMPUTE - DRIVER - OUTPUT - NORM
    assert room // (LAYER + CACHE) == 33
    big, small = only([BIG, SMALL]).members
    assert (big.layers, small.layers) == (34, 7)  # the output layer is one more
    assert big.need_bytes == 33 * (LAYER + CACHE) + OUTPUT + NORM + compute(7, 41) + DRIVER
    assert small.need_bytes == 7 * (LAYER + CACHE) + compute(0, 7) + DRIVER


def part(layers: int, output: int) -> Work:
    """What a token costs in so many of the 40 layers."""
    head = 32_000 * 5120
    return Work(
        layers=layers,
        hidden=5120,
        total_bytes=0,
        dense_bytes=layers * LAYER + (NORM * layers // 40) + output * OUTPUT,
        active=layers * (LAYER - 4 * 2 * 5120) // 2 + layers * 2 * 5120 + output * head,
        kv_width=layers * 2 * 5120,
        query_width=layers * 2 * 5120,
    )


def step_s(card: DeviceSpec, work: Work, which: str = "p50") -> float:
    run = Run(
        prompt=512, generated=128, depth=576.0, offloaded_share=0.0, bits=16.0, flags=("wide",)
    )
    return float(getattr(prior_speed(chip_of(card), run, work).step_s, which))


@pytest.mark.parametrize("which", ["p10", "p50", "p90"])
def test_a_step_in_one_host_is_both_cards_steps_and_a_hop(which: str) -> None:
    """4 bytes x 5,120 over PCIe are a microsecond; errors add up, a hop's is a factor of two."""
    placed = only([BIG, SMALL])
    hop = (0.0004 + 4 * 5120 / 25e9) * {"p10": 0.5, "p50": 1.0, "p90": 2.0}[which]
    wanted = step_s(BIG, part(33, 1), which) + step_s(SMALL, part(7, 0), which) + hop
    rest = {"p10": "p90", "p50": "p50", "p90": "p10"}[which]  # the slow time is the low rate
    assert 1 / getattr(placed.tokens_per_s, rest) == pytest.approx(wanted, rel=1e-4)
    assert placed.basis.startswith("2 devices of one host, prior: RTX 3090 and RTX 4090, bandwidth")


def test_a_step_over_two_hosts_crosses_gigabit_ethernet_twice() -> None:
    """There and, for the next token, back: 117.7 MB/s carry 20,480 bytes in 0.174 ms; a hop waits
    0.4 ms in the host and for two round trips of 0.3 ms."""
    apart = [replace(BIG, host=""), replace(SMALL, host="")]
    placed = only(apart, objective="fastest")
    assert [member.layers for member in placed.members] == [34, 7]
    hop = 0.0004 + 2 * 0.0003 + 20_480 / 117_685_305
    wanted = step_s(BIG, part(33, 1)) + step_s(SMALL, part(7, 0)) + 2 * hop
    assert 1 / placed.tokens_per_s.p50 == pytest.approx(wanted, rel=1e-4)
    assert dict(placed.terms)["hops"] == pytest.approx(128 * 2 * hop)
    assert placed.basis.startswith("2 hosts, prior: RTX 3090 and RTX 4090")
    # The other host's weights are sent, at every cold start.
    sent = (80 * LAYER // 2 + 2 * OUTPUT + NORM) * 7 / 41
    assert dict(placed.terms)["load"] == pytest.approx(0.5 + sent / 117_685_305, rel=1e-4)


def test_a_faster_network_shortens_hops_and_loading() -> None:
    slow = only([replace(BIG, host=""), replace(SMALL, host="")])
    wide = [replace(one, host="", network_bps=10**10) for one in (BIG, SMALL)]
    fast = only(wide)
    for name in ("hops", "load"):
        assert dict(fast.terms)[name] < dict(slow.terms)[name]
    one_wide = only([replace(BIG, host="", network_bps=10**10), replace(SMALL, host="")])
    assert dict(one_wide.terms)["hops"] == dict(slow.terms)["hops"]  # the slower of the two
    assert network_bytes_per_s(wide[0], wide[1]) == pytest.approx(1.17685e9, rel=1e-4)
    assert HOST_HOP_S > LAN_ROUND_TRIP_S  # a card's own hand-over is what the fit found


def test_long_prompts_overlap_so_equal_times_are_worth_a_deal() -> None:
    short = only([BIG, SMALL], objective="fastest", context=4096, tokens=4000, prompt_tokens=64)
    long = only([BIG, SMALL], objective="fastest", context=4096, tokens=1, prompt_tokens=4000)
    assert long.members[1].layers > short.members[1].layers


def test_a_members_own_jobs_are_believed() -> None:
    work = work_of(SPEC, "F16")
    run = Run(
        prompt=512, generated=128, depth=576.0, offloaded_share=0.0, bits=16.0, flags=("wide",)
    )
    jobs = [Observation(device="small", key="other", run=run, work=work, step_s=3.0)] * 8
    query = Query(model=SPEC, model_ref="m", quant="F16")
    cold = plan(query, [BIG, SMALL]).placements[0]
    warm = plan(query, [BIG, SMALL], {"small": jobs}).placements[0]
    assert warm.tokens_per_s.p50 < cold.tokens_per_s.p50
    assert "learned from 8 jobs on this device and prior: RTX 4090" in warm.basis


WORKS = st.sampled_from(["llama-3-70b", "mixtral-8x7b", "gemma3:27b", "deepseek-v3", "jamba-v0.1"])


@settings(max_examples=40)
@given(WORKS, st.lists(st.integers(0, 60), max_size=5))
def test_parts_of_a_model_add_up_to_it(name: str, cuts: list[int]) -> None:
    spec = model(name)
    weights = weights_of(spec, "Q4_K_M")
    assert weights is not None
    work, top = work_of(spec, "Q4_K_M"), len(spec.layers) + 1
    edges = sorted({0, top, *(min(cut, top) for cut in cuts)})
    parts = [part_of(work, spec, weights, a, b) for a, b in zip(edges, edges[1:], strict=False)]
    for field in (
        "layers",
        "dense_bytes",
        "active",
        "expert_bytes",
        "sparse_layers",
        "kv_width",
        "window_width",
        "state_bytes",
        "query_width",
        "latent_layers",
    ):
        whole = getattr(work, field)
        assert abs(sum(getattr(one, field) for one in parts) - whole) <= 1, field


# vLLM.


def test_vllm_shares_layers_out_as_its_own_function_does() -> None:
    """get_pp_indices: what is left over goes before the last stage, which has the output layer."""
    assert even_layers(32, 4) == [8, 8, 8, 8]
    assert even_layers(61, 2) == [31, 30]
    assert even_layers(61, 4) == [15, 15, 16, 15]
    assert even_layers(43, 10) == [4, 4, 4, 4, 4, 4, 5, 5, 5, 4]
    assert layers_by_memory(40, [24, 12]) == [26, 14]


def serving(card: DeviceSpec, **changes: object) -> DeviceSpec:
    return replace(card, engines=("vllm",), **changes)  # type: ignore[arg-type]


def test_vllm_splits_every_layer_over_like_cards_of_a_host() -> None:
    cards = [serving(BIG, device_id=f"c{i}", name=f"c{i}") for i in range(2)]
    placed = only(cards, quant="HF-BF16")
    assert [(member.cards, member.layers) for member in placed.members] == [(1, 41), (1, 41)]
    assert [member.first_layer for member in placed.members] == [0, 0]  # both have all
    double = serving(BIG, count=2)
    query = Query(model=SPEC, model_ref="m", quant="HF-BF16")
    assert placed.footprint == plan(query, [double]).placements[0].footprint


def test_vllm_gives_stretches_of_layers_to_hosts_evenly() -> None:
    cards = [serving(BIG, device_id=f"c{i}", name=f"c{i}", host="") for i in range(2)]
    placed = only(cards, quant="HF-BF16")
    first, last = placed.members
    assert (first.layers, last.layers) == (20, 21)  # the output layer is one more
    assert (first.first_layer, last.first_layer) == (0, 20)
    layer = 2 * (4 * 5120 * 5120 + 3 * 5120 * 13_824 + 2 * 5120)
    shape_bytes = {
        name: 20 * layer + OUTPUT + CACHE * 20 + beside
        for name, beside in (("first", 0), ("last", 2 * 5120))
    }
    shape = VllmShape(context=4096, batched_tokens=2048, max_num_seqs=256)  # on a card of 24 GiB
    beside = activation_bytes(SPEC, shape) + AMPERE.non_torch_bytes + NCCL_BYTES
    beside += graph_bytes(SPEC, shape, AMPERE) // 2
    assert first.need_bytes == shape_bytes["first"] + beside
    assert last.need_bytes == shape_bytes["last"] + beside


def test_vllm_shares_out_by_memory_where_even_shares_do_not_fit() -> None:
    cards = [
        serving(BIG, device_id="c0", name="c0", host=""),
        serving(SMALL, device_id="c1", name="c1", host=""),
    ]
    first, last = only(cards, quant="HF-BF16").members
    assert first.layers > last.layers
    assert last.need_bytes <= last.free_bytes * 92 // 100


def test_vllm_s_ranks_divide_every_hosts_cards_alike() -> None:
    """Three cards have no pairs, so each is a stage; two hosts of two are two stages of pairs."""
    spec = model("llama-2-70b")
    three = [
        serving(BIG, device_id="c0", name="c0", host="", count=2, free_bytes=18 * GIB),
        serving(BIG, device_id="c1", name="c1", host="", free_bytes=16 * GIB),
    ]
    assert parts_of(three, spec) == {"c0+c1": [(2, 54), (1, 27)]}
    four = [serving(BIG, device_id=f"c{i}", name=f"c{i}", host="ab"[i // 2]) for i in range(4)]
    small = [replace(one, free_bytes=14 * GIB) for one in four]
    found = parts_of(small, spec)
    assert found == {"c0+c1+c2+c3": [(1, 40), (1, 40), (1, 41), (1, 41)]}
    assert parts_of([four[0], four[2]], spec) == {"c0+c2": [(1, 40), (1, 41)]}


def parts_of(cards: list[DeviceSpec], spec: ModelSpec) -> dict[str, list[tuple[int, int]]]:
    query = Query(model=spec, model_ref="m", quant="AWQ", objective="fastest")
    return {
        placed.device_id: [(member.cards, member.layers) for member in placed.members]
        for placed in plan(query, cards).placements
        if placed.members
    }


def test_a_chip_that_shares_its_memory_is_its_makers_and_not_its_memorys() -> None:
    """Both are "unified"; one speaks NCCL, the other RCCL."""
    makers = [maker_of(device("d", 64 * GIB, model=name)) for name in ("GB10", "Ryzen AI MAX+ 395")]
    assert makers == ["nvidia", "amd"]


def test_nvidia_and_amd_do_not_serve_together() -> None:
    radeon = device("amd", 24 * GIB, location="lan", model="RX 7900 XTX", engines=("vllm",))
    assert (maker_of(BIG), maker_of(radeon)) == ("nvidia", "amd")
    query = Query(model=SPEC, model_ref="m", quant="HF-BF16")
    assert plan(query, [serving(BIG, host=""), radeon]).placements == ()
    pair = [replace(one, engines=("llama.cpp",), host="") for one in (BIG, radeon)]
    assert only(pair).engine == "llama.cpp"  # which passes tensors through the host


def test_a_set_is_not_timed_further_once_a_member_alone_is_done() -> None:
    """The first stage and the hops take longer than asked for: no answer; and else the same."""
    query = Query(model=SPEC, model_ref="m", quant="F16")
    together = SetSearch(Search(query, {}))
    combined = sets_of([BIG, SMALL])[0]
    whole, found = as_device(combined), together._layouts(combined)[0]
    weights = weigh(SPEC, "F16")
    work = together.search.work("F16", weights)
    known = together.clock.time(whole, found, weights, work)
    assert known is not None
    answer_s = known[0].first_s.p90 + known[0].rest_s.p90
    assert together.clock.time(whole, found, weights, work, answer_s) == known
    assert together.clock.time(whole, found, weights, work, answer_s * 0.5) is None
