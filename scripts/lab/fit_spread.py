"""Error bars of the speed model: what a fit misses on devices, and on models, it has not met."""

import re
import zlib
from collections import Counter, defaultdict
from collections.abc import Callable
from math import sqrt

import numpy as np

from mathcore.speed.bars import spread_key
from mathcore.speed.constants import group_of
from scripts.lab.fit_model import Array, Fact, Model, solve
from scripts.lab.speed_rows import broken

LEFT_OUT_ROUNDS = 20  # from the whole fit; most groups need a few, it stops when nothing is gained
FOLDS = 6  # of models: a sixth of them is unknown at a time
CHUNK = 4000  # rows at a time; each takes some kilobytes
SEEN_ROWS = 10  # clean rows that make a device "seen"
LEAST_SIDE, MOST_SIDE = 0.03, 3.0  # of an error bar, in logarithms
LEAST_ROWS = 8  # fewer say nothing about a tenth percentile
LEAST_GROUPS = 2  # one device says nothing about how devices differ
# Student's t over the normal at the 90th percentile: what the spread over n devices, or n groups of
# models, says of one more.
T_SHARES: tuple[float, ...] = (2.40, 1.47, 1.28, 1.20, 1.15, 1.12, 1.10, 1.09, 1.08, 1.07)


def device_key(fact: Fact) -> str:
    """What is left out at once: all rows of a device, whatever the source."""
    return fact.case.facts.name if fact.case.facts is not None else fact.case.device


def fold_of(model: str) -> str:
    """One of a few groups of models; quantised copies of a model fall into the same."""
    bare = re.sub(r"[^a-z0-9.]", "", model.rpartition("/")[2].lower())
    return f"fold {zlib.crc32(bare[:12].encode()) % FOLDS}"


def model_key(fact: Fact) -> str:
    """What is left out at once: a sixth of the models."""
    return fold_of(fact.case.model)


def held_out(
    fit: Model, weights: Array, theta: Array, facts: list[Fact], key: Callable[[Fact], str]
) -> Array:
    """Logarithm of measured over predicted time of each row, by a fit that left its group out.

    An effect only the left-out rows could tell is zero: what a new device of the class would get.
    """
    effects = dict(zip(fit.names, zip(fit.mean, fit.freedom, strict=True), strict=True))
    own = np.array([key(fact) for fact in fit.facts])
    asked = np.array([key(fact) for fact in facts])
    out = np.zeros(len(facts))
    for group in sorted(set(asked)):
        there = own == group
        found = theta
        if there.any():
            found = solve(fit, np.where(there, 0.0, weights), theta, LEFT_OUT_ROUNDS)
        places = np.flatnonzero(asked == group)
        for start in range(0, len(places), CHUNK):
            at = places[start : start + CHUNK]
            some = Model([facts[i] for i in at], effects)
            out[at] = some.observed - some.predict(found)[0]
    return out


def seen_devices(facts: list[Fact]) -> set[str]:
    """Group and device of those with enough clean rows in the fit to say "seen"."""
    counts = Counter(
        f"{group_of(fact.run.engine)} {fact.chip.name}"
        for fact in facts
        if fact.case.clean and fact.chip.name
    )
    return {name for name, count in counts.items() if count >= SEEN_ROWS}


def keys_of(fact: Fact, *, seen: bool) -> list[str]:
    """Where a row's error bar is looked up."""
    offloaded = fact.step.host > 0
    work = fact.case.work
    return spread_key(fact.what, fact.chip, fact.run, work, offloaded=offloaded, seen=seen)


Errors = dict[str, list[tuple[str, float]]]  # by key: (device or models, log of the error)


def spreads_of(
    facts: list[Fact], by_device: Array, by_model: Array, seen: set[str]
) -> dict[str, tuple[float, float]]:
    """Tenth and ninetieth percentile of the error under each key with enough rows: with the device
    left out for devices not seen, with the model left out for those that were.
    """
    strange: Errors = defaultdict(list)
    known: Errors = defaultdict(list)
    for fact, away, near in zip(facts, by_device, by_model, strict=True):
        if broken(fact.case, fact.what):
            continue
        device = device_key(fact)
        general = keys_of(fact, seen=False)
        for name in general:
            strange[name].append((device, float(away)))
        first = keys_of(fact, seen=True)[0]
        if first not in general and f"{group_of(fact.run.engine)} {fact.chip.name}" in seen:
            known[first].append((model_key(fact), float(near)))
    found = [*strange.items(), *known.items()]
    out = {name: bar(pairs) for name, pairs in found if enough(pairs)}
    return {name: within(out, name) for name in sorted(out)}


def within(bars: dict[str, tuple[float, float]], name: str) -> tuple[float, float]:
    """A bar, that of a known device inside the one of its class: with a model goes half of what a
    source measured, but to know the device cannot make it less sure.
    """
    low, high = bars[name]
    wide = bars.get(f"{name.removesuffix(' seen')} known") if name.endswith(" seen") else None
    return (max(low, wide[0]), min(high, wide[1])) if wide is not None else (low, high)


def enough(pairs: list[tuple[str, float]]) -> bool:
    """Whether these say how far off a device, or a group of models, not among them may be."""
    return len(pairs) >= LEAST_ROWS and len({group for group, _ in pairs}) >= LEAST_GROUPS


def bar(pairs: list[tuple[str, float]]) -> tuple[float, float]:
    """The percentiles of errors, at least a little and at most a factor of twenty each way.

    It is for a device or a group of models not among these: each one counts by the root of its
    rows, and few of them widen the bar.
    """
    counts = Counter(group for group, _ in pairs)
    values = np.array([value for _, value in pairs])
    weights = np.array([1.0 / sqrt(counts[group]) for group, _ in pairs])
    wider = T_SHARES[min(len(counts), len(T_SHARES)) - 1]
    low, high = quantile(values, weights, 0.1), quantile(values, weights, 0.9)
    middle, half = (low + high) / 2, (high - low) / 2 * wider
    return (
        round(max(-MOST_SIDE, min(middle - half, -LEAST_SIDE)), 3),
        round(min(MOST_SIDE, max(middle + half, LEAST_SIDE)), 3),
    )


def quantile(values: Array, weights: Array, share: float) -> float:
    """The value below which `share` of the weight lies."""
    order = np.argsort(values, kind="stable")
    gone = np.cumsum(weights[order]) - 0.5 * weights[order]
    return float(np.interp(share * weights.sum(), gone, values[order]))
