"""How the first jobs on a device correct its predictions, on devices left out of the fit."""

import random
import statistics
from collections import defaultdict
from math import log

from mathcore.speed.bars import spread_key
from mathcore.speed.learning import DECODE, Evidence, Lesson, class_variance
from mathcore.speed.priors import SPREADS
from scripts.lab.held_out import Held, percent, relative
from scripts.lab.speed_rows import chip_of_case, run_of

SEED = 7  # of the draw of observed jobs; any other gives the same to a percent
DRAWS = 20
ASKED = 40  # other jobs asked about per draw
LEAST_JOBS = 6  # of a device and engine, to say anything

Job = tuple[Held, Evidence]


def _variance(one: Held) -> float:
    """Of a device of its class that nobody measured."""
    chip, run = chip_of_case(one.case), run_of(one.case)
    assert chip is not None
    for key in spread_key(DECODE, chip, run, one.case.work, offloaded=False, seen=False):
        if key in SPREADS:
            return class_variance(*SPREADS[key])
    return 1.0


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


def learned_errors(jobs: list[Job], count: int, draw: random.Random) -> tuple[float, float]:
    """(cold, after `count` jobs) mean errors on the device's other jobs, over several draws."""
    cold: list[float] = []
    warm: list[float] = []
    variance = _variance(jobs[0][0])
    for _ in range(DRAWS):
        seen = set(draw.sample(range(len(jobs)), count))
        lesson = Lesson(DECODE, variance, [jobs[i][1] for i in sorted(seen)])
        rest = [i for i in range(len(jobs)) if i not in seen]
        for i in draw.sample(rest, min(ASKED, len(rest))):
            factor, _ = lesson.answer(jobs[i][1])
            error = jobs[i][0].device_out
            cold.append(relative(error))
            warm.append(relative(error - log(factor)))
    return statistics.fmean(cold), statistics.fmean(warm)


def learning_table(held: list[Held]) -> list[str]:
    """Each device and engine counts once, whatever the number of its rows."""
    head = "| class | devices | jobs seen | cold | after | less by |"
    lines = [head, "|---|---|---|---|---|---|"]
    draw = random.Random(SEED)
    for count in (1, 2, 4):
        groups: dict[str, list[tuple[float, float]]] = defaultdict(list)
        for (device_class, _), jobs in sorted(_jobs(held).items()):
            found = learned_errors(jobs, count, draw)
            for name in (device_class, "all", "" if device_class == "cpu" else "all but cpu"):
                groups[name].append(found)
        groups.pop("", None)
        lines += [_line(name, count, groups[name]) for name in sorted(groups)]
    return lines


def _line(name: str, count: int, pairs: list[tuple[float, float]]) -> str:
    cold, warm = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    less = 1 - statistics.fmean(warm) / statistics.fmean(cold)
    return (
        f"| {name} | {len(pairs)} | {count} | {percent(cold)} | {percent(warm)} | "
        f"{100 * less:.0f} % |"
    )
