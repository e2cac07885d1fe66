"""What a device's own jobs say about its speed: the prior moved as far as they justify.

Three factors per device and engine: on what grows with bytes and operations (1/eta), on what is
spent per layer (tau) and on prompts (1/mfu). Each is fitted by least squares of relative errors
with a ridge towards the prior, never refitted freely: two jobs on an 8B model must not decide what
a 70B one takes.
"""

from dataclasses import dataclass
from math import exp, log
from typing import final

from mathcore.chip import Chip
from mathcore.interval import Band
from mathcore.speed import Rates, Speed, predict, prompt_s, rates_of, step_s
from mathcore.terms import Run, decode_terms, prefill_terms
from mathcore.work import Work

# How many jobs the prior is worth, per factor: between 0.05 and 0.4 the error left on a device's
# other models hardly depends on it (scripts/accuracy speed-report).
RIDGE = 0.2
# A job at other weights' precision says less about this one's kernels.
OTHER_BITS_WEIGHT = 0.4
# Routed experts are other kernels than dense layers.
OTHER_KIND_WEIGHT = 0.4
# Weights within this ratio run on the same kernels: 4-bit, 8-bit, 16-bit.
SAME_BITS = 1.5
# A factor beyond this is a wrong device, a power limit or another process, not a speed.
LEAST_FACTOR, MOST_FACTOR = 0.2, 8.0
# The error that remains: p90 of |error| fell to 0.75-0.9 of the cold one after one job.
LEARNED_ERROR, MEASURED_ERROR = 0.75, 0.35


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """One finished job; 0 = not measured. `key` names model and quantisation."""

    device: str
    key: str
    run: Run
    work: Work
    step_s: float = 0.0  # seconds per decode step
    first_s: float = 0.0  # seconds for all prompts


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Learned:
    """Factors on the prior's seconds, and how many jobs stand behind them."""

    moved: float = 1.0
    layers: float = 1.0
    prompts: float = 1.0
    jobs: int = 0
    prompt_jobs: int = 0
    same: bool = False  # one of them ran this very model and quantisation


NOTHING = Learned()


def _bounded(factor: float) -> float:
    return max(LEAST_FACTOR, min(MOST_FACTOR, factor))


def _split(chip: Chip, run: Run, work: Work, rates: Rates) -> tuple[float, float]:
    """Seconds of a step by the prior: (with bytes and operations, per layer and sequence)."""
    terms = decode_terms(chip, run, work)
    whole = step_s(terms, rates)
    fixed = (
        terms.layers * rates.tau_s
        + terms.sparse * rates.sparse_s
        + terms.latent * rates.latent_s
        + terms.hops * rates.hop_s
        + terms.sequences * rates.each_s
    )
    return whole - fixed, fixed


def kinship(run: Run, work: Work, other: Run, seen: Work) -> float:
    """How much a job of `seen` says about `work`: 1 for the same kernels."""
    low, high = min(run.bits, other.bits), max(run.bits, other.bits)
    weight = 1.0 if low > 0.0 and high / low <= SAME_BITS else OTHER_BITS_WEIGHT
    return weight if (work.experts > 0) == (seen.experts > 0) else weight * OTHER_KIND_WEIGHT


def ridge(jobs: list[tuple[float, float, float]]) -> tuple[float, float]:
    """(factor on bytes, factor per layer) of jobs given as (a, b, weight).

    a and b are the prior's seconds over the measured ones: a x moved + b x layers should be 1.
    Errors are relative to the geometric mean of both, so that a device three times slower than its
    class is learned as readily as one three times faster.
    """
    aa, ab, bb, at, bt = RIDGE, 0.0, RIDGE, RIDGE, RIDGE
    for a, b, weight in jobs:
        share = weight / (a + b)
        aa, ab, bb = aa + share * a * a, ab + share * a * b, bb + share * b * b
        at, bt = at + share * a, bt + share * b
    scale = aa * bb - ab * ab  # at least RIDGE squared
    return _bounded((at * bb - bt * ab) / scale), _bounded((bt * aa - at * ab) / scale)


def learn(chip: Chip, run: Run, work: Work, key: str, seen: list[Observation]) -> Learned:
    """What `seen` (jobs of one device) says about `run`; jobs of other engines are left out."""
    top, bottom = RIDGE, RIDGE
    steps: list[tuple[float, float, float]] = []
    prompts, same = 0, False
    for job in seen:
        if job.run.engine != run.engine:
            continue
        rates, weight = rates_of(chip, job.run), kinship(run, work, job.run, job.work)
        if job.step_s > 0.0:
            moved, fixed = _split(chip, job.run, job.work, rates)
            steps.append((moved / job.step_s, fixed / job.step_s, weight))
            same = same or job.key == key
        if job.first_s > 0.0:
            share = prompt_s(prefill_terms(chip, job.run, job.work), rates) / job.first_s
            top, bottom = top + weight, bottom + weight * share
            prompts += 1
    if not steps:
        return Learned(prompts=_bounded(top / bottom), prompt_jobs=prompts)
    bytes_factor, layers_factor = ridge(steps)
    return Learned(
        moved=bytes_factor, layers=layers_factor, prompts=_bounded(top / bottom),
        jobs=len(steps), prompt_jobs=prompts, same=same,
    )  # fmt: skip


# Jobs of the very same model and quantisation: how many the learned rates are worth beside them.
SAME_RIDGE = 0.25


def measured_factor(
    chip: Chip, rates: Rates, key: str, engine: str, seen: list[Observation]
) -> float:
    """What the learned rates miss of this very model, from the jobs that ran it."""
    total, jobs = 0.0, 0
    for job in seen:
        if job.key == key and job.run.engine == engine and job.step_s > 0.0:
            total += log(job.step_s / step_s(decode_terms(chip, job.run, job.work), rates))
            jobs += 1
    return _bounded(exp(total / (jobs + SAME_RIDGE)))


def applied(rates: Rates, learned: Learned) -> Rates:
    """The prior's rates with the factors applied."""
    return Rates(
        eta=rates.eta / learned.moved, kappa=rates.kappa, busy=rates.busy / learned.moved,
        tau_s=rates.tau_s * learned.layers, sparse_s=rates.sparse_s * learned.layers,
        latent_s=rates.latent_s * learned.layers, hop_s=rates.hop_s * learned.layers,
        link=rates.link / learned.moved, each_s=rates.each_s * learned.layers,
        mixed=rates.mixed / learned.moved, mfu=rates.mfu, attend=rates.attend,
        pass_s=rates.pass_s, host=rates.host / learned.moved,
    )  # fmt: skip


def _narrowed(band: Band, share: float) -> Band:
    """The band around the same middle with its relative width to the power of `share`."""
    return Band(
        p10=band.p50 * (band.p10 / band.p50) ** share,
        p50=band.p50,
        p90=band.p50 * (band.p90 / band.p50) ** share,
    )


def basis_of(learned: Learned, prior: str) -> str:
    """Where a figure comes from, in the words people are shown."""
    if learned.same:
        return "measured"
    jobs = max(learned.jobs, learned.prompt_jobs)
    if jobs == 0:
        return prior
    return f"learned from {jobs} job{'' if jobs == 1 else 's'} on this device"


def learned_speed(chip: Chip, run: Run, work: Work, key: str, seen: list[Observation]) -> Speed:
    """The speed of a run on a device whose finished jobs are `seen`; the prior when there are none.

    The prompt's time has its own rates, so it is scaled whole.
    """
    learned = learn(chip, run, work, key, seen)
    name = chip.klass if chip.known else f"{chip.klass}, device not in the catalogue"
    rates = rates_of(chip, run)
    cold = predict(chip, run, work, rates, basis_of(learned, f"prior: {name}"))
    if learned.jobs == 0 and learned.prompt_jobs == 0:
        return cold
    better = applied(rates, learned)
    warm = predict(chip, run, work, better, cold.basis)
    miss = measured_factor(chip, better, key, run.engine, seen) if learned.same else 1.0
    share = MEASURED_ERROR if learned.same else LEARNED_ERROR
    step_share = share if learned.jobs else 1.0
    prompt_share = share if learned.prompt_jobs else 1.0
    before = cold.first_s.p50 + cold.step_s.p50 * run.generated
    after = cold.first_s.p50 * learned.prompts + warm.step_s.p50 * miss * run.generated
    return Speed(
        step_s=_narrowed(_times(warm.step_s, miss), step_share),
        first_s=_narrowed(_times(cold.first_s, learned.prompts), prompt_share),
        decode_tps=_narrowed(_times(warm.decode_tps, 1.0 / miss), step_share),
        prefill_tps=_narrowed(_times(cold.prefill_tps, 1.0 / learned.prompts), prompt_share),
        total_tps=_narrowed(_times(cold.total_tps, before / after), step_share),
        terms=warm.terms, basis=cold.basis,
    )  # fmt: skip


def _times(band: Band, factor: float) -> Band:
    return Band(p10=band.p10 * factor, p50=band.p50 * factor, p90=band.p90 * factor)
