"""How fast the cores multiply, which sets how fast prompts are read. For those who will wait."""

import time

# Three square f32 matrices of this side take 12 MiB, past the second-level cache, and one product
# 2 Gflop: tens of milliseconds on a small machine.
SIDE = 1024
MEASURE_S = 0.4


def measure_flops(seconds: float = MEASURE_S) -> int:
    """The best rate of an f32 matrix product over all cores, operations per second."""
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
