"""What a device's own jobs say about its speed.

The logarithm of a job's measured over predicted time is taken for a Gaussian process: what each
constant of the model is off on this device, weighed by the constant's share of the predicted time,
plus what kernels of this kind, this model and this very run are off, plus noise. The prediction
moves by the mean that follows from the jobs, and its error bar shrinks with the variance; so two
jobs on an 8B model do not decide what a 70B one takes, and the same run again is nearly known.
The process is described in Rasmussen and Williams, Gaussian Processes for Machine Learning, ch. 2.
"""

from dataclasses import dataclass, replace
from math import exp, fsum, log, sqrt
from typing import final

from mathcore.band import Band
from mathcore.speed.bars import spread_of
from mathcore.speed.chip import Chip
from mathcore.speed.constants import NAMES, Rates, prompt_parts, rates_of, step_parts
from mathcore.speed.predict import Speed, prior_speed
from mathcore.speed.terms import Run, decode_terms, prefill_terms
from mathcore.speed.work import Work, scaled

DECODE, PREFILL = "decode", "prefill"
# Variances, in units of the class's own, of what each constant is off on one device, fitted to
# what helps on devices left out (docs/accuracy-speed.md). A constant not named is not learned.
FREEDOM: dict[str, dict[str, float]] = {
    DECODE: {
        "eta": 0.75,
        "kappa": 3.0,
        "busy": 3.75,
        "each": 3.75,
        "tau": 3.75,
        "latent": 3.75,
        "sparse": 0.25,
        "hop": 0.1,
        "link": 3.75,
        "mixed": 3.75,
        "host": 0.75,
    },
    PREFILL: {
        "eta": 0.05,
        "kappa": 0.5,
        "mfu": 0.5,
        "fill": 0.5,
        "scatter": 0.5,
        "attend": 1.25,
        "pass": 3.0,
        "hop": 0.6,
        "link": 0.6,
        "host": 0.5,
    },
}
# The same, of what a kind of kernels and one model's files are off.
KIND_VARIANCE: dict[str, float] = {DECODE: 0.025, PREFILL: 0.025}
MODEL_VARIANCE: dict[str, float] = {DECODE: 0.05, PREFILL: 0.2}
# What is left, as a share of the time: it is the same when the very same run is repeated ...
RUN_SD: dict[str, float] = {DECODE: 0.052, PREFILL: 0.14}
# ... but for this: the same llama.cpp build, model and prompt again, on public tables.
NOISE_SD = 0.03
# What one backend's kernels say about another's, and one kind's (4 bits, routed) about another's.
OTHER_BACKEND: dict[str, float] = {DECODE: 0.15, PREFILL: 0.6}
OTHER_KIND = 0.25
# A device whose jobs surprise is off by more than its class says (a power limit, a wrong entry):
# the class's variance grows by the surprise, as if it had been seen on this many devices.
DOUBT = 2.0
# Weights of 2 to 5, 6 to 9 and 16 bits run on kernels of their own.
BITS: tuple[float, ...] = (5.9, 12.0)
# What a model tells of larger ones, up to so many times its size: beyond, a cache may have held it.
SIZE_REACH = 16
# Lengths in the same step of a logarithm (a factor of 1.5) make it the same run.
LENGTH_STEP = log(1.5)
# A factor beyond this is a wrong device, a power limit or another process, not a speed.
LEAST_FACTOR, MOST_FACTOR = 0.2, 8.0
# Distinct runs one device is learned from: what is more would cost more than a plan.
RUNS_MOST = 24
# The normal distribution's 10th and 90th percentile lie this many standard deviations apart.
DECILES_SD = 2.563
# An error bar keeps at least this share of its width: clocks and other processes remain. Jobs that
# surprise may widen it, up to this.
NARROWEST, WIDEST = 0.25, 2.0


_ROOTS: dict[str, list[float]] = {
    what: [sqrt(freedom.get(name, 0.0)) for name in NAMES] for what, freedom in FREEDOM.items()
}


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
    load_s: float = 0.0  # seconds from the job's start until its prompts could be read


@final
class Evidence:
    """A run as the process compares it, and for a finished one how far off it was."""

    __slots__ = ("backend", "bytes", "count", "error", "key", "kind", "run", "shares", "twin")

    def __init__(
        self, what: str, chip: Chip, run: Run, work: Work, key: str, seconds: float
    ) -> None:
        rates = rates_of(chip, run)
        parts = _parts(what, chip, run, work, rates)
        whole = sum(parts)
        roots = _ROOTS[what]
        self.shares = [roots[i] * part / whole for i, part in enumerate(parts)]
        self.error = log(seconds / whole) if seconds > 0.0 else 0.0
        self.count = 1  # jobs it stands for
        self.key = key
        self.run = run
        self.bytes = work.total_bytes
        self.backend = "vulkan" in run.flags
        self.kind = (_step_of(BITS, run.bits), work.experts > 0)
        length = int(log(1.0 + (run.depth if what == DECODE else run.prompt)) / LENGTH_STEP)
        self.twin = (key, run.batch, run.devices, run.flags, length)  # what makes it the same run


def _step_of(edges: tuple[float, ...], value: float) -> int:
    """Between which edges a value lies. Steps, not distances: being alike must be transitive, or
    the covariances would be those of nothing."""
    return sum([1 for edge in edges if value >= edge])


def _parts(what: str, chip: Chip, run: Run, work: Work, rates: Rates) -> list[float]:
    if what == DECODE:
        return step_parts(decode_terms(chip, run, work), rates)
    return prompt_parts(prefill_terms(chip, run, work), rates)


def covariance(what: str, one: Evidence, other: Evidence, class_variance: float) -> float:
    """How much two runs' errors have in common; without the noise of measuring."""
    shared = 0.0
    for i, share in enumerate(one.shares):
        shared += share * other.shares[i]
    shared += KIND_VARIANCE[what] * (1.0 if one.kind == other.kind else OTHER_KIND)
    if one.key == other.key:
        shared += MODEL_VARIANCE[what]
    if one.backend != other.backend:
        shared *= OTHER_BACKEND[what]
    repeated = RUN_SD[what] ** 2 if one.twin == other.twin else 0.0
    return class_variance * shared + repeated


@final
class Lesson:
    """The jobs of one device and engine, and their covariance's Cholesky factor."""

    __slots__ = ("class_variance", "expected_variance", "jobs", "lower", "runs", "solved", "what")

    def __init__(self, what: str, class_variance: float, runs: list[Evidence]) -> None:
        self.what = what
        self.class_variance = class_variance
        self.expected_variance = class_variance  # before the jobs were seen
        self.runs = runs
        self.jobs = sum([one.count for one in runs])
        self.lower: list[list[float]] = []
        self.solved: list[float] = []
        self._factor()
        surprise = sum([value * value for value in self.solved])
        if surprise > len(runs):
            self.class_variance *= (DOUBT + surprise) / (DOUBT + len(runs))
            self._factor()

    def _factor(self) -> None:
        self.lower = []
        for i, one in enumerate(self.runs):
            noise = NOISE_SD**2 / one.count
            row = self._forward([self.common(one, self.runs[j]) for j in range(i)])
            own = self.common(one, one) + noise
            for value in row:
                own -= value * value
            row.append(sqrt(max(own, noise / 2.0)))
            self.lower.append(row)
        self.solved = self._forward([one.error for one in self.runs])

    def common(self, one: Evidence, other: Evidence) -> float:
        return covariance(self.what, one, other, self.class_variance)

    def _forward(self, values: list[float]) -> list[float]:
        """The triangular system solved, as far as rows are there."""
        out: list[float] = []
        for i, value in enumerate(values):
            row = self.lower[i]
            rest = value
            for j in range(i):
                rest -= row[j] * out[j]
            out.append(rest / row[i])
        return out

    def answer(self, asked: Evidence) -> tuple[float, float]:
        """(factor on the predicted time, share of the error bar that is left)."""
        if not self.runs:
            return 1.0, 1.0
        links = self._forward([self.common(asked, one) for one in self.runs])
        mean, known = 0.0, 0.0
        for link, solved in zip(links, self.solved, strict=True):
            mean += link * solved
            known += link * link
        left = self.common(asked, asked) + NOISE_SD**2 - known
        before = covariance(self.what, asked, asked, self.expected_variance) + NOISE_SD**2
        share = sqrt(max(0.0, left / before))
        moved = max(log(LEAST_FACTOR), min(log(MOST_FACTOR), mean))
        return exp(moved), max(NARROWEST, min(WIDEST, share))


def evidence_of(what: str, chip: Chip, engine: str, seen: list[Observation]) -> list[Evidence]:
    """The jobs of one engine, those of the very same run as one, whatever their order."""
    logs: dict[tuple[str, Run, Work], list[float]] = {}
    for job in seen:
        seconds = job.step_s if what == DECODE else job.first_s
        if job.run.engine == engine and seconds > 0.0:
            logs.setdefault((job.key, job.run, job.work), []).append(log(seconds))
    found: list[Evidence] = []
    for (key, run, work), times in logs.items():
        one = Evidence(what, chip, run, work, key, exp(fsum(times) / len(times)))
        one.count = len(times)
        found.append(one)
    found.sort(key=_order)
    return found[:RUNS_MOST]


def _order(one: Evidence) -> tuple[int, str, int, int, int, float]:
    """The most repeated first; the rest only makes it the same order every time."""
    run = one.run
    return (-one.count, one.key, run.batch, run.prompt, run.generated, one.error)


_LESSONS: dict[tuple[object, ...], tuple[list[Observation], Lesson]] = {}
LESSONS_MOST = 2048  # devices x engines x two; only bounds mistakes


def class_variance(low: float, high: float) -> float:
    """Of the logarithm of an error whose bar reaches from `low` to `high`."""
    return ((high - low) / DECILES_SD) ** 2


def lesson_of(what: str, chip: Chip, run: Run, work: Work, seen: list[Observation]) -> Lesson:
    """What `seen` teaches about an engine on this chip, worked out once for all questions."""
    low, high = spread_of(what, chip, run, work, offloaded=False)
    key = (
        id(seen),
        len(seen),
        what,
        chip.name,
        chip.device_class,
        chip.bandwidth,
        chip.flops,
        run.engine,
        low,
        high,
    )
    found = _LESSONS.get(key)
    if found is not None and found[0] is seen:
        return found[1]
    if len(_LESSONS) >= LESSONS_MOST:
        _LESSONS.clear()
    lesson = Lesson(what, class_variance(low, high), evidence_of(what, chip, run.engine, seen))
    _LESSONS[key] = (seen, lesson)
    return lesson


def is_measured(asked: Evidence, runs: list[Evidence]) -> bool:
    """Whether weights of its bits and about its size ran there: its kernels, from its memory."""
    for one in runs:
        if one.kind[0] == asked.kind[0] and asked.bytes <= SIZE_REACH * one.bytes:
            return True
    return False


def factor_of(
    what: str, chip: Chip, run: Run, work: Work, key: str, lesson: Lesson
) -> tuple[float, float]:
    """(factor on the predicted time, share of the error bar that is left).

    A type that never ran at about this size is held to the widest one that ran: the same model in
    fewer bits is corrected by no more than in those, in more bits by no less. So a few jobs of one
    small 16-bit model, which a processor's cache holds, never say that a large one gets slower by
    being quantised.
    """
    asked = Evidence(what, chip, run, work, key, 0.0)
    factor, share = lesson.answer(asked)
    if not lesson.runs or is_measured(asked, lesson.runs):
        return factor, share
    widest = lesson.runs[0].run
    for one in lesson.runs:
        if one.run.bits > widest.bits:
            widest = one.run
    like = replace(run, bits=widest.bits, flags=widest.flags)
    resized = scaled(work, work.total_bytes * widest.bits / run.bits)
    held, _ = lesson.answer(Evidence(what, chip, like, resized, "", 0.0))
    if run.bits < widest.bits:
        return min(factor, held), share
    return max(factor, held), share


def _scaled(band: Band, factor: float, share: float) -> Band:
    """The band moved, with its relative width to the power of `share`."""
    middle = band.p50 * factor
    return Band(
        p10=middle * (band.p10 / band.p50) ** share,
        p50=middle,
        p90=middle * (band.p90 / band.p50) ** share,
    )


def basis_of(jobs: int, prior: str, *, same: bool) -> str:
    """Where a figure comes from, in the words people are shown."""
    if jobs == 0:
        return prior
    many = "" if jobs == 1 else "s"
    return "measured" if same else f"learned from {jobs} job{many} on this device"


def learned_speed(chip: Chip, run: Run, work: Work, key: str, seen: list[Observation]) -> Speed:
    """The speed of a run on a device whose finished jobs are `seen`; the prior when there are none.

    The prompts have their own process; the whole request moves with both.
    """
    cold = prior_speed(chip, run, work)
    steps = lesson_of(DECODE, chip, run, work, seen)
    firsts = lesson_of(PREFILL, chip, run, work, seen)
    jobs = max(steps.jobs, firsts.jobs)
    if jobs == 0:
        return cold
    slower, share = factor_of(DECODE, chip, run, work, key, steps)
    later, part = factor_of(PREFILL, chip, run, work, key, firsts)
    before = cold.first_s.p50 + cold.step_s.p50 * run.generated
    after = cold.first_s.p50 * later + cold.step_s.p50 * slower * run.generated
    same = any([one.key == key for one in steps.runs])
    return Speed(
        step_s=_scaled(cold.step_s, slower, share),
        first_s=_scaled(cold.first_s, later, part),
        decode_tps=_scaled(cold.decode_tps, 1.0 / slower, share),
        prefill_tps=_scaled(cold.prefill_tps, 1.0 / later, part),
        total_tps=_scaled(cold.total_tps, before / after, share),
        terms=tuple([(cause, seconds * slower) for cause, seconds in cold.terms]),
        basis=basis_of(jobs, cold.basis, same=same),
    )
