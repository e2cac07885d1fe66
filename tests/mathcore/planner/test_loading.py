"""Loading is shown apart, per engine and storage, and never decides which device is better."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mathcore.api import GB, GIB, NUSD, DeviceSpec, Plan, Query, Rate, find_model, plan, plan_dict
from mathcore.planner.loading import START_S, storage_of
from mathcore.planner.query import Limits
from mathcore.quant.families import ENGINES
from mathcore.speed.learning import Observation
from mathcore.speed.terms import Run
from mathcore.speed.work import Work
from tests.mathcore.fixtures import device

H200 = device("h200", 141 * GIB, model="H200", bandwidth_bytes_per_s=4800 * GB, flops=989 * 10**12)
M3_ULTRA = device(
    "ultra",
    384 * GIB,
    kind="apple",
    model="Apple M3 Ultra",
    bandwidth_bytes_per_s=819 * GB,
    flops=57 * 10**12,
)


def ask(devices: list[DeviceSpec], name: str = "llama-3-8b", **changes: object) -> Plan:
    seen = changes.pop("seen", {})
    fields: dict[str, object] = {"model": find_model(name), "model_ref": name, **changes}
    return plan(Query(**fields), devices, seen)  # type: ignore[arg-type]


def loaded(seconds: float, size: int = 10 * GB, engine: str = "llama.cpp") -> Observation:
    work = Work(layers=32, hidden=4096, total_bytes=size, dense_bytes=size, active=8 * GB)
    return Observation(
        device="d", key="m", run=Run(engine=engine), work=work, step_s=0.01, load_s=seconds
    )


def test_time_is_load_and_answer() -> None:
    placed = ask([device()], quant="Q4_K_M").placements[0]
    for whole, load, answer in zip(
        *([band.p10, band.p50, band.p90] for band in
          (placed.duration_ms, placed.load_ms, placed.answer_ms)),
        strict=True,
    ):  # fmt: skip
        assert whole == pytest.approx(load + answer)


def test_llama_cpp_s_load_is_its_start_and_the_file_at_the_disk_s_rate() -> None:
    placed = ask([device()], quant="Q4_K_M").placements[0]
    size = placed.work.total_bytes
    assert placed.load_ms.p50 == pytest.approx(1000 * (0.5 + size / 2e9))
    assert placed.load_basis == "prior: NVMe"


def test_every_engine_has_a_start_of_its_own() -> None:
    assert set(START_S) == set(ENGINES)
    starts = {}
    for engine in ("llama.cpp", "vllm", "tgi", "ollama"):
        here = device(engine, 80 * GIB, engines=(engine,))
        placed = ask([here]).placements[0]
        starts[engine] = placed.load_ms.p50 / 1000 - placed.work.total_bytes / 2e9
    assert starts == pytest.approx({engine: START_S[engine] for engine in starts})
    assert starts["vllm"] > 100 * starts["llama.cpp"]


def test_storage_nobody_measured_is_taken_for_an_nvme_drive() -> None:
    found = storage_of(device(), [])
    assert (found.bytes_per_s, found.basis) == (2 * GB, "prior: NVMe")


def test_a_reading_beats_the_prior_and_a_job_beats_the_reading() -> None:
    here = device(disk_read_bytes_per_s=3 * GB)
    assert (storage_of(here, []).bytes_per_s, storage_of(here, []).basis) == (
        3 * GB,
        "disk measured",
    )
    # 10 GB in 10.5 s, of which llama.cpp's start is half a second: 1 GB/s.
    found = storage_of(here, [loaded(2.5), loaded(10.5)])
    assert found.bytes_per_s == pytest.approx(1 * GB)
    assert found.basis == "learned from a job on this device"


def test_jobs_that_say_nothing_about_storage_are_passed_over() -> None:
    toy = loaded(1.0, size=50_000_000)
    unmeasured, impossible = loaded(0.0), loaded(0.500001)
    here = device()
    assert storage_of(here, [toy, unmeasured, impossible]).basis == "prior: NVMe"
    assert storage_of(here, [loaded(5.5), toy]).bytes_per_s == pytest.approx(2 * GB)


def test_what_a_job_took_to_load_is_what_the_next_plan_says() -> None:
    here = device("d")
    placed = ask([here], quant="Q4_K_M", seen={"d": [loaded(40.5)]}).placements[0]
    assert placed.load_ms.p50 == pytest.approx(1000 * (0.5 + placed.work.total_bytes / 0.25e9))
    assert placed.load_ms.p90 < 2 * placed.load_ms.p50
    assert placed.load_basis == "learned from a job on this device"


def test_a_faster_card_is_not_ranked_below_a_slower_one_because_both_read_one_disk() -> None:
    free = Rate(price_nusd=0, watts=0)
    fleet = [replace(one, rate=free) for one in (H200, M3_ULTRA)]
    for objective in ("fastest", "balanced", "cheapest"):
        answer = ask(fleet, "gpt-oss-120b", quant="Q8_0", objective=objective)
        assert [placed.device_id for placed in answer.placements] == ["h200", "ultra"]
        load = [placed.load_ms.p50 for placed in answer.placements]
        assert load[0] == load[1] > 30_000


READS = st.sampled_from([0, 10**8, 5 * 10**9])
CARDS = st.builds(
    lambda n, speed, price, disk: device(
        f"d{n}",
        bandwidth_bytes_per_s=speed * GB,
        location="cloud",
        rate=Rate(hourly_nusd=price),
        disk_read_bytes_per_s=disk,
    ),
    st.integers(0, 10**6),
    st.integers(100, 4000),
    st.integers(10**7, 5 * 10**9),
    READS,
)


@settings(max_examples=40)
@given(
    st.lists(CARDS, min_size=2, max_size=5, unique_by=lambda c: c.device_id),
    st.sampled_from(["cheapest", "fastest", "balanced"]),
    READS,
)
def test_storage_never_changes_the_order(
    cards: list[DeviceSpec], objective: str, disk: int
) -> None:
    alike = [replace(card, disk_read_bytes_per_s=disk) for card in cards]
    order = [
        [placed.device_id for placed in ask(fleet, objective=objective).placements]
        for fleet in (cards, alike)
    ]
    assert order[0] == order[1]


def test_a_latency_leaves_loading_out_and_a_deadline_counts_it() -> None:
    slow = device(disk_read_bytes_per_s=10**8)
    free = ask([slow], quant="Q4_K_M").placements[0]
    answer = int(free.answer_ms.p90) + 1
    assert free.load_ms.p10 > answer
    assert ask([slow], quant="Q4_K_M", limits=Limits(max_latency_ms=answer)).placements
    late = ask([slow], quant="Q4_K_M", limits=Limits(deadline_ms=answer))
    assert [refusal.code for refusal in late.refusals] == ["TooSlow"]


def test_a_bill_counts_loading_and_a_ranking_does_not() -> None:
    placed = ask([device(rate=Rate(hourly_nusd=NUSD))], quant="Q4_K_M").placements[0]
    assert placed.cost_nusd.p50 == pytest.approx(placed.duration_ms.p50 / 3.6e6 * NUSD, abs=300)
    assert placed.answer_cost_nusd.p50 == pytest.approx(
        placed.answer_ms.p50 / 3.6e6 * NUSD, abs=300
    )
    rows = plan_dict(ask([device()]))["placements"]
    assert isinstance(rows, list)
    keys = {"load_ms", "load_basis", "answer_ms", "answer_cost_nusd", "duration_ms", "cost_nusd"}
    assert keys <= set(rows[0])


def test_hosts_that_serve_together_load_from_the_slowest_storage() -> None:
    fast, slow = (
        device(name, location="lan", engines=("vllm",), disk_read_bytes_per_s=rate)
        for name, rate in (("fast", 2 * GB), ("slow", 150_000_000))
    )
    (placed,) = [one for one in ask([fast, slow], "phi-4").placements if one.members][:1]
    assert placed.load_basis == "disk measured"
    assert placed.load_ms.p50 > 1000 * (START_S["vllm"] + placed.work.total_bytes / 3 / 150e6)
