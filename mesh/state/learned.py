"""What the planner knew of a job, as signed facts and back: so that every peer learns from it.

Signed bytes hold no floats, so those travel as decimal text (ADR 0001).
"""

from dataclasses import fields, replace
from typing import Any

from mathcore.planner.estimate import flags_of, key_of
from mathcore.speed.learning import Observation
from mathcore.speed.terms import Run
from mathcore.speed.work import Work
from mesh.state.fleet import Payload
from mesh.state.fold import State
from mesh.state.observations import Observed, observations

# A fact of another peer could claim any size; no model has more of anything than this.
MOST = 1 << 60


def knowledge(run: Run, work: Work) -> dict[str, object]:
    """The `run` and `work` of a placement as facts for its `job_dispatched` event."""
    return {"run": _facts(run), "work": _facts(work)}


def _facts(value: Run | Work) -> Payload:
    out: Payload = {}
    for one in fields(value):
        part = getattr(value, one.name)
        out[one.name] = repr(part) if isinstance(part, float) else part
    out.pop("flags", None)
    return out


def learned_from(state: State) -> dict[str, list[Observation]]:
    """Every finished job's measurement by device id, oldest first."""
    out: dict[str, list[Observation]] = {}
    for seen in observations(state):
        found = observation(seen)
        if found is not None:
            out.setdefault(seen.device_id, []).append(found)
    return out


def observation(seen: Observed) -> Observation | None:
    """One job as the speed model learns it; None where its facts cannot be read."""
    work = _read(Work, seen.work)
    run = _read(
        Run,
        {
            **seen.run,
            "engine": seen.engine,
            "batch": seen.batch,
            "prompt": seen.prompt_tokens,
            "generated": seen.tokens,
            "depth": repr(seen.prompt_tokens + seen.tokens / 2),
        },
    )
    if work is None or run is None:
        return None
    run = replace(run, flags=flags_of(run.engine, seen.quant, run.bits))
    prompts = seen.prompt_tokens * seen.batch
    return Observation(
        device=seen.device_id,
        key=key_of(seen.model_name, seen.quant),
        run=run,
        work=work,
        step_s=1000 * seen.batch / seen.decode_mtps,
        first_s=1000 * prompts / seen.prefill_mtps if seen.prefill_mtps and prompts else 0.0,
        load_s=_load_s(seen),
    )


def _load_s(seen: Observed) -> float:
    """What is left of a job's time beside its prompts and its answer; 0 where one is not known."""
    if seen.prompt_tokens and not seen.prefill_mtps:
        return 0.0
    read = 1000 * seen.prompt_tokens * seen.batch / (seen.prefill_mtps or 1)
    wrote = 1000 * seen.tokens * seen.batch / seen.decode_mtps
    return max(0.0, seen.duration_ms / 1000 - read - wrote)


def _read(kind: type[Any], facts: Payload) -> Any:
    """The struct of these facts; None unless every field has its type and a sane size."""
    given: dict[str, object] = {}
    for one in fields(kind):
        if one.name not in facts:
            continue
        value = _number(facts[one.name]) if one.type is float else facts[one.name]
        if type(value) is not one.type:
            return None
        # Run.away is -1 where nobody knows it.
        if isinstance(value, int | float) and not -1 <= value <= MOST:
            return None
        given[one.name] = value
    try:
        return kind(**given)
    except TypeError:  # a field without a default is missing
        return None


def _number(text: object) -> float | None:
    try:
        return float(text) if isinstance(text, str) else None
    except ValueError:
        return None
