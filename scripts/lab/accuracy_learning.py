"""How the first jobs on a device correct its predictions, on devices left out of the fit."""

import random
import statistics
from collections import defaultdict
from copy import copy
from dataclasses import dataclass
from math import log, sqrt

from mathcore.speed.bars import spread_of
from mathcore.speed.evidence import DECODE, NOISE_SD, Evidence, covariance
from mathcore.speed.learning import DECILES_SD, class_variance
from mathcore.speed.lesson import Lesson
from scripts.lab.held_out import Held, percent, relative
from scripts.lab.speed_rows import chip_of_case, run_of

SEED = 7  # of the draw of observed jobs; any other gives the same to a percent
DRAWS = 20
ASKED = 40  # other jobs asked about per draw
LEAST_JOBS = 6  # of a device and engine, to say anything
LEAST_ASKED = 4  # beside those seen

Job = tuple[Held, Evidence]


def _variance(one: Held) -> float:
    """Of a device of its class that nobody measured."""
    chip, run = chip_of_case(one.case), run_of(one.case)
    assert chip is not None
    return class_variance(*spread_of(DECODE, chip, run, one.case.work, offloaded=False))


def _evidence(one: Held) -> Evidence:
    """A finished job as the process takes it, with the error of a fit without its device."""
    chip = chip_of_case(one.case)
    assert chip is not None
    key = f"{one.case.model} {one.case.work.total_bytes}"
    found = Evidence(DECODE, chip, run_of(one.case), one.case.work, key, 0.0)
    found.error = one.device_out
    return found


def _jobs(held: list[Held]) -> dict[tuple[str, str], list[Job]]:
    """Decode rows by (class, device and engine)."""
    out: dict[tuple[str, str], list[Job]] = defaultdict(list)
    for one in held:
        if one.what == DECODE and not one.case.speculative:
            served = ", server" if run_of(one.case).servers else ""
            place = f"{one.device} x{one.case.devices} {one.case.engine}"
            out[one.device_class + served, place].append((one, _evidence(one)))
    return {place: jobs for place, jobs in out.items() if len(jobs) >= LEAST_JOBS}


@dataclass(frozen=True, slots=True, kw_only=True)
class After:
    """What a device's other jobs were off, before and after some were seen, and how many of them
    lay in their bars, over several draws."""

    cold: float
    warm: float
    inside: float


def after_jobs(jobs: list[Job], count: int, draw: random.Random, poison: float = 0.0) -> After:
    """`poison` is what the first of the seen jobs is off beside, in logarithms."""
    cold: list[float] = []
    warm: list[float] = []
    inside: list[bool] = []
    variance = _variance(jobs[0][0])
    for _ in range(DRAWS):
        places = draw.sample(range(len(jobs)), count)
        shown = [copy(jobs[i][1]) for i in places]
        shown[0].error += poison
        lesson = Lesson(DECODE, variance, shown)
        rest = [i for i in range(len(jobs)) if i not in places]
        for i in draw.sample(rest, min(ASKED, len(rest))):
            asked, error = jobs[i][1], jobs[i][0].device_out
            factor, share = lesson.answer(asked)
            left = error - log(factor)
            cold.append(relative(error))
            warm.append(relative(left))
            own = covariance(DECODE, asked, asked, variance) + NOISE_SD**2
            inside.append(abs(left) <= share * sqrt(own) * DECILES_SD / 2.0)
    return After(
        cold=statistics.fmean(cold), warm=statistics.fmean(warm), inside=statistics.fmean(inside)
    )


def learning_table(held: list[Held]) -> list[str]:
    """Each device and engine counts once, whatever the number of its rows."""
    head = "| class | devices | jobs seen | cold | after | less by | inside p10–p90 |"
    lines = [head, "|---|---|---|---|---|---|---|"]
    draw = random.Random(SEED)
    for count in (1, 2, 4):
        groups: dict[str, list[After]] = defaultdict(list)
        for (device_class, _), jobs in sorted(_jobs(held).items()):
            found = after_jobs(jobs, count, draw)
            for name in (device_class, "all", "" if device_class == "cpu" else "all but cpu"):
                groups[name].append(found)
        groups.pop("", None)
        lines += [_line(name, count, groups[name]) for name in sorted(groups)]
    return lines


def _line(name: str, count: int, found: list[After]) -> str:
    cold, warm = [one.cold for one in found], [one.warm for one in found]
    less = 1 - statistics.fmean(warm) / statistics.fmean(cold)
    return (
        f"| {name} | {len(found)} | {count} | {percent(cold)} | {percent(warm)} | "
        f"{100 * less:.0f} % | {percent([one.inside for one in found])} |"
    )


POISONS = (("none", 0.0), ("three times slower", log(3.0)), ("three times faster", -log(3.0)))


def poison_table(held: list[Held]) -> list[str]:
    """The same when one of the jobs ran while others used the device, or says it was quicker."""
    head = "| jobs seen | one of them is | devices | cold | after | inside p10–p90 |"
    lines = [head, "|---|---|---|---|---|---|"]
    for count in (1, 2, 4, 8):
        for name, poison in POISONS:
            draw = random.Random(SEED)
            enough = [jobs for jobs in _jobs(held).values() if len(jobs) >= count + LEAST_ASKED]
            found = [after_jobs(jobs, count, draw, poison) for jobs in enough]
            lines.append(
                f"| {count} | {name} | {len(found)} | {percent([one.cold for one in found])} | "
                f"{percent([one.warm for one in found])} | "
                f"{percent([one.inside for one in found])} |"
            )
    return lines
