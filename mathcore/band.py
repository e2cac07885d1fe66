"""A number with an error bar: tenth, fiftieth and ninetieth percentile."""

from dataclasses import dataclass
from math import exp
from typing import final


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Band:
    """A number we do not know exactly: one in ten below p10, one in ten above p90."""

    p10: float
    p50: float
    p90: float


def time_band(seconds: float, spread: float) -> Band:
    """A duration with its relative error, multiplicative both ways."""
    return Band(p10=seconds / (1.0 + spread), p50=seconds, p90=seconds * (1.0 + spread))


def spread_band(seconds: float, spread: tuple[float, float]) -> Band:
    """A duration whose measured-to-predicted ratio has these logarithms at p10 and p90."""
    return Band(p10=seconds * exp(spread[0]), p50=seconds, p90=seconds * exp(spread[1]))


def rate_band(amount: float, time: Band) -> Band:
    """amount per second; the slow time is the low rate."""
    if time.p10 <= 0.0:
        return Band(p10=0.0, p50=0.0, p90=0.0)
    return Band(p10=amount / time.p90, p50=amount / time.p50, p90=amount / time.p10)
