"""The answer to one question: what each device asked about would run, best first, and every no.

Devices alike in everything but price and name are searched once: every engine, quantisation,
cache type and layout is sized and timed, what another one beats in every way is dropped, and each
device chooses from the rest (`choice`). Sets of devices come from `sets`.
"""

from mathcore.band import Band, rate_band
from mathcore.device import DeviceSpec
from mathcore.planner.answer import Fit, Placement, Plan
from mathcore.planner.choice import Choice, choose, cost_of, is_pointless, mark_pareto, rank_of
from mathcore.planner.limits import kept_bytes, margin_bytes, memory_refusal, price_refusal
from mathcore.planner.prices import Price, Prices
from mathcore.planner.query import Query
from mathcore.planner.refusals import (
    Refusal,
    device_refusal,
    is_able,
    query_refusal,
    refuse,
    wanted_engines,
)
from mathcore.planner.search import Option, Search, cache_nats
from mathcore.planner.sets.search import SetSearch
from mathcore.quant.ladder import nats_of, quality_band, usual_nats
from mathcore.speed.learning import Observation


def _memory(choice: Choice) -> tuple[Fit, int]:
    """How it fits, and the free bytes of the cards used."""
    layout, members, free = choice.option.layout, choice.option.members, 0
    if not members:
        device = choice.device
        roomy = layout.spare_bytes >= kept_bytes(device)
        if device.kind == "gpu" and device.ram_free_bytes > 0:
            roomy = roomy and layout.host_spare_bytes >= margin_bytes(device.ram_free_bytes)
        return "fit" if roomy else "tight", device.free_bytes * layout.cards
    for member in members:
        free += member.free_bytes
    return "fit" if choice.option.roomy else "tight", free


def _cost(device: DeviceSpec, ms: Band) -> Band:
    return Band(
        p10=cost_of(device, ms.p10), p50=cost_of(device, ms.p50), p90=cost_of(device, ms.p90)
    )


def _placement(query: Query, choice: Choice) -> Placement:
    device, option = choice.device, choice.option
    layout, timed = option.layout, option.timed
    fit, free = _memory(choice)
    return Placement(
        device_id=device.device_id,
        name=device.name,
        provider=device.provider,
        layout=layout,
        fit=fit,
        free_bytes=free,
        tokens_per_s=rate_band(float(query.tokens * query.batch), timed.rest_s),
        prefill_tokens_per_s=rate_band(float(query.prompt_tokens * query.batch), timed.first_s),
        ttft_ms=option.first_ms,
        load_ms=option.load_ms,
        load_basis=timed.load_basis,
        answer_ms=option.answer_ms,
        duration_ms=option.duration_ms,
        wait_ms=device.wait_ms,
        cost_nusd=_cost(device, option.duration_ms),
        answer_cost_nusd=_cost(device, option.answer_ms),
        cost_lacks=choice.price.lacks,
        quality=option.quality,
        basis=timed.basis,
        terms=timed.terms,
        run=timed.run,
        work=timed.work,
        pareto=choice.pareto,
        score=choice.score,
        members=option.members,
        quality_band=quality_band(query.model, layout.quant, cache_nats(layout.kv_type)),
        quality_usual=nats_of(query.model, layout.quant) <= usual_nats(query.model),
    )


def _answer(search: Search, device: DeviceSpec, price: Price) -> Choice | Refusal:
    query = search.query
    if query.limits.max_nusd_per_hour is not None:
        no = price_refusal(query, device)
        if no is not None:
            return no
    answers = search.answers(device)
    if answers.chosen is not None:
        return Choice(query, device, answers.chosen, price)
    if not answers.options:
        lacking = answers.lacking or memory_refusal(device, answers.nearest)
        answers.lacking = lacking
        return refuse(device, lacking.code, lacking.text, lacking.missing_bytes)
    chosen = choose(query, device, answers.options)
    if isinstance(chosen, Refusal):
        return chosen
    if query.limits.max_cost_nusd is None and query.limits.deadline_ms is None:
        answers.chosen = chosen
    return Choice(query, device, chosen, price)


def _nearest(refusal: Refusal) -> tuple[int, int, str]:
    return (refusal.missing_bytes, refusal.missing_ms, refusal.device_id)


def _sets(
    together: SetSearch, devices: list[DeviceSpec], single: list[Choice], prices: Prices
) -> tuple[list[Choice], Refusal | None]:
    """Sets that keep to the limits, without those another set or an owned device beats; and where
    nothing does, why the nearest one does not."""
    query = together.query
    found: list[Choice] = []
    short: list[Refusal] = []
    for made in together.options(devices):
        dear = price_refusal(query, made.device)
        chosen = choose(query, made.device, made.options) if dear is None else dear
        if isinstance(chosen, Option):
            found.append(Choice(query, made.device, chosen, prices.of(made.members)))
        else:
            short.append(chosen)
    if single or found:
        rivals = found + [one for one in single if one.device.rate.hourly_nusd == 0]
        return [one for one in found if not any(is_pointless(one, other) for other in rivals)], None
    if short:
        return [], sorted(short, key=_nearest)[0]
    return [], together.refusal(devices)


def _refusal_order(refusal: Refusal) -> str:
    return refusal.device_id


def place(
    query: Query,
    devices: list[DeviceSpec],
    seen: dict[str, list[Observation]],
    least_quality: float | None = None,
) -> Plan:
    """`plan` with types of so much quality or more, and no look for ways out."""
    search, prices = Search(query, seen, least_quality), Prices(devices)
    asked = [device for device in devices if query.on in (None, device.device_id, device.name)]
    no = query_refusal(query)
    wanted = frozenset(wanted_engines(query) if no is None else ())
    choices: list[Choice] = []
    refusals: list[Refusal] = []
    able: list[DeviceSpec] = []
    for device in asked:
        why = no
        if why is None and not is_able(device, wanted, query.flags.backend):
            why = device_refusal(query, device)
        if why is not None:
            refusals.append(refuse(device, why[0], why[1]))
            continue
        able.append(device)
        answer = _answer(search, device, prices.of_one(device))
        if isinstance(answer, Choice):
            choices.append(answer)
        else:
            refusals.append(answer)
    if query.sets and query.on is None:
        found, short = _sets(SetSearch(search), able, choices, prices)
        choices += found
        if short is not None and not choices:
            refusals.append(short)
    return _ranked(query, choices, refusals, len(devices) - len(asked))


def _ranked(query: Query, choices: list[Choice], refusals: list[Refusal], not_asked: int) -> Plan:
    """The best `query.most` and all Pareto ones, in order; refusals by device."""
    mark_pareto(choices)
    choices.sort(key=rank_of)
    refusals.sort(key=_refusal_order)
    shown: list[Placement] = []
    for i, choice in enumerate(choices):
        if i < query.most or choice.pareto:
            shown.append(_placement(query, choice))
    return Plan(
        query=query,
        placements=tuple(shown),
        refusals=tuple(refusals),
        more=len(choices) - len(shown),
        not_asked=not_asked,
    )
