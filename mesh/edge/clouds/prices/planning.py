"""Machines to rent in a plan: beside what the fleet owns, never among it.

The fleet's own devices are planned as if there were nothing to rent, and come first; so a dear
offer changes nothing about them. Of each provider's kinds the cheapest machine is planned.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Final

from mathcore.band import Band
from mathcore.device import DeviceSpec
from mathcore.planner.answer import Placement, Plan
from mathcore.planner.loading import transfer_ms
from mathcore.planner.placing import place
from mathcore.planner.plan import descend
from mathcore.planner.query import Limits, Query
from mathcore.planner.refusals import COST_ABOVE_CAP, TOO_SLOW, Refusal, RefusalCode
from mathcore.planner.render import plan_dict
from mathcore.units import GB, HOUR_MS, show_ms, show_nusd
from mesh.api.market.offers import offer_row, source_rows
from mesh.api.rows import Row
from mesh.state.market.device import cheapest_of_kinds, device_id, device_of
from mesh.state.market.quotes import Quote

NONE: Final = Band(p10=0.0, p50=0.0, p90=0.0)
MAX_NAMED: Final = 5  # GPUs named that could not be planned


def with_cloud(owned: Plan, quotes: Iterable[Quote], now_ms: int) -> Row:
    """The plan's JSON with machines to rent after those owned; each of theirs has its `offer`, and
    `sources` says where prices come from and how old they are."""
    known = tuple(quotes)
    kinds = {device_id(one): one for one in cheapest_of_kinds(known)}
    devices = {key: device for key, one in kinds.items() if (device := device_of(one)) is not None}
    answer = _placed(owned.query, list(devices.values()))
    placements, late = _landed(answer.placements, kinds, owned.query.limits)
    merged = replace(
        owned,
        placements=_starred(owned.placements, placements),
        refusals=(*owned.refusals, *answer.refusals, *late),
        ways_out=() if placements else owned.ways_out,
        notes=(*owned.notes, *_strange([one for key, one in kinds.items() if key not in devices])),
    )
    shown = plan_dict(merged)
    rows = shown["placements"]
    assert isinstance(rows, list)
    for row in rows:
        one = kinds.get(str(row["device_id"]))
        if one is not None:
            row["offer"] = offer_row(one, now_ms)
    return shown | {"sources": source_rows(known, now_ms)}


def _placed(query: Query, devices: list[DeviceSpec]) -> Plan:
    """The plan over machines to rent alone: single ones, each by what its kind is known to do."""
    alone = replace(query, sets=False, groups=None, most=len(devices))
    answer = place(alone, devices, {})
    return answer if answer.placements else descend(alone, devices, {}, answer)


def planned_rents(
    query: Query, quotes: Iterable[Quote]
) -> tuple[list[tuple[Placement, Quote]], Plan, tuple[str, ...]]:
    """(where a model runs and the quote, the plan over machines to rent, notes on those left out).

    Nothing of the way there counts in the placements: neither boot nor the model's transfer.
    """
    kinds = {device_id(one): one for one in cheapest_of_kinds(quotes)}
    devices = {key: device for key, one in kinds.items() if (device := device_of(one)) is not None}
    answer = _placed(query, list(devices.values()))
    rents = [(placed, kinds[placed.device_id]) for placed in answer.placements]
    return rents, answer, _strange([one for key, one in kinds.items() if key not in devices])


def _landed(
    placements: Iterable[Placement], kinds: Mapping[str, Quote], limits: Limits
) -> tuple[tuple[Placement, ...], tuple[Refusal, ...]]:
    """(those that keep to the limits with the model brought there, and why the others do not)."""
    found, late = list[Placement](), list[Refusal]()
    for one in placements:
        arrived = brought(one, kinds[one.device_id])
        why = _broken(arrived, limits)
        if why is None:
            found.append(arrived)
        else:
            late.append(why)
    return tuple(found), tuple(late)


def brought(placed: Placement, quote: Quote) -> Placement:
    """With the time and the money that booting and fetching the model take, as far as they are
    known: an unknown boot or line adds nothing. Of a boot counts what is billed of it."""
    size = placed.footprint.weights_bytes
    fetch = transfer_ms(size, quote.network_bps, 0) if quote.network_bps else NONE
    boot = quote.boot_ms if quote.billed_boot_ms is None else quote.billed_boot_ms
    traffic = quote.ingress_nusd_per_gb * size / GB

    def paid(cost: float, ms: float) -> float:
        return cost + traffic + quote.hourly_nusd * ((boot or 0) + ms) / HOUR_MS

    cost = placed.cost_nusd
    return replace(
        placed,
        wait_ms=placed.wait_ms + round(fetch.p50),
        cost_nusd=Band(
            p10=paid(cost.p10, fetch.p10),
            p50=paid(cost.p50, fetch.p50),
            p90=paid(cost.p90, fetch.p90),
        ),
    )


def _broken(placed: Placement, limits: Limits) -> Refusal | None:
    """The limit that a machine breaks once the model must be brought there."""
    ends, cost = placed.duration_ms.p90 + placed.wait_ms, placed.cost_nusd.p90
    if limits.deadline_ms is not None and ends > limits.deadline_ms:
        text = f"ends in up to {show_ms(int(ends))} (p90), {show_ms(limits.deadline_ms)} allowed"
        return _refusal(placed, TOO_SLOW, text)
    if limits.max_cost_nusd is not None and cost > limits.max_cost_nusd:
        most = show_nusd(limits.max_cost_nusd)
        return _refusal(
            placed, COST_ABOVE_CAP, f"costs up to {show_nusd(int(cost))} (p90), {most} allowed"
        )
    return None


def _refusal(placed: Placement, code: RefusalCode, text: str) -> Refusal:
    return Refusal(device_id=placed.device_id, name=placed.name, code=code, text=text)


def _starred(owned: Sequence[Placement], rented: Sequence[Placement]) -> tuple[Placement, ...]:
    """All of them, the owned first; a star stays where the other side has nothing better either.

    An owned device of unknown price keeps its star: nobody can say that anything is cheaper.
    """
    priced = [one for one in owned if not one.cost_lacks]
    mine = [_with_star(one, [] if one.cost_lacks else rented) for one in owned]
    return (*mine, *(_with_star(one, priced) for one in rented))


def _with_star(one: Placement, others: Sequence[Placement]) -> Placement:
    if not one.pareto or not any(_beats(other, one) for other in others):
        return one
    return replace(one, pareto=False)


def _beats(one: Placement, other: Placement) -> bool:
    mine = one.answer_cost_nusd.p50, one.answer_ms.p50, -one.quality
    its = other.answer_cost_nusd.p50, other.answer_ms.p50, -other.quality
    return mine != its and all(a <= b for a, b in zip(mine, its, strict=True))


def _strange(left: Sequence[Quote]) -> tuple[str, ...]:
    """That some GPUs could not be planned, since their names say nothing of their speed."""
    names = sorted({one.gpu for one in left})
    if not names:
        return ()
    more = f" and {len(names) - MAX_NAMED} more" if len(names) > MAX_NAMED else ""
    return (f"not planned, for nobody knows their speed: {', '.join(names[:MAX_NAMED])}{more}",)
