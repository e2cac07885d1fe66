"""What the planner knew of a job, as signed facts and back: so that every peer learns from it.

Signed bytes hold no floats, so those travel as decimal text (ADR 0001).
"""

from msgspec import UNSET

from mathcore.planner.estimate import flags_of, key_of
from mathcore.speed.learning import Observation
from mathcore.speed.terms import Run
from mathcore.speed.work import Work
from mesh.state.facts.fact import Payload, encode, exact
from mesh.state.facts.plan import KNOWLEDGE_VERSION, RunFact, WorkFact
from mesh.state.learning.observations import Observed, observations
from mesh.state.state import State

# A fact of another peer could claim any size; no model has more of anything than this.
MAX_NUMBER = 1 << 60
# No format has fewer per weight: the smallest there is takes 1.5.
LEAST_BITS = 0.5
UNREADABLE = float("nan")
UNKNOWN_SHARE = -1.0  # how an unknown share of offloaded weights is signed


def knowledge(run: Run, work: Work) -> dict[str, object]:
    """The `run` and `work` of a placement as facts for its `job_dispatched` event."""
    return {"run": encode(run_fact(run)), "work": encode(work_fact(work))}


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
    work = work_of(seen.work)
    run = run_of(
        {
            **seen.run,
            "engine": seen.engine,
            "batch": seen.batch,
            "prompt": seen.prompt_tokens,
            "generated": seen.tokens,
            "depth": repr(seen.prompt_tokens + seen.tokens / 2),
        },
        seen.quant,
    )
    if work is None or run is None or not _could_be(work, run):
        return None
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


# The speed model's fields beside the signed ones, by hand: a field renamed there is mended here,
# and no ledger notices. One added there needs a new version of the facts, or is not signed.


def run_fact(run: Run) -> RunFact:
    """A run as it is signed; its flags follow from the weights and are not."""
    return RunFact(
        engine=run.engine,
        devices=run.devices,
        split=run.split,
        batch=run.batch,
        prompt=run.prompt,
        generated=run.generated,
        depth=repr(run.depth),
        bits=repr(run.bits),
        kv_scale=repr(run.kv_scale),
        replicas=run.replicas,
        mixed=run.mixed,
        away=repr(UNKNOWN_SHARE if run.offloaded_share is None else run.offloaded_share),
        ram_bandwidth=repr(run.ram_bandwidth),
    )


def run_of(payload: Payload, quant: str) -> Run | None:
    """The run that was signed; None unless every field has its type and a sane size."""
    fact = exact(RunFact, payload)
    if fact is None or "flags" in payload or not _known(fact.v):
        return None
    bits, away = _number(fact.bits), _number(fact.away)
    run = Run(
        engine=fact.engine,
        devices=fact.devices,
        split=fact.split,
        batch=fact.batch,
        prompt=fact.prompt,
        generated=fact.generated,
        depth=_number(fact.depth),
        bits=bits,
        kv_scale=_number(fact.kv_scale),
        replicas=fact.replicas,
        mixed=fact.mixed,
        offloaded_share=None if away < 0 else away,
        ram_bandwidth=_number(fact.ram_bandwidth),
        flags=flags_of(fact.engine, quant, bits),
    )
    numbers = (run.devices, run.batch, run.prompt, run.generated, run.replicas)
    fractions = (run.depth, run.bits, run.kv_scale, away, run.ram_bandwidth)
    return run if _sane(*numbers, *fractions) else None


def work_fact(work: Work) -> WorkFact:
    """A model's work as it is signed."""
    return WorkFact(
        layers=work.layers,
        hidden=work.hidden,
        total_bytes=work.total_bytes,
        dense_bytes=work.dense_bytes,
        active=work.active,
        expert_bytes=work.expert_bytes,
        experts=work.experts,
        experts_used=work.experts_used,
        sparse_layers=work.sparse_layers,
        latent_layers=work.latent_layers,
        kv_width=work.kv_width,
        window_width=work.window_width,
        window=work.window,
        state_bytes=work.state_bytes,
        query_width=work.query_width,
        window_query_width=work.window_query_width,
        basis=work.basis,
    )


def work_of(payload: Payload) -> Work | None:
    """The work that was signed; None unless every field has its type and a sane size."""
    fact = exact(WorkFact, payload)
    if fact is None or not _known(fact.v):
        return None
    numbers = [value for value in encode(fact).values() if isinstance(value, int)]
    if not _sane(*numbers):
        return None
    return Work(
        layers=fact.layers,
        hidden=fact.hidden,
        total_bytes=fact.total_bytes,
        dense_bytes=fact.dense_bytes,
        active=fact.active,
        expert_bytes=fact.expert_bytes,
        experts=fact.experts,
        experts_used=fact.experts_used,
        sparse_layers=fact.sparse_layers,
        latent_layers=fact.latent_layers,
        kv_width=fact.kv_width,
        window_width=fact.window_width,
        window=fact.window,
        state_bytes=fact.state_bytes,
        query_width=fact.query_width,
        window_query_width=fact.window_query_width,
        basis=fact.basis,
    )


def _known(version: object) -> bool:
    """Whether facts of this version mean what these structs say."""
    return version in (UNSET, KNOWLEDGE_VERSION)


def _could_be(work: Work, run: Run) -> bool:
    """Whether a model could be so and run so: of another, the speed model can say no time."""
    whole = work.experts_used <= work.experts or not work.experts
    return (
        whole
        and min(work.active, work.weight_bytes(), run.devices, run.replicas) > 0
        and min(run.depth, run.kv_scale) >= 0
        and run.bits >= LEAST_BITS
        and (run.offloaded_share is None or run.offloaded_share <= 1)
        and (run.ram_bandwidth == 0 or run.ram_bandwidth >= 1)
    )


def _sane(*numbers: float) -> bool:
    """Run.away is -1 where nobody knows it; nan compares with nothing."""
    return all(-1 <= one <= MAX_NUMBER for one in numbers)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return UNREADABLE
