"""What one run has in common with another: by how much their errors vary together.

The logarithm of a job's measured over predicted time is taken for a Gaussian process: what each
constant of the model is off on this device, weighed by the constant's share of the predicted time,
plus what kernels of this kind, this model and this very run are off, plus noise.
"""

from math import log, sqrt
from typing import final

from mathcore.speed.chip import Chip
from mathcore.speed.constants import NAMES, Rates, prompt_parts, rates_of, step_parts
from mathcore.speed.kernels import VULKAN
from mathcore.speed.terms import Run, decode_terms, prefill_terms
from mathcore.speed.work import Work

DECODE, PREFILL = "decode", "prefill"
# Variances, in units of the class's own, of what each constant is off on one device, fitted to
# what helps on devices left out (docs/accuracy-speed.md). A constant not named is not learned.
FREEDOM: dict[str, dict[str, float]] = {
    DECODE: {
        "eta": 0.75,
        "kappa": 3.0,
        "reread": 3.0,
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
        "vector": 0.5,
        "unpack": 0.5,
        "gather": 0.5,
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
# Weights of 2 to 5, 6 to 9 and 16 bits run on kernels of their own.
BITS: tuple[float, ...] = (5.9, 12.0)
# Lengths in the same step of a logarithm (a factor of 1.5) make it the same run.
LENGTH_STEP = log(1.5)


# Places and roots of the variances of the constants that are learned, in the order of NAMES.
_ROOTS: dict[str, list[tuple[int, float]]] = {
    what: [(i, sqrt(freedom[name])) for i, name in enumerate(NAMES) if name in freedom]
    for what, freedom in FREEDOM.items()
}


@final
class Evidence:
    """A run as the process compares it, and for a finished one how far off it was."""

    __slots__ = (
        "backend",
        "bytes",
        "count",
        "error",
        "key",
        "kind",
        "run",
        "shares",
        "told",
        "twin",
    )

    def __init__(
        self, what: str, chip: Chip, run: Run, work: Work, key: str, seconds: float
    ) -> None:
        rates = rates_of(chip, run)
        parts = _parts(what, chip, run, work, rates)
        whole = sum(parts)
        self.shares = [root * parts[i] / whole for i, root in _ROOTS[what]]
        # Of those that take any time, for most runs half of them: (place, share).
        self.told = [(i, share) for i, share in enumerate(self.shares) if share != 0.0]
        self.error = log(seconds / whole) if seconds > 0.0 else 0.0
        self.count = 1  # jobs it stands for
        self.key = key
        self.run = run
        self.bytes = work.total_bytes
        self.backend = VULKAN in run.flags
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
    return class_variance * alike(what, one, other) + repeated(what, one, other)


def alike(what: str, one: Evidence, other: Evidence) -> float:
    """The part of it that grows with the class's variance, in units of that."""
    shared = 0.0
    shares = other.shares
    for i, share in one.told:
        shared += share * shares[i]
    shared += KIND_VARIANCE[what] * (1.0 if one.kind == other.kind else OTHER_KIND)
    if one.key == other.key:
        shared += MODEL_VARIANCE[what]
    if one.backend != other.backend:
        shared *= OTHER_BACKEND[what]
    return shared


def repeated(what: str, one: Evidence, other: Evidence) -> float:
    """The part that only the very same run shares."""
    return RUN_SD[what] ** 2 if one.twin == other.twin else 0.0
