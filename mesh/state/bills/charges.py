"""What others bill: calls to APIs, and what meters and invoices say of a time."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator, Sequence
from math import lcm
from typing import NamedTuple

from mesh.state.bills.inputs import Call, Charge
from mesh.state.bills.lines import OTHER, RANK, UNKNOWN, WEAR, Line, apportion


def call_nusd(call: Call) -> int:
    """All items of a call, rounded half up once."""
    below = lcm(*(item.per for item in call.items))
    whole = sum(item.quantity * item.nusd * (below // item.per) for item in call.items)
    return (2 * whole + below) // (2 * below)


def call_lines(call: Call) -> Iterator[Line]:
    """A line an item: parts of the rounded whole by what each costs exactly."""
    below = lcm(*(item.per for item in call.items))
    weights = {
        place: item.quantity * item.nusd * (below // item.per)
        for place, item in enumerate(call.items)
    }
    where = (call.at_ms, call.device, call.owner, call.job)
    for place, nusd in apportion(call_nusd(call), weights).items():
        component = call.items[place].component
        yield Line(*where, component, call.basis, "call", call.told_ms, 0, 0, nusd)


class Difference(NamedTuple):
    """A charge, and by how much it is more than what was known before it."""

    charge: Charge
    nusd: int


def replaced(
    lines: Sequence[Line], charges: Sequence[Charge]
) -> tuple[list[Line], list[Difference]]:
    """Lines of one device with its charges in their place, and every difference, which is kept.

    The known lines of a charge's period are changed in proportion, so that they add up to it; what
    is unknown stays so, unless nothing else is there. A weaker basis never takes the place of a
    stronger one: quote, then meter, then invoice. A period without lines gets one.
    """
    kept, differences = list(lines), []
    order = sorted((one.at_ms, n) for n, one in enumerate(kept)) if charges else []
    for charge in sorted(charges, key=lambda one: RANK[one.basis]):
        places = _places(kept, order, charge)
        if any(RANK[kept[n].basis] > RANK[charge.basis] for n in places):
            continue
        if not places:
            places = [len(kept)]
            insort(order, (charge.from_ms, len(kept)))
            kept.append(_other(charge))
        before = {n: kept[n].nusd or 0 for n in places}
        differences.append(Difference(charge, charge.nusd - sum(before.values())))
        for n, nusd in apportion(charge.nusd, _weights(kept, before)).items():
            kept[n] = kept[n]._replace(
                nusd=nusd,
                basis=charge.basis,
                source="charge",
                told_ms=charge.told_ms,
                unknown_ms=0,
            )
    return kept, differences


def _places(lines: Sequence[Line], order: list[tuple[int, int]], charge: Charge) -> list[int]:
    """The lines a charge is about: the known ones, else the unknown. `order`: when each begins."""
    start, end = (bisect_left(order, (at,)) for at in (charge.from_ms, charge.to_ms))
    found = sorted(n for _, n in order[start:end] if _is_about(charge, lines[n]))
    return [n for n in found if lines[n].nusd is not None] or found


def _is_about(charge: Charge, one: Line) -> bool:
    return one.component == charge.component if charge.component else one.component != WEAR


def _weights(lines: Sequence[Line], before: dict[int, int]) -> dict[int, int]:
    """By what was known; where that was nothing, by time."""
    if any(before.values()):
        return before
    return {n: max(lines[n].unit_ms, lines[n].unknown_ms) for n in before}


def _other(charge: Charge) -> Line:
    component = charge.component or OTHER
    where = (charge.from_ms, charge.device, charge.owner, UNKNOWN, component)
    return Line(*where, charge.basis, "charge", charge.told_ms, 0, 0, 0)
