"""What jobs measured beside what was predicted for them: from the ledger, so every peer learns it.

Signed facts hold whole numbers only, so rates are in thousandths of a token per second.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from mesh.state.answers import ended_jobs
from mesh.state.facts.fact import Payload
from mesh.state.facts.plan import Percentiles
from mesh.state.jobs import SUCCEEDED, JobView
from mesh.state.state import State

# A newer job says more than an older one, and a device has long been learned by then.
MOST_PER_DEVICE = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """One finished model job: rates of the whole batch, bands as (p10, p50, p90); 0 = not known."""

    job_id: str
    device_id: str
    device_model: str
    engine: str
    quant: str
    model: str
    batch: int
    prompt_tokens: int  # per sequence
    tokens: int  # generated per sequence
    ended_ms: int
    decode_mtps: int
    prefill_mtps: int
    duration_ms: int
    cost_nusd: int
    peak_memory_bytes: int
    predicted_decode_mtps: tuple[int, int, int]
    predicted_prefill_mtps: tuple[int, int, int]
    predicted_duration_ms: tuple[int, int, int]
    predicted_cost_nusd: tuple[int, int, int]
    predicted_bytes: int
    basis: str
    run: Payload  # as it was signed: RunFact and WorkFact, if a peer of ours wrote it
    work: Payload
    model_name: str  # as the model calls itself


def observations(state: State) -> list[Observed]:
    """Every kept job that measured a speed, oldest first, the newest of each device only."""
    seen: dict[str, int] = {}
    out: list[Observed] = []
    for job in reversed(ended_jobs(state)):
        if job.ended_by != state.owner(job.device_id) or job.members:
            continue  # only who owns a device can have measured it, and a gang measures no one
        found = observed(job, state.device_model(job.device_id))
        if found is None or seen.get(job.device_id, 0) >= MOST_PER_DEVICE:
            continue
        seen[job.device_id] = seen.get(job.device_id, 0) + 1
        out.append(found)
    out.reverse()
    return out


def observed(job: JobView, device_model: str) -> Observed | None:
    """The measurement in one job; None when it made none or nothing had been predicted."""
    if job.status != SUCCEEDED or job.plan is None or job.throughput_mtps <= 0:
        return None
    plan, asked = job.predicted, job.asked
    if asked.lines:  # of many lengths, in the order in which slots fell free: no plan is like it
        return None
    batch = asked.batch or 1
    return Observed(
        job_id=job.job_id,
        device_id=job.device_id,
        device_model=device_model,
        engine=plan.engine,
        quant=plan.quant,
        model=asked.model or "",
        batch=batch,
        prompt_tokens=job.prompt_tokens // batch,
        tokens=job.tokens_generated // batch,
        ended_ms=job.ended_ms,
        decode_mtps=job.throughput_mtps,
        prefill_mtps=job.prefill_mtps,
        duration_ms=job.duration_ms,
        cost_nusd=job.cost_nusd,
        peak_memory_bytes=job.peak_memory_bytes,
        predicted_decode_mtps=_band(plan.tokens_per_s_milli),
        predicted_prefill_mtps=_band(plan.prefill_tokens_per_s_milli),
        predicted_duration_ms=_band(plan.duration_ms),
        predicted_cost_nusd=_band(plan.cost_nusd),
        predicted_bytes=plan.footprint.total_bytes,
        basis=plan.basis,
        run=plan.run,
        work=plan.work,
        model_name=plan.model,
    )


def _band(found: Percentiles) -> tuple[int, int, int]:
    return (found.p10, found.p50, found.p90)


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """How predictions of one quantity did: errors are |actual / predicted - 1| in percent."""

    what: str
    count: int
    median_percent: float
    p90_percent: float
    inside_percent: float  # share of actuals between p10 and p90: 80 is calibrated


def scores(seen: list[Observed]) -> Iterator[Score]:
    """One row per quantity that was both predicted and measured at least once."""
    pairs = {
        "decode": [(o.predicted_decode_mtps, o.decode_mtps) for o in seen],
        "prefill": [(o.predicted_prefill_mtps, o.prefill_mtps) for o in seen],
        "time": [(o.predicted_duration_ms, o.duration_ms) for o in seen],
        "cost": [(o.predicted_cost_nusd, o.cost_nusd) for o in seen],
    }
    for what, rows in pairs.items():
        known = [(band, actual) for band, actual in rows if band[1] > 0 and actual > 0]
        if known:
            yield _score(what, known)


def _score(what: str, rows: list[tuple[tuple[int, int, int], int]]) -> Score:
    errors = sorted(abs(actual / band[1] - 1) * 100 for band, actual in rows)
    half = len(errors) // 2
    inside = sum(band[0] <= actual <= band[2] for band, actual in rows)
    return Score(
        what=what,
        count=len(rows),
        median_percent=(errors[-half - 1] + errors[half]) / 2,
        p90_percent=errors[(9 * len(errors) + 9) // 10 - 1],  # the least that covers nine in ten
        inside_percent=100 * inside / len(rows),
    )
