"""`fleet compare`: the fleet's devices, machines to rent and hosted APIs, for tokens a day."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from mathcore.catalogue.names import parse_named
from mathcore.device import DeviceSpec
from mathcore.market.api_prices import ApiPrice, prices_of, yardsticks
from mathcore.planner.answer import Plan
from mathcore.planner.refusals import question_notes
from mathcore.planner.render import plan_dict
from mathcore.price import Rate
from mesh.api.market.compare import CompareRequest, parse_compare
from mesh.api.market.offers import source_rows
from mesh.api.rows import Row, is_ours
from mesh.edge.clouds.prices.planning import planned_rents
from mesh.edge.planning import Quotes, described, make_plan, what_ifs
from mesh.policy.compare.amounts import Amount
from mesh.policy.compare.compared import Compared, compared
from mesh.policy.compare.owned import Owned, by_registration, rates_set
from mesh.policy.compare.render import break_even_dict, row_dict
from mesh.policy.compare.rows import (
    ASSUMED_BOOT_MS,
    api_row,
    held_row,
    owned_row,
    rented_row,
)
from mesh.policy.compare.rows import Row as Compare
from mesh.state.fleet import spec
from mesh.state.market.quotes import Quote
from mesh.state.state import State

FILES: Final = (".gguf", ".json", ".safetensors")


def compare_query(
    state: State,
    given: Mapping[str, object],
    live: Sequence[DeviceSpec] = (),
    now: int = 0,
    *,
    me: str = "",
    quotes: Quotes = tuple,
) -> Row:
    """The comparison's JSON; a bad question raises RequestError. As `plan_query` otherwise."""
    request = parse_compare(given)
    at = now or state.last_ms
    known = tuple(one for one in quotes() if request.spot in (None, one.spot))
    plan = make_plan(state, request.plan, live, now, me=me)
    rents, refused, strange = planned_rents(plan.query, known)
    amount = amount_of(request, plan)
    served = served_name(request.plan.model, plan.query.model.name)
    rows = [*_owned(state, request, plan, live, amount, at)]
    rows += [rented_row(placed, quote, amount) for placed, quote in rents]
    rows += [api_row(price, amount) for price in (*prices_of(served), *yardsticks())]
    found = compared(rows)
    return {
        "question": _question(request, plan),
        "served": served or None,
        "rows": [row_dict(row, request.months, at) for row in found.rows],
        "more": plan.more,
        "refusals": _refusals(plan, refused),
        "break_even": [break_even_dict(one) for one in found.break_evens],
        "notes": [*_notes(plan), *strange, *_assumed(found.rows)],
        "sources": source_rows(known, at),
        "api_sources": api_sources(found, at),
    }


def _notes(plan: Plan) -> Iterator[str]:
    """What a plan's reader should know."""
    yield from question_notes(plan.query)
    yield from plan.notes
    if plan.more:
        yield f"{plan.more} more places on the fleet's devices are not compared"


def amount_of(request: CompareRequest, plan: Plan) -> Amount:
    """The work that is compared."""
    query = plan.query
    return Amount(
        tokens=request.tokens_per_day,
        prompt_parts=request.prompt_parts,
        parts=request.parts,
        batch_tokens=query.batch * (query.prompt_tokens + query.tokens),
        work_ms=request.work_ms,
    )


def served_name(reference: str, model: str) -> str:
    """The catalogue's name of a model, also of a file that is called like one; "" of others."""
    text = Path(reference).stem if reference.lower().endswith(FILES) else reference
    found = parse_named(text.removeprefix("ollama:")) or parse_named(model)
    return found.row.name if found else ""


def _owned(
    state: State,
    request: CompareRequest,
    plan: Plan,
    live: Sequence[DeviceSpec],
    amount: Amount,
    now: int,
) -> Iterator[Compare]:
    """The fleet's devices, or those that the question describes; each by itself."""
    rates, told = _rates(state, request, live), rates_set(state, now)
    for placed in plan.placements:
        rate = rates.get(placed.device_id, Rate())
        if rate.hourly_nusd > 0:
            yield held_row(placed, rate.hourly_nusd, amount)
        else:
            owned: Owned = told.get(placed.device_id) or by_registration(rate)
            yield owned_row(placed, owned, amount)


def _rates(state: State, request: CompareRequest, live: Sequence[DeviceSpec]) -> dict[str, Rate]:
    """How each device of the question is paid for."""
    asked = request.plan
    brought = what_ifs(asked.what_if, asked.ram, asked.rate)
    brought |= described(asked.fleet, asked.ram, asked.rate)
    if brought:
        return {key: device.rate for key, device in brought.items()}
    views = [view for view in list(state.devices.values()) if is_ours(state, view)]
    return {view.device_id: spec(view).rate for view in views} | {
        device.device_id: device.rate for device in live
    }


def _question(request: CompareRequest, plan: Plan) -> Row:
    """What was asked, with what nobody said."""
    query = plan.query
    return {
        "model": query.model.name,
        "model_ref": query.model_ref,
        "tokens_per_day": request.tokens_per_day,
        "prompt_share": round(request.prompt_parts / request.parts, 6),
        "work_ms": request.work_ms,
        "months": request.months,
        "batch": query.batch,
        "context": query.context,
        "prompt_tokens": query.prompt_tokens,
        "tokens": query.tokens,
    }


def _refusals(plan: Plan, rented: Plan) -> object:
    """Why not elsewhere, the fleet's devices first."""
    return [*_rows(plan_dict(plan)["refusals"]), *_rows(plan_dict(rented)["refusals"])]


def _rows(value: object) -> list[object]:
    assert isinstance(value, list)
    return value


def _assumed(rows: Sequence[Compare]) -> Iterator[str]:
    """What rests on nothing that was measured or told."""
    quotes: list[Quote] = [row.quote for row in rows if row.quote is not None]
    if any(one.boot_ms is None for one in quotes):
        minutes = ASSUMED_BOOT_MS // 60_000
        yield (
            f"where no rental taught how long a machine boots, {minutes} minutes are assumed, a "
            "third to three times as long"
        )
    if any(not one.network_bps for one in quotes):
        yield "where no line was told, the model comes to a machine over an assumed 1 Gbit/s"


def api_sources(found: Compared, now: int) -> list[Row]:
    """Where the prices of APIs are from, and how old they are: a row a source."""
    by_source: dict[str, list[ApiPrice]] = {}
    for row in found.rows:
        if row.price is not None:
            by_source.setdefault(row.price.source, []).append(row.price)
    return [
        {
            "source": source,
            "n": len(prices),
            "seen_ms": min(one.seen_ms for one in prices),
            "age_ms": max(0, now - min(one.seen_ms for one in prices)),
            "written_ms": [
                min(one.written_ms for one in prices),
                max(one.written_ms for one in prices),
            ],
        }
        for source, prices in sorted(by_source.items())
    ]
