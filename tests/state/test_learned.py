"""A job's measurement travels in the ledger and teaches every peer's planner."""

import math
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mathcore.speed.chip import Chip
from mathcore.speed.learning import learned_speed
from mathcore.speed.terms import Run
from mathcore.speed.work import Work
from mesh.state.learning.learned import knowledge, learned_from
from mesh.state.state import State
from tests.state.job_story import event, owned, told

WORK = Work(layers=32, hidden=4096, total_bytes=5 * 10**9, dense_bytes=5 * 10**9, active=8 * 10**9)
RUN = Run(engine="llama.cpp", batch=1, prompt=512, generated=128, depth=576.0, bits=4.9)
CARD = Chip(device_class="gddr", arch="ada", bandwidth=1e12, flops=165e12, known=True)


MEASURED = ("actual_duration_ms", "prefill_mtps")  # of the job's end, not of its plan


def after(job_id: str = "j", mtps: int = 100_000, **changes: object) -> State:
    """The state after one job that ran as planned by WORK and RUN, at `mtps`."""
    job = {"job_id": job_id}
    end = {
        **job,
        "throughput_mtps": mtps,
        "prefill_mtps": 2_000_000,
        "prompt_tokens": 512,
        "tokens_generated": 128,
        **{key: changes.pop(key) for key in MEASURED if key in changes},
    }
    plan = {"engine": "llama.cpp", "quant": "Q4_K_M", "model": "M", **knowledge(RUN, WORK)}
    return told(
        [
            *owned("d"),
            event("job_submitted", 0, **job, model="m"),
            event("job_dispatched", 1, **job, plan={**plan, **changes}),
            event("job_started", 2, **job),
            event("job_completed", 3, **end),
        ]
    )


def test_what_the_planner_knew_comes_back_from_the_ledger() -> None:
    (seen,) = learned_from(after())["d"]
    assert (seen.work, seen.key) == (WORK, "M Q4_K_M")
    assert (seen.run.batch, seen.run.prompt, seen.run.bits) == (1, 512, 4.9)
    assert seen.step_s == pytest.approx(0.01)
    assert seen.first_s == pytest.approx(0.256)


def test_sixteen_bit_weights_are_compared_with_the_speed_of_their_own_kernels() -> None:
    wide = knowledge(replace(RUN, bits=16.0), WORK)
    (seen,) = learned_from(after(**wide))["d"]
    assert seen.run.flags == ("wide",)
    (seen,) = learned_from(after())["d"]
    assert seen.run.flags == ()


def test_a_slow_job_makes_the_next_prediction_slower() -> None:
    slow = learned_from(after(mtps=20_000))["d"]
    fast = learned_from(after(mtps=150_000))["d"]
    after_slow, after_fast = (learned_speed(CARD, RUN, WORK, "", seen) for seen in (slow, fast))
    assert after_slow.step_s.p50 > after_fast.step_s.p50


@pytest.mark.parametrize(
    "wrong",
    [
        {"work": {}},
        {"work": {"layers": "many"}},
        {"run": {"bits": 4.9}},
        {"run": {"bits": "nan"}},
        {"work": {**knowledge(RUN, WORK)["work"], "layers": -2}},  # type: ignore[dict-item]
        {"work": {**knowledge(RUN, WORK)["work"], "layers": 1 << 70}},  # type: ignore[dict-item]
        {"run": {"split": 7}},
        {"work": {**knowledge(RUN, WORK)["work"], "experts": 8, "experts_used": 9}},  # type: ignore[dict-item]
        {"work": {**knowledge(RUN, WORK)["work"], "dense_bytes": 0}},  # type: ignore[dict-item]
        {"work": {**knowledge(RUN, WORK)["work"], "active": 0}},  # type: ignore[dict-item]
        {"run": {**knowledge(RUN, WORK)["run"], "replicas": 0}},  # type: ignore[dict-item]
        {"run": {**knowledge(RUN, WORK)["run"], "away": "1.5"}},  # type: ignore[dict-item]
        {"run": {**knowledge(RUN, WORK)["run"], "bits": "-0.0"}},  # type: ignore[dict-item]
        {"run": {**knowledge(RUN, WORK)["run"], "bits": "1e-308"}},  # type: ignore[dict-item]
    ],
)
def test_facts_a_peer_got_wrong_teach_nothing(wrong: dict[str, object]) -> None:
    assert learned_from(after(**wrong)) == {}


EXTREMES = (0, 1, 2, 1 << 40, 2**53 - 1, -1)
FRACTIONS = ("0.0", "-1.0", "0.5", "1.0", "1e-300", "1e18", "1e308", "nan", "-inf", "4.9")


@settings(max_examples=150)
@given(data=st.data())
def test_no_facts_of_a_peer_leave_the_planner_without_a_time(data: st.DataObject) -> None:
    known = {}
    for part, facts in knowledge(RUN, WORK).items():
        assert isinstance(facts, dict)
        odd = data.draw(st.dictionaries(st.sampled_from(sorted(facts)), st.none()))
        known[part] = facts | {
            name: data.draw(
                st.sampled_from(FRACTIONS if isinstance(facts[name], str) else EXTREMES)
            )
            for name in odd
            if name not in ("engine", "split", "mixed", "basis")
        }
    end = {name: data.draw(st.sampled_from(EXTREMES)) for name in MEASURED}
    seen = learned_from(after(mtps=data.draw(st.sampled_from(EXTREMES)), **known, **end))
    found = learned_speed(CARD, RUN, WORK, "M Q4_K_M", seen.get("d", []))
    times = (found.step_s, found.first_s)
    assert all(0 < one < math.inf for band in times for one in (band.p10, band.p50, band.p90))


def test_what_a_job_took_beside_prompts_and_answer_was_loading() -> None:
    """512 tokens at 2,000 a second and 128 at 100 are 1.536 s of 11.536."""
    (seen,) = learned_from(after(actual_duration_ms=11_536))["d"]
    assert seen.load_s == pytest.approx(10.0)


def test_a_job_whose_prompt_nobody_timed_says_nothing_about_loading() -> None:
    (seen,) = learned_from(after(actual_duration_ms=11_536, prefill_mtps=0))["d"]
    assert seen.load_s == 0.0
