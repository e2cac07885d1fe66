"""How wide an error bar must be: between devices, between setups on one, between rows of one setup.

A setup (cluster) is a source, an engine with its flags, and a model. Each of the three variances is
a class's own, as far as it has devices, setups and rows, else the classes' geometric mean, which
counts as much as POOLED devices of its own. The bar is Student's, with as many degrees of freedom:
few devices say little of the next one. It lies half-way (in logarithms) between what a new device
needs and what a new model needs, where that is more; nothing but jobs narrows it.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from math import exp, isnan, log, nan, sqrt
from statistics import fmean, median, variance

import numpy as np
from numpy.typing import NDArray

from mathcore.speed.bars import NOBODY_KNOWS, fallbacks, kind_of, place_of, spread_keys
from mathcore.speed.chip import Chip
from mathcore.speed.terms import decode_terms
from scripts.lab.fit_model import Fact
from scripts.lab.speed_rows import Case, broken, chip_of_case, run_of

POOLED = 2.0  # devices the classes together count for in one of them
MOST_MEAN = 0.5  # how far off one device may say its class is, in logarithms
SD_OF_MAD = 1.4826  # a normal distribution's, by its median absolute deviation
LEAST_SD = 0.03  # closer than this no two measurements are
CUT_SDS, DEVICE_CUT_SDS = 2.5, 3.0  # beyond, an error counts as if it lay there
# Where no class says anything: variances of devices, of setups, of rows.
UNKNOWN = (0.03, 0.02, 0.01)
LEAST_VARIANCE = 1e-4
LEAST_SIDE, MOST_SIDE = 0.03, 3.0  # of an error bar, in logarithms
# Student's t at the 90th percentile by degrees of freedom; beyond ten the normal's with a term.
T_90: tuple[float, ...] = (
    3.078, 1.886, 1.638, 1.533, 1.476, 1.440, 1.415, 1.397, 1.383, 1.372,
)  # fmt: skip
Z_90 = 1.2816


@dataclass(frozen=True, slots=True, kw_only=True)
class Miss:
    """What one row was off, by a fit without its device and by one without its model."""

    what: str
    kind: str  # "known", "reported", "rough" or "spilled"
    place: str  # the class, of servers with the engine
    device: str
    setup: str
    model: str
    device_out: float
    model_out: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """A group's devices, and its variances between setups and between rows; nan = too few."""

    devices: list[float]
    setups: float
    setup_count: int  # degrees of freedom of it
    rows: float


Named = list[tuple[str, str, float]]  # (device, setup, error)


def student(degrees: float) -> float:
    """Student's t at the 90th percentile."""
    if degrees <= 10.0:
        low = max(1, int(degrees))
        high = min(low + 1, 10)
        return T_90[low - 1] + (degrees - low) * (T_90[high - 1] - T_90[low - 1])
    return Z_90 + (Z_90**3 + Z_90) / (4.0 * degrees)


def robust(errors: list[float], cut: float = CUT_SDS) -> float:
    """Their mean square, far ones counted as if they lay at `cut` standard deviations."""
    most = cut * max(SD_OF_MAD * median([abs(one) for one in errors]), LEAST_SD)
    return fmean([min(abs(one), most) ** 2 for one in errors])


def spread(rows: Named) -> Spread:
    """Medians of setups, of devices by their setups, and what is left."""
    setups: defaultdict[tuple[str, str], list[float]] = defaultdict(list)
    for device, setup, error in rows:
        setups[device, setup].append(error)
    middles = {key: median(errors) for key, errors in setups.items()}
    devices: defaultdict[str, list[float]] = defaultdict(list)
    for (device, _), middle in middles.items():
        devices[device].append(middle)
    apart = [one - fmean(own) for own in devices.values() for one in own]
    free = len(middles) - len(devices)
    left = [error - middles[device, setup] for device, setup, error in rows]
    return Spread(
        devices=[median(own) for own in devices.values()],
        setups=robust(apart) * len(middles) / free if free > 2 else nan,
        setup_count=free if free > 2 else 0,
        rows=robust(left) if len(left) > 5 else nan,
    )


def pooled(spreads: Iterable[Spread]) -> tuple[float, float, float]:
    """What the classes say of the next one: geometric means of the three variances."""
    between, within, rows = [], [], []
    for one in spreads:
        if len(one.devices) > 2:
            between.append(variance(one.devices))
        if not isnan(one.setups):
            within.append(one.setups)
        if not isnan(one.rows):
            rows.append(one.rows)
    means = [
        exp(fmean([log(max(LEAST_VARIANCE, v)) for v in values])) if values else usual
        for values, usual in zip((between, within, rows), UNKNOWN, strict=True)
    ]
    return means[0], means[1], means[2]


def half_width(own: Spread, pool: tuple[float, float, float]) -> tuple[float, float]:
    """(middle, half) of the bar in which four of five rows of another device lie."""
    count = len(own.devices)
    middle = sum(max(-MOST_MEAN, min(MOST_MEAN, one)) for one in own.devices) / (count + 1)
    off = [one - middle for one in own.devices]
    most = DEVICE_CUT_SDS * sqrt(robust(off)) if off else 0.0
    squares = sum(min(abs(one), most) ** 2 for one in off)
    between = (POOLED * pool[0] + squares) / (POOLED + max(count - 1, 0))
    within = pool[1]
    if own.setup_count:
        within = (POOLED * pool[1] + own.setup_count * own.setups) / (POOLED + own.setup_count)
    rows = pool[2] if isnan(own.rows) else own.rows
    if count == 0:  # nor does anybody know how far apart its setups and rows lie
        return 0.0, student(POOLED - 0.5) * sqrt(2.0 * sum(pool))
    degrees = POOLED + count - 1
    return middle, student(degrees) * sqrt(between * (1.0 + 1.0 / (count + 1)) + within + rows)


def surely_spilled(case: Case, chip: Chip) -> bool:
    """Whether part of a row's weights was in host memory beyond doubt: it says so, or they alone
    are more than its cards hold. That they did not fit beside a cache is a guess of ours."""
    return case.asked is not None or case.work.total_bytes > chip.memory_bytes * case.devices


def miss_of(case: Case, what: str, device_out: float, model_out: float) -> Miss | None:
    """What a row was off; None for those that cannot be true, had drafts, were a server's under
    another load than they state, may or may not have had weights in host memory, or whole requests
    of a local engine, which nobody asks in the batches they were measured in. A machine slower
    than it should be is one that people have."""
    chip, run = chip_of_case(case), run_of(case)
    whole = what == "total" and not run.servers
    misstated = case.odd != "" and run.servers
    if chip is None or broken(case, what) or case.speculative or whole or misstated:
        return None
    spilled = decode_terms(chip, run, case.work).host > 0
    if spilled and not surely_spilled(case, chip):
        return None
    flags = [flag for flag in case.flags if "@" not in flag]
    return Miss(
        what=what,
        kind=kind_of(run, case.work, offloaded=spilled),
        place=place_of(chip, run),
        device=case.facts.name if case.facts is not None else case.device,
        setup=" ".join([case.source, case.engine, *flags, case.model]),
        model=case.model,
        device_out=device_out,
        model_out=model_out,
    )


def misses_of(
    facts: list[Fact], device_out: NDArray[np.float64], model_out: NDArray[np.float64]
) -> list[Miss]:
    """What each usable row was off."""
    found = [
        miss_of(fact.case, fact.what, float(away), float(near))
        for fact, away, near in zip(facts, device_out, model_out, strict=True)
    ]
    return [one for one in found if one is not None]


def spreads_of(misses: list[Miss]) -> dict[str, tuple[float, float]]:
    """The bars under the names the model looks them up by, both ends on their sides of nothing."""
    out: dict[str, tuple[float, float]] = {}
    for (what, kind, place), (low, high) in sorted(bars_of(misses).items()):
        key = spread_keys(what, place, kind)[0 if place else 1]
        out[key] = (
            round(max(-MOST_SIDE, min(low, -LEAST_SIDE)), 3),
            round(min(MOST_SIDE, max(high, LEAST_SIDE)), 3),
        )
    return dict(sorted(out.items()))


def by_device(misses: Iterable[Miss]) -> Named:
    return [(one.device, one.setup, one.device_out) for one in misses]


def by_model(misses: Iterable[Miss]) -> Named:
    """The same with setups for devices and models for setups: what a new model is off."""
    return [(one.setup, one.model, one.model_out) for one in misses]


class Pools:
    """The groups of one kind of figure, and what they say of each other."""

    def __init__(self, misses: Iterable[Miss]) -> None:
        self.groups: defaultdict[str, list[Miss]] = defaultdict(list)
        for one in misses:
            self.groups[one.place].append(one)
        self.devices = pooled(spread(by_device(own)) for own in self.groups.values())

    def bar(self, misses: list[Miss]) -> tuple[float, float]:
        """(low, high) for rows of devices and models not among `misses`."""
        middle, half = half_width(spread(by_device(misses)), self.devices)
        if misses:
            model = half_width(spread(by_model(misses)), self.devices)[1]
            half = sqrt(half * max(half, model))
        return middle - half, middle + half


Bars = dict[tuple[str, str, str], tuple[float, float]]


def bars_of(misses: list[Miss]) -> Bars:
    """(low, high) by (figure, kind, place); place "" is that of a class nobody measured.

    Local engines and servers share no constant, so neither says how far the other's classes lie
    apart; only a class nobody measured is as unsure as all of them together.
    """
    kinds: defaultdict[tuple[str, str], list[Miss]] = defaultdict(list)
    for one in misses:
        kinds[one.what, one.kind].append(one)
    out: Bars = {}
    for (what, kind), own in kinds.items():
        for served in (False, True):
            pools = Pools(one for one in own if (" " in one.place) == served)
            for place, some in pools.groups.items():
                out[what, kind, place] = pools.bar(some)
        out[what, kind, ""] = Pools(own).bar([])
    return out


def _found(bars: Bars, one: Miss) -> tuple[float, float]:
    """The bar the planner would take from these (`mathcore.speed.bars.spread_keys`)."""
    for kind in fallbacks(one.kind):
        for place in (one.place, ""):
            if (one.what, kind, place) in bars:
                return bars[one.what, kind, place]
    return NOBODY_KNOWS


def bars_without_device(misses: list[Miss]) -> list[tuple[float, float]]:
    """The bar of each row, made without its device."""
    held = {
        name: bars_of([one for one in misses if one.device != name])
        for name in {one.device for one in misses}
    }
    return [_found(held[one.device], one) for one in misses]
