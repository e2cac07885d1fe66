"""From where on one way of making tokens is cheaper than another: by the amount, and by the month.

Two costs of a day are two lines over the tokens of a day; they cross once, or never. The error bar
pairs the good end of one with the bad end of the other, for nothing says that both err alike.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal, final

from mesh.policy.compare.amounts import DAYS_PER_MONTH, MILLION, Line, Spread, sure
from mesh.policy.compare.owned import Lack
from mesh.policy.compare.rows import Row

# The one is cheaper from so many tokens a day on, up to so many, at any number, or at none.
Side = Literal["from", "up to", "always", "never"]


@final
@dataclass(frozen=True, slots=True)
class Crossing:
    """Where two lines cross; `tokens` a day, 0 where they do not."""

    side: Side
    tokens: Fraction = Fraction(0)


def crossing(fixed: Fraction, each: Fraction) -> Crossing:
    """Of two lines, by how much more the first costs without a token and for each million."""
    if fixed <= 0 and each <= 0:
        return Crossing("always" if fixed < 0 or each < 0 else "never")
    if fixed >= 0 and each >= 0:
        return Crossing("never")
    return Crossing("from" if fixed > 0 else "up to", -fixed * MILLION / each)


def crossings(one: Line, other: Line) -> tuple[Crossing, Crossing, Crossing]:
    """As `crossing`: the best for `one`, the median, the worst."""
    mine, its = _ends(one), _ends(other)
    good, mid, bad = (
        crossing(a[0] - b[0], a[1] - b[1]) for a, b in zip(mine, reversed(its), strict=True)
    )
    return good, mid, bad


def _ends(line: Line) -> list[tuple[Fraction, Fraction]]:
    return list(zip(line.fixed, line.per_million, strict=True))


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class BreakEven:
    """When the first of two rows is cheaper than the second.

    `found`: the best for the first, the median, the worst; None where a part of a cost is unknown.
    `reach`: whether both make that many tokens in their hours. `months`: until what was paid for
    the first is saved, at the tokens it makes; None in it = never, None = there is no price.
    """

    one: Row
    other: Row
    kept: Literal["one", "other"] | None  # which of the two is rented the whole hours
    found: tuple[Crossing, Crossing, Crossing] | None
    reach: bool
    months: tuple[Fraction | None, Fraction | None, Fraction | None] | None
    lacks: tuple[Lack, ...]


def break_even(one: Row, other: Row, *, kept: bool = False) -> BreakEven:
    """When `one` is cheaper than `other`; `kept`: the one that is rented is so the whole hours."""
    lines = _line(one, kept=kept), _line(other, kept=kept)
    found = None if _is_unknown(one.lacks) else crossings(*lines)
    return BreakEven(
        one=one,
        other=other,
        kept=None if not kept else "one" if one.kept is not None else "other",
        found=found,
        reach=found is None or _both_make(one, other, found[1].tokens),
        months=payback(one, other, kept=kept),
        lacks=one.lacks,
    )


def _line(row: Row, *, kept: bool) -> Line:
    return row.kept if kept and row.kept is not None else row.line


def _is_unknown(lacks: Iterable[Lack]) -> bool:
    """Whether a cost is no more than a lower bound; idle power alone only moves the crossing up."""
    return any(lack != "idle watts" for lack in lacks)


def _both_make(one: Row, other: Row, tokens: Fraction) -> bool:
    return all(row.at_most is None or tokens <= row.at_most.mid for row in (one, other))


def payback(
    one: Row, other: Row, *, kept: bool = False
) -> tuple[Fraction | None, Fraction | None, Fraction | None] | None:
    """Months until the price of an owned device is saved: what the other costs less its power."""
    owned = one.owned
    if owned is None or owned.price_nusd is None or {"watts", "tariff"} & set(one.lacks):
        return None
    mine = running_nusd(one)
    its = _line(other, kept=kept).at(sure(one.made.mid))
    price = Fraction(owned.price_nusd)
    good, mid, bad = (_months(price, b - a) for a, b in zip(mine, reversed(its), strict=True))
    return good, mid, bad


def running_nusd(row: Row) -> Spread:
    """A day of an owned device without its wear: power alone."""
    wear = Fraction(0) if row.owned is None else row.owned.wear_nusd or Fraction(0)
    return row.day_nusd.map(lambda cost: cost - wear)


def _months(price_nusd: Fraction, saved_nusd: Fraction) -> Fraction | None:
    """None: nothing is saved a day, so never."""
    return price_nusd / (saved_nusd * DAYS_PER_MONTH) if saved_nusd > 0 else None
