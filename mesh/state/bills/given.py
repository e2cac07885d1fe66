"""All inputs of a bill, sorted for looking up; what makes no sense is left out."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from operator import attrgetter
from typing import Any, Final, Protocol, TypeVar, final

from mathcore.units import NUSD
from mesh.state.bills.inputs import (
    DOLLAR,
    Call,
    Charge,
    FxRate,
    Input,
    Metered,
    Rate,
    Rental,
    Run,
    Span,
    Tariff,
    Watched,
)
from mesh.state.bills.lines import IDLE, UNKNOWN


class _Dated(Protocol):
    @property
    def from_ms(self) -> int: ...


T = TypeVar("T", bound=Input)
D = TypeVar("D", bound=_Dated)
Named = Mapping[str, tuple[T, ...]]
_FROM: Final[Callable[[_Dated], int]] = attrgetter("from_ms")


def latest(rows: tuple[D, ...], at_ms: int) -> D | None:
    """Of rows sorted by `from_ms` the one in force; None before the first."""
    place = bisect_right(rows, at_ms, key=_FROM)
    return rows[place - 1] if place else None


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """Inputs by device, tariffs and currencies by name, each in the order of time."""

    rates: Named[Rate]
    runs: Named[Run]
    watched: Named[Watched]
    metered: Named[Metered]
    tariffs: Named[Tariff]
    fx: Named[FxRate]
    rentals: Named[Rental]
    charges: Named[Charge]
    calls: Named[Call]

    def devices(self) -> list[str]:
        """Every device that can cost something, sorted."""
        kinds = (self.rates, self.runs, self.rentals, self.charges, self.calls)
        return sorted({device for one in kinds for device in one})

    def worth(self, currency: str, at_ms: int) -> int | None:
        """Nano-dollars of one unit of a currency by the latest rate; None where there is none."""
        if currency == DOLLAR:
            return NUSD
        rate = latest(self.fx.get(currency, ()), at_ms)
        return rate.nusd if rate else None


def gather(inputs: Iterable[Input]) -> Given:
    """`inputs` in the order they were said: of two that begin at once the later counts."""
    found: dict[type, dict[str, list[Any]]] = defaultdict(lambda: defaultdict(list))
    for one in inputs:
        kept = _sane(one)
        if kept is not None:
            found[type(kept)][_name(kept)].append(kept)

    def of(kind: type[T]) -> Named[T]:
        return {name: tuple(sorted(rows, key=_order)) for name, rows in found[kind].items()}

    return Given(
        rates=of(Rate),
        runs=of(Run),
        watched=of(Watched),
        metered=of(Metered),
        tariffs=of(Tariff),
        fx=of(FxRate),
        rentals=of(Rental),
        charges=of(Charge),
        calls=of(Call),
    )


def _name(one: Input) -> str:
    if isinstance(one, Tariff):
        return one.name
    return one.currency if isinstance(one, FxRate) else one.device


def _order(one: Input) -> tuple[int, str, tuple[Span, ...]]:
    """Of runs and calls that begin at once the job decides: who said it first must not."""
    if isinstance(one, Run):
        return one.spans[0][0], one.job, one.spans
    return (one.at_ms, one.job, ()) if isinstance(one, Call) else (one.from_ms, "", ())


def _sane(one: Input) -> Input | None:
    """The input with its spans sorted and merged; None where it covers no time."""
    if isinstance(one, Run):
        spans = merged(one.spans)
        sane = replace(one, spans=spans, job=part_of(one.job))
        return sane if spans and one.units > 0 else None
    if isinstance(one, Rental):
        prices = tuple(sorted(one.prices, key=_FROM))
        rented = replace(
            one,
            prices=prices,
            step_ms=max(1, one.step_ms),  # nothing is a multiple of 0
            count=max(1, one.count),
            for_job=part_of(one.for_job) if one.for_job else "",
        )
        return rented if prices and one.month_hours > 0 else None
    if isinstance(one, Watched | Metered | Charge):
        return one if one.to_ms > one.from_ms else None
    if isinstance(one, Call):
        called = replace(one, job=part_of(one.job))
        return called if one.items and all(item.per > 0 for item in one.items) else None
    return one


def part_of(job: str) -> str:
    """The part of a bill that is a job's. Clients choose names of jobs: none is taken for idle."""
    return f"{job} (job)".strip() if job in ("", IDLE, UNKNOWN) else job


def merged(spans: Iterable[Span]) -> tuple[Span, ...]:
    """Spans sorted, empty ones left out, those that touch or overlap as one."""
    found: list[Span] = []
    for start, end in sorted(one for one in spans if one[1] > one[0]):
        if found and start <= found[-1][1]:
            found[-1] = found[-1][0], max(end, found[-1][1])
        else:
            found.append((start, end))
    return tuple(found)
