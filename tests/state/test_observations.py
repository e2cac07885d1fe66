"""What jobs measured is read back from the ledger beside what had been predicted for them."""

from mesh.ledger.event import Event
from mesh.state.learning.observations import MOST_PER_DEVICE, observations, scores
from tests.state.job_story import event, owned, told

PLAN = {
    "engine": "llama.cpp",
    "quant": "Q4_K_M",
    "basis": "prior: gddr",
    "tokens_per_s_milli": {"p10": 80_000, "p50": 100_000, "p90": 120_000},
    "duration_ms": {"p10": 800, "p50": 1000, "p90": 1300},
    "footprint": {"total_bytes": 5_000_000_000},
    "work": {"layers": 32},
}


def measured(job_id: str, start: int, mtps: int, took_ms: int = 1100) -> list[Event]:
    job = {"job_id": job_id}
    end = {
        **job,
        "throughput_mtps": mtps,
        "prefill_mtps": 0,
        "prompt_tokens": 1024,
        "tokens_generated": 256,
        "actual_duration_ms": took_ms,
    }
    return [
        event("job_submitted", start, **job, model="m", batch=2),
        event("job_dispatched", start + 1, **job, plan=PLAN),
        event("job_started", start + 2, **job),
        event("job_completed", start + 3, **end),
    ]


def test_a_finished_job_gives_rates_counts_and_what_was_predicted() -> None:
    (seen,) = observations(told([*owned("d"), *measured("j", 0, 90_000)]))
    assert (seen.prompt_tokens, seen.tokens, seen.batch) == (512, 128, 2)
    assert seen.predicted_decode_mtps == (80_000, 100_000, 120_000)
    assert (seen.engine, seen.quant, seen.work) == ("llama.cpp", "Q4_K_M", {"layers": 32})


def test_a_job_that_measured_nothing_teaches_nothing() -> None:
    assert observations(told([*owned("d"), *measured("j", 0, 0)])) == []
    unplanned = [one for one in measured("j", 0, 5) if one.event_type != "job_dispatched"]
    assert observations(told(owned("d") + unplanned)) == []


def test_a_job_of_many_lines_teaches_nothing() -> None:
    asked, *rest = measured("j", 0, 90_000)
    asked.payload["lines"] = 3
    assert observations(told([*owned("d"), asked, *rest])) == []


def test_only_the_newest_jobs_of_a_device_are_kept() -> None:
    events = [one for n in range(MOST_PER_DEVICE + 5) for one in measured(f"j{n}", 4 * n, n + 1)]
    seen = observations(told(owned("d") + events))
    assert [one.decode_mtps for one in seen] == list(range(6, MOST_PER_DEVICE + 6))


def test_scores_say_how_often_the_truth_lay_inside() -> None:
    events = measured("a", 0, 90_000) + measured("b", 4, 150_000) + measured("c", 8, 110_000, 2000)
    found = {score.what: score for score in scores(observations(told(owned("d") + events)))}
    assert set(found) == {"decode", "time"}
    assert found["decode"].count == 3
    assert round(found["decode"].inside_percent) == 67
    assert round(found["decode"].median_percent) == 10
    assert round(found["time"].inside_percent) == 67


def test_few_errors_are_not_flattered() -> None:
    """Of two jobs, one far off, the p90 is the far one and the median lies between."""
    events = measured("a", 0, 100_000) + measured("b", 4, 160_000)
    (decode, _) = scores(observations(told(owned("d") + events)))
    assert round(decode.p90_percent) == 60
    assert round(decode.median_percent) == 30
