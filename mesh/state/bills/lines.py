"""Lines of a bill, their sums, and the one way in which an amount is split."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal, NamedTuple, TypeVar, final

from mesh.state.bills.inputs import BASES, Basis

IDLE: Final = "idle"  # the owner's daemon saw that nobody had it
UNKNOWN: Final = "unknown"  # owned, and nobody watched
WEAR, POWER, RENT, DISK, MINIMUM = "wear", "power", "rent", "disk", "minimum"
OUTSIDE: Final = "outside"  # a job where nobody owned or rented the device: time without a price
OTHER: Final = "other"  # a charge for a time in which nothing is known
TIMED: Final = frozenset({WEAR, RENT})  # each unit's time is counted once, in these
RANK: Final[dict[Basis, int]] = {basis: place for place, basis in enumerate(BASES)}

# What an amount rests on.
Source = Literal[
    "none", "price", "meter", "job", "tdp", "idle_watts", "quote", "reread", "charge", "call"
]

K = TypeVar("K", bound=Hashable)
Sortable = TypeVar("Sortable", str, int, tuple[str, int], tuple[str, str])


class Line(NamedTuple):
    """What one part of a device cost in one cell, which begins at `at_ms`.

    `nusd` None: unknown, for `unknown_ms` of unit-milliseconds. `unit_ms` is the time held, in
    lines of wear and rent only, so that no time is counted twice. `told_ms` is when the figure that
    the amount rests on was said; None: not known.
    """

    at_ms: int
    device: str
    owner: str
    part: str
    component: str
    basis: Basis
    source: Source
    told_ms: int | None
    unit_ms: int
    unknown_ms: int
    nusd: int | None


@final
@dataclass(slots=True)
class Sum:
    """Lines added up. With `unknown_ms` above 0 `nusd` is a lower bound."""

    nusd: int = 0
    unit_ms: int = 0
    unknown_ms: int = 0
    is_known: bool = False  # something of it is
    told_ms: int | None = None  # the oldest figure it rests on
    sources: set[Source] = field(default_factory=set)
    _basis: Basis = "invoiced"  # the weakest of lines that are not 0
    _any: Basis = "invoiced"  # the weakest of all

    def add(self, one: Line) -> None:
        """One more line."""
        self.unit_ms += one.unit_ms
        self.unknown_ms += one.unknown_ms
        self._any = min(self._any, one.basis, key=RANK.__getitem__)
        if one.nusd is not None:
            self.nusd += one.nusd
            self.is_known = True
        if one.nusd != 0:
            self._basis = min(self._basis, one.basis, key=RANK.__getitem__)
            self.sources.add(one.source)
            if one.told_ms is not None:
                known = one.told_ms if self.told_ms is None else self.told_ms
                self.told_ms = min(one.told_ms, known)

    def join(self, one: Sum) -> None:
        """All of another sum."""
        self.nusd += one.nusd
        self.unit_ms += one.unit_ms
        self.unknown_ms += one.unknown_ms
        self.is_known = self.is_known or one.is_known
        told = [at for at in (self.told_ms, one.told_ms) if at is not None]
        self.told_ms = min(told, default=None)
        self.sources |= one.sources
        self._basis = min(self._basis, one._basis, key=RANK.__getitem__)
        self._any = min(self._any, one._any, key=RANK.__getitem__)

    def part(self, nusd: int, unit_ms: int, unknown_ms: int) -> Sum:
        """Some of it, resting on the same."""
        return replace(
            self, nusd=nusd, unit_ms=unit_ms, unknown_ms=unknown_ms, sources=set(self.sources)
        )

    @property
    def amount(self) -> int | None:
        """Nano-dollars; None where nothing is known."""
        return self.nusd if self.is_known else None

    @property
    def basis(self) -> Basis:
        """The weakest of what it is made of; lines of 0 decide only where there are no others."""
        return self._basis if self.sources else self._any


def sums(lines: Iterable[Line], key: Callable[[Line], K]) -> dict[K, Sum]:
    """Lines added up by any key."""
    found: dict[K, Sum] = {}
    for one in lines:
        name = key(one)
        if name not in found:
            found[name] = Sum()
        found[name].add(one)
    return found


def total(lines: Iterable[Line]) -> int:
    """What is known of all of them, in nano-dollars."""
    return sum(one.nusd or 0 for one in lines)


def apportion(whole: int, weights: Mapping[Sortable, int]) -> dict[Sortable, int]:
    """`whole` in parts by weight that add up to it exactly.

    The largest remainders get the last units, of equal ones the lower key. All weights 0: equal
    parts. Weights are 0 or more.
    """
    if len(weights) == 1:
        return dict.fromkeys(weights, whole)
    if not any(weights.values()):
        weights = dict.fromkeys(weights, 1)
    below = sum(weights.values())
    size, sign = abs(whole), -1 if whole < 0 else 1
    parts: dict[Sortable, int] = {}
    rests: list[tuple[int, Any]] = []
    for key, weight in weights.items():
        parts[key], rest = divmod(size * weight, below)
        rests.append((-rest, key))
    left = size - sum(parts.values())
    for _, key in sorted(rests)[:left] if left else ():
        parts[key] += 1
    return parts if sign > 0 else {key: -part for key, part in parts.items()}
