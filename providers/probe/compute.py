"""How fast the cores multiply, which sets how fast prompts are read. For those who will wait."""

import statistics
import time
from dataclasses import dataclass
from typing import Final, final

from providers.cores import idle_cores, physical_cores

# Three square f32 matrices of this side take 12 MiB, past the second-level cache, and one product
# 2 Gflop: tens of milliseconds on a small machine.
SIDE: Final = 1024
REPEATS: Final = 7
REPEAT_S: Final = 0.1
# On an idle machine repeats of 0.1 s differ by a few percent; other programs take whole cores.
BUSY_SPREAD_PERCENT: Final = 20


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Compute:
    """The best of some short repeats, and what says whether others had the cores meanwhile.

    `spread_percent`: how far the median repeat is below the best. `idle`: cores nobody used before.
    """

    flops: int
    spread_percent: int
    idle: int
    cores: int

    @property
    def busy(self) -> str:
        """Why the figure may be too low, for people; "" where nothing speaks against it."""
        why = []
        if self.idle < self.cores:
            why.append(f"{self.idle} of {self.cores} cores idle")
        if self.spread_percent > BUSY_SPREAD_PERCENT:
            why.append(f"repeats differ by {self.spread_percent} %")
        return "; ".join(why)


def measure_compute(repeats: int = REPEATS, seconds: float = REPEAT_S) -> Compute:
    """The rate of f32 matrix products over all cores, best of `repeats`; about a second."""
    idle = idle_cores()
    rates = [measure_flops(seconds) for _ in range(repeats)]
    return compute_of(rates, idle, physical_cores())


def compute_of(rates: list[int], idle: int, cores: int) -> Compute:
    """What these repeats say."""
    best = max(rates)
    below = best - int(statistics.median(rates))
    return Compute(flops=best, spread_percent=100 * below // max(1, best), idle=idle, cores=cores)


def measure_flops(seconds: float = REPEAT_S) -> int:
    """The best rate of an f32 matrix product within `seconds`, operations per second."""
    import numpy as np

    rng = np.random.default_rng(1)
    left = rng.random((SIDE, SIDE), dtype=np.float32)
    right = rng.random((SIDE, SIDE), dtype=np.float32)
    target = np.empty_like(left)
    best, end = 0.0, time.perf_counter() + seconds
    while time.perf_counter() < end or best == 0.0:
        begun = time.perf_counter()
        np.matmul(left, right, out=target)
        best = max(best, 2 * SIDE**3 / (time.perf_counter() - begun))
    return int(best)
