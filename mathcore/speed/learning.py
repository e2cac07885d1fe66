"""What a device's own jobs say about its speed: which of them count, and what they change.

`evidence` says what runs have in common, `lesson` what follows from the jobs of one device.
"""

from dataclasses import dataclass, replace
from math import exp, log
from typing import final

from mathcore.band import Band
from mathcore.speed.bars import spread_of
from mathcore.speed.chip import Chip
from mathcore.speed.evidence import DECODE, PREFILL, Evidence
from mathcore.speed.lesson import Lesson, median
from mathcore.speed.predict import Speed, prior_speed
from mathcore.speed.sanity import is_impossible, is_toy
from mathcore.speed.terms import Run
from mathcore.speed.work import Work, scaled

# What a model tells of larger ones, up to so many times its size: beyond, a cache may have held it.
SIZE_REACH = 16
# Distinct runs one device is learned from: what is more would cost more than a plan.
RUNS_MOST = 24
# The normal distribution's 10th and 90th percentile lie this many standard deviations apart.
DECILES_SD = 2.563


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


def counts(chip: Chip, job: Observation, *, toy: bool) -> bool:
    """Whether a job says something of such models: toys only of toys, for caches hold them, and
    what is faster than memory allows of none."""
    if is_toy(job.work) != toy:
        return False
    return not is_impossible(chip, job.run, job.work, job.step_s)


def evidence_of(
    what: str, chip: Chip, engine: str, seen: list[Observation], *, toy: bool = False
) -> list[Evidence]:
    """The jobs of one engine, those of the very same run as one, whatever their order."""
    logs: dict[tuple[str, Run, Work], list[float]] = {}
    for job in seen:
        seconds = job.step_s if what == DECODE else job.first_s
        if job.run.engine == engine and seconds > 0.0 and counts(chip, job, toy=toy):
            logs.setdefault((job.key, job.run, job.work), []).append(log(seconds))
    found: list[Evidence] = []
    for (key, run, work), times in logs.items():
        one = Evidence(what, chip, run, work, key, exp(median(times)))
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
    toy = is_toy(work)
    key = (
        id(seen),
        len(seen),
        what,
        chip.name,
        chip.device_class,
        chip.bandwidth,
        chip.flops,
        run.engine,
        toy,
        low,
        high,
    )
    found = _LESSONS.get(key)
    if found is not None and found[0] is seen:
        return found[1]
    if len(_LESSONS) >= LESSONS_MOST:
        _LESSONS.clear()
    runs = evidence_of(what, chip, run.engine, seen, toy=toy)
    lesson = Lesson(what, class_variance(low, high), runs)
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
