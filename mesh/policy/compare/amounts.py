"""The amount of work a comparison is about, and numbers with an error bar that stay exact.

A `Spread` is p10, p50 and p90 of one error, the good end first: where a device is fast, its work is
short and cheap. So the first of a cost is its least, and the first of what can be made its most.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Final, NamedTuple, final

from mathcore.band import Band
from mathcore.price import HOURS_PER_MONTH
from mathcore.units import DAY_MS, HOUR_MS

MILLION: Final = 1_000_000  # tokens that prices are of
# A month is a twelfth of a year, as it is in every bill: 730 hours, 30.4 days.
DAYS_PER_MONTH: Final = Fraction(HOURS_PER_MONTH * HOUR_MS, DAY_MS)


class Spread(NamedTuple):
    """The good end, the median and the bad end of a number."""

    good: Fraction
    mid: Fraction
    bad: Fraction

    def map(self, change: Callable[[Fraction], Fraction]) -> Spread:
        """The same error after a change of the number."""
        return Spread(*(change(one) for one in self))

    def with_(self, other: Spread, join: Callable[[Fraction, Fraction], Fraction]) -> Spread:
        """Both numbers joined, good end with good end: one error makes them both."""
        return Spread(*(join(a, b) for a, b in zip(self, other, strict=True)))


def sure(number: Fraction | int) -> Spread:
    """A number without an error."""
    return Spread(Fraction(number), Fraction(number), Fraction(number))


def spread(band: Band) -> Spread:
    """A band whose small end is the good one: a time, a cost."""
    return Spread(Fraction(band.p10), Fraction(band.p50), Fraction(band.p90))


def half_up(number: Fraction) -> int:
    """The nearest whole number, halves up."""
    return (2 * number.numerator + number.denominator) // (2 * number.denominator)


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Amount:
    """Tokens a day, and within what time. Of `parts` tokens so many are read, the rest written.

    A machine makes them in batches of `batch_tokens`, one after another.
    """

    tokens: int
    prompt_parts: int
    parts: int
    batch_tokens: int
    work_ms: int  # of a day a machine may work

    def blended(self, input_each: int, output_each: int) -> Fraction:
        """The mean of two prices, by how many tokens have which."""
        written = self.parts - self.prompt_parts
        return Fraction(input_each * self.prompt_parts + output_each * written, self.parts)


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """What a day costs, in nano-dollars: what it costs without a token, and what a million adds."""

    fixed: Spread
    per_million: Spread

    def at(self, tokens: Spread) -> Spread:
        """What a day of so many tokens costs."""
        used = self.per_million.with_(tokens, lambda each, n: each * n / MILLION)
        return self.fixed.with_(used, lambda a, b: a + b)
