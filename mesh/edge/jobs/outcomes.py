"""Outcomes as event payloads: integers and decimal text only, since signed bytes hold no floats."""

import signal
from collections.abc import Mapping, Sequence

from msgspec.structs import asdict

from mesh.state.attempts import INTERRUPTED
from mesh.state.facts.fact import encode
from mesh.state.facts.job import JobCompleted, RunFailed, RunStopped
from mesh.state.facts.plan import MemberFact
from mesh.state.jobs import JobView
from providers.base import Outcome

Fact = dict[str, object]
# A sentence of ours and, of a plan, a line for each of eight devices.
MAX_TEXT_CHARS = 2000
# Terms that a plan's fact states where there are any; before 0.2 there were none.
BESIDE_TERMS = ("projector_bytes", "draft_bytes", "adapter_bytes")
MEMORY_TERMS = ("weights_bytes", "kv_bytes", "compute_bytes", "state_bytes")
# What the fleet is told of an attempt that failed. Its last words may quote a prompt, a key or a
# path, so they stay in result.json.
WHY = {
    "oom": "out of memory",
    "setup": "it cannot run here",
    "lost": "its supervisor vanished before it could write a result",
    INTERRUPTED: "its rented machine was taken away",
    "cancelled": "it gave way to its machine's owner, or to another job",
}


def decimal(value: int, places: int) -> str:
    """`value` / 10**places as exact decimal text: decimal(118204, 3) == "118.204"."""
    whole, part = divmod(value, 10**places)
    return f"{whole}.{part:0{places}d}"


# Shown beside a plan and not signed: they follow from the rest of it and from published tables.
NOT_SIGNED = frozenset({"engine_log", "quality_band", "quality_usual"})


# What is signed of a set's members: what each gives. The rest is in the plan and in its device.
OF_MEMBERS = frozenset(MemberFact.__struct_encode_fields__)


def plan_fact(placement: Fact) -> Fact:
    """A placement's JSON with each float as an integer in thousandths, its key ending in _milli."""
    fact: Fact = {}
    for key, value in placement.items():
        if key in NOT_SIGNED:
            continue
        if isinstance(value, dict) and any(isinstance(x, float) for x in value.values()):
            fact[f"{key}_milli"] = {k: round(float(x) * 1000) for k, x in value.items()}
        elif isinstance(value, float):
            fact[f"{key}_milli"] = round(value * 1000)
        elif key == "members" and isinstance(value, list):
            fact[key] = [{k: x for k, x in one.items() if k in OF_MEMBERS} for one in value]
        elif key == "footprint" and isinstance(value, dict):
            fact[key] = {k: x for k, x in value.items() if x or k not in BESIDE_TERMS}
        else:
            fact[key] = value
    return fact


def why(outcome: Outcome) -> str:
    """How an attempt failed, for every peer: its reason and its exit code, never its words."""
    code = outcome.exit_code
    if outcome.reason == "signal" and -code in set(signal.Signals):
        return f"killed by {signal.Signals(-code).name}"
    return WHY.get(outcome.reason, f"exit code {code}")


def _terms(memory: Mapping[str, object]) -> Fact:
    """The terms of an engine's memory, and nothing else that its file says."""
    found = {name: memory.get(name) for name in MEMORY_TERMS}
    return {name: value for name, value in found.items() if type(value) is int}


def taken_away(now_ms: int, ran_ms: int) -> Outcome:
    """How an attempt ended whose machine was taken away: what it did is lost."""
    return Outcome(
        exit_code=0,
        started_ms=now_ms - ran_ms,
        ended_ms=now_ms,
        duration_ms=ran_ms,
        peak_memory_bytes=0,
        tokens_generated=0,
        prompt_tokens=0,
        decode_mtps=0,
        prefill_mtps=0,
        engine_memory={},
        reason=INTERRUPTED,
        text="",
    )


def ended_fact(
    job: JobView,
    outcome: Outcome,
    costs_nusd: Sequence[int],
    attempt: int,
    *,
    energy: tuple[int | None, str] = (None, ""),
    superfluous: bool = False,
) -> tuple[str, Fact]:
    """The event type and payload that end this attempt. `costs_nusd` are of each device it had;
    `energy` in mJ, and what it rests on."""
    cost_nusd = sum(costs_nusd)
    run = RunStopped(
        job_id=job.job_id,
        attempt=attempt,
        actual_duration_ms=outcome.duration_ms,
        actual_duration_s=decimal(outcome.duration_ms, 3),
        actual_cost_nusd=cost_nusd,
        actual_cost=decimal(cost_nusd, 9),
        cost_basis="estimated",
        peak_memory_bytes=outcome.peak_memory_bytes,
        exit_code=outcome.exit_code,
        energy_mj=energy[0] or 0,
        energy_basis=energy[1] if energy[0] else "",
        paused_ms=outcome.paused_ms,
        costs_nusd=tuple(costs_nusd) if len(costs_nusd) > 1 else (),
    )
    if outcome.reason != "ok" and (job.cancel_asked or superfluous):
        return "job_cancelled", encode(run)
    if outcome.reason != "ok":
        # Ended, and neither its home nor another attempt wanted that: it gave way.
        reason = INTERRUPTED if outcome.reason == "cancelled" else outcome.reason
        failed = RunFailed(**asdict(run), reason=reason, text=why(outcome))
        return "job_failed", encode(failed)
    completed = JobCompleted(
        **asdict(run),
        tokens_generated=outcome.tokens_generated,
        prompt_tokens=outcome.prompt_tokens,
        throughput_mtps=outcome.decode_mtps,
        throughput=decimal(outcome.decode_mtps, 3),
        prefill_mtps=outcome.prefill_mtps,
        engine_memory=_terms(outcome.engine_memory),
    )
    return "job_completed", encode(completed)
