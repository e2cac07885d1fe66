"""What a fit misses on devices, and on models, it has not met."""

import re
import zlib
from collections import Counter
from collections.abc import Callable

import numpy as np

from mathcore.speed.constants import group_of
from scripts.lab.fit_model import Array, Fact, Model, solve

LEFT_OUT_ROUNDS = 60  # from the whole fit; most groups need a few, it stops when nothing is gained
FOLDS = 6  # of models: a sixth of them is unknown at a time
CHUNK = 4000  # rows at a time; each takes some kilobytes
SEEN_ROWS = 10  # clean rows that make a device "seen"


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
