"""Where a query can run, best first, and for every other device why not.

Devices alike in everything but price and name are searched once: every engine, quantisation,
cache type and layout is sized and timed, what another one beats in every way is dropped, and each
device chooses from the rest by the objective, within the limits.
"""

from typing import final

from mathcore.answer import Layout, Placement, Plan, Refusal
from mathcore.device import DeviceSpec
from mathcore.engines import AUTO, ENGINES, FAMILIES, family_of
from mathcore.fleet import Query
from mathcore.interval import Band, rate_band
from mathcore.learning import Observation
from mathcore.limits import (
    cost_refusal,
    late_refusal,
    margin_bytes,
    price_refusal,
    quality_refusal,
    rate_refusal,
    refuse,
)
from mathcore.llamacpp_cache import cache_refusal
from mathcore.price import cost_nusd
from mathcore.search import Option, Search
from mathcore.set_search import SetSearch
from mathcore.units import HOUR_MS, NUSD, show_bytes
from mathcore.weights import quant_fault

# What the balanced objective takes an hour of waiting for.
WAITING_NUSD_PER_HOUR = NUSD


def query_refusal(query: Query) -> tuple[str, str]:
    """(code, text) when no device at all could run the query, else two empty texts."""
    engine, spec = query.engine, query.model
    if query.batch < 1 or query.context < 1 or query.tokens < 1 or query.prompt_tokens < 0:
        return "NoFit(ctx)", "batch, context and tokens must be at least 1"
    if engine is not None and engine not in FAMILIES:
        return "NoFit(backend)", f"unknown engine {engine}: known are {', '.join(ENGINES)}"
    if query.prompt_tokens + query.tokens > query.context:
        need = query.prompt_tokens + query.tokens
        return "NoFit(ctx)", f"{need} tokens do not fit a context of {query.context}"
    if 0 < spec.context_length < query.context:
        return "NoFit(ctx)", f"{spec.name} was trained for {spec.context_length} tokens at most"
    if spec.quant and query.quant not in (None, spec.quant):
        return "NoFit(quant)", f"the file holds {spec.quant}, not {query.quant}"
    if query.quant is not None and not spec.quant:
        fault = quant_fault(spec, query.quant, FAMILIES[engine] if engine else "")
        if fault:
            return "NoFit(quant)", fault
    named = query.kv_type not in (None, AUTO) and engine in (None, "llama.cpp", "ollama")
    refusal = cache_refusal(spec, query.kv_type or "") if named else ""
    return ("NoFit(backend)", refusal) if refusal else ("", "")


def wanted_engines(query: Query) -> tuple[str, ...]:
    """The engines that could answer a query that is not refused as a whole."""
    wanted = ENGINES if query.engine is None else (query.engine,)
    if query.quant is not None and not query.model.quant:
        wanted = tuple([e for e in wanted if FAMILIES[e] == family_of(query.quant)])
    return wanted


def _runs_any(device: DeviceSpec, engines: tuple[str, ...]) -> bool:
    return any(engine in device.engines for engine in engines)


def _is_able(query: Query, device: DeviceSpec, wanted: tuple[str, ...]) -> bool:
    """Whether `device_refusal` has nothing to say, for the thousands of which that is true."""
    return (
        query.on is None and device.bandwidth_bytes_per_s > 0 and device.count > 0
        and _runs_any(device, wanted)
    )  # fmt: skip


def device_refusal(query: Query, device: DeviceSpec) -> tuple[str, str]:
    """(code, text) when this device is out whatever the layout."""
    if query.on is not None and query.on not in (device.device_id, device.name):
        return "NotChosen", f"the job was asked to run on {query.on}"
    wanted = wanted_engines(query)
    if not _runs_any(device, wanted):
        have = ", ".join(device.engines) if device.engines else "none"
        return "NoFit(backend)", f"{' or '.join(wanted)} is not available here (engines: {have})"
    if device.bandwidth_bytes_per_s < 1 or device.count < 1:
        return "NoFit(backend)", "its memory bandwidth is unknown, so its speed cannot be planned"
    return "", ""


def _memory_refusal(device: DeviceSpec, nearest: Layout | None) -> Refusal:
    if nearest is None:
        return refuse(device, "NoFit(backend)", "no engine here can load these weights")
    need = nearest.footprint
    each = " per card" if nearest.cards > 1 else ""
    if nearest.spare_bytes < 0:
        text = (
            f"{nearest.quant} needs {show_bytes(need.card_bytes)}{each}, "
            f"{show_bytes(device.free_bytes)} free: {show_bytes(-nearest.spare_bytes)} missing"
        )
        return refuse(device, "NoFit(mem)", text, -nearest.spare_bytes * nearest.cards)
    text = (
        f"{nearest.quant} needs {show_bytes(need.host_bytes)} of host memory, "
        f"{show_bytes(device.ram_free_bytes)} free: "
        f"{show_bytes(-nearest.host_spare_bytes)} missing"
    )
    return refuse(device, "NoFit(mem)", text, -nearest.host_spare_bytes)


def _cost(device: DeviceSpec, ms: float) -> float:
    return float(cost_nusd(device.rate, int(ms)))


def score(query: Query, option: Option, cost: float) -> float:
    """Smaller is better, by the query's objective; one number for all devices."""
    duration = option.duration_ms.p50
    if query.objective == "fastest":
        return duration
    if query.objective == "cheapest":
        return cost
    return (cost + duration * WAITING_NUSD_PER_HOUR / HOUR_MS) * option.worth


def _broken(query: Query, device: DeviceSpec, option: Option) -> Refusal | None:
    """The first limit this option breaks here."""
    limits = query.limits
    no = late_refusal(limits, device, option.duration_ms, option.answer_ms, option.first_ms)
    if no is None:
        each = query.tokens / option.timed.rest_s.p90 if option.timed.rest_s.p90 > 0.0 else 0.0
        no = rate_refusal(limits, device, each)
    if no is None and limits.max_cost_nusd is not None:
        no = cost_refusal(limits, device, _cost(device, option.duration_ms.p90))
    if no is None:
        no = quality_refusal(limits, device, option.layout.quant, option.quality)
    return no


def _choose(query: Query, device: DeviceSpec, options: list[Option]) -> Option | Refusal:
    """The best option within the limits; the first refusal where there is none."""
    best: Option | None = None
    least: tuple[float, float, float] = (0.0, 0.0, 0.0)
    refusal: Refusal | None = None
    for option in options:
        no = _broken(query, device, option)
        if no is not None:
            refusal = refusal if refusal is not None else no
            continue
        cost = _cost(device, option.duration_ms.p50)
        own = (score(query, option, cost), option.duration_ms.p50, option.nats)
        if best is None or own < least:
            best, least = option, own
    if best is not None:
        return best
    return refusal if refusal is not None else refuse(device, "NoFit(backend)", "nothing to try")


@final
class Choice:
    """A device and what it would run, before anybody knows whether it will be shown."""

    __slots__ = ("corner", "cost", "device", "option", "pareto", "rank", "score")

    def __init__(self, query: Query, device: DeviceSpec, option: Option) -> None:
        self.device = device
        self.option = option
        self.cost = _cost(device, option.duration_ms.p50)
        self.score = score(query, option, self.cost)
        self.pareto = False
        duration = option.duration_ms.p50
        self.rank = (self.score, duration, self.cost, device.device_id)
        self.corner = (self.cost, duration, option.nats, device.device_id)


def _memory(choice: Choice) -> tuple[str, int]:
    """("fit" or "tight", free bytes of the cards used)."""
    layout, members, free = choice.option.layout, choice.option.members, 0
    if not members:
        each = choice.device.free_bytes
        return "fit" if layout.spare_bytes >= margin_bytes(each) else "tight", each * layout.cards
    for member in members:
        free += member.free_bytes
    return "fit" if choice.option.roomy else "tight", free


def _placement(query: Query, choice: Choice) -> Placement:
    device, option = choice.device, choice.option
    layout, timed, duration = option.layout, option.timed, option.duration_ms
    fit, free = _memory(choice)
    return Placement(
        device_id=device.device_id, name=device.name, provider=device.provider, layout=layout,
        fit=fit, free_bytes=free,
        tokens_per_s=rate_band(float(query.tokens * query.batch), timed.rest_s),
        prefill_tokens_per_s=rate_band(float(query.prompt_tokens * query.batch), timed.first_s),
        ttft_ms=option.first_ms, duration_ms=duration, wait_ms=device.wait_ms,
        cost_nusd=Band(
            p10=_cost(device, duration.p10), p50=choice.cost, p90=_cost(device, duration.p90)
        ),
        quality=option.quality, basis=timed.basis, terms=timed.terms,
        run=timed.run, work=timed.work, pareto=choice.pareto, score=choice.score,
        members=option.members,
    )  # fmt: skip


def _answer(search: Search, device: DeviceSpec) -> Choice | Refusal:
    query = search.query
    if query.limits.max_nusd_per_hour is not None:
        no = price_refusal(query, device)
        if no is not None:
            return no
    answers = search.answers(device)
    if answers.chosen is not None:
        return Choice(query, device, answers.chosen)
    if not answers.options:
        return _memory_refusal(device, answers.nearest)
    chosen = _choose(query, device, answers.options)
    if isinstance(chosen, Refusal):
        return chosen
    if query.limits.max_cost_nusd is None and query.limits.deadline_ms is None:
        answers.chosen = chosen
    return Choice(query, device, chosen)


def _rank(choice: Choice) -> tuple[float, float, float, str]:
    return choice.rank


def _corner(choice: Choice) -> tuple[float, float, float, str]:
    return choice.corner


def mark_pareto(choices: list[Choice]) -> None:
    """Mark what nothing else beats: nothing is at once no dearer, no slower, no worse, and better
    in one of the three."""
    best: list[tuple[float, float]] = []  # (duration, nats) met so far, at no higher cost
    ordered = sorted(choices, key=_corner)
    last: Choice | None = None
    for choice in ordered:
        cost, duration, nats, _ = choice.corner
        if last is not None and last.corner[:3] == (cost, duration, nats):
            choice.pareto = last.pareto
            continue
        own = (duration, nats)
        choice.pareto = True
        for other in best:
            if other[0] <= duration and other[1] <= nats:
                choice.pareto = False
                break
        if choice.pareto:
            best.append(own)
        last = choice


def _worse(a: Choice, b: Choice) -> bool:
    """Whether `b` makes set `a` pointless: no dearer, slower, worse or later, or just the same."""
    mine = (a.cost, a.option.duration_ms.p50, a.option.nats, float(a.device.wait_ms))
    other = (b.cost, b.option.duration_ms.p50, b.option.nats, float(b.device.wait_ms))
    for i in range(4):
        if other[i] > mine[i]:
            return False
    return other != mine or _rank(b) < _rank(a)


def _nearest(refusal: Refusal) -> tuple[int, int, str]:
    return (refusal.missing_bytes, refusal.missing_ms, refusal.device_id)


def _sets(
    together: SetSearch, devices: list[DeviceSpec], single: list[Choice]
) -> tuple[list[Choice], Refusal | None]:
    """Sets that keep to the limits, without those another set or an owned device beats; and where
    nothing does, why the nearest one does not."""
    query = together.query
    found: list[Choice] = []
    short: list[Refusal] = []
    for made in together.options(devices):
        dear = price_refusal(query, made.device)
        chosen = _choose(query, made.device, made.options) if dear is None else dear
        if isinstance(chosen, Option):
            found.append(Choice(query, made.device, chosen))
        else:
            short.append(chosen)
    if single or found:
        rivals = found + [one for one in single if one.device.rate.hourly_nusd == 0]
        return [one for one in found if not any(_worse(one, other) for other in rivals)], None
    if short:
        return [], sorted(short, key=_nearest)[0]
    return [], together.refusal(devices)


def _refusal_order(refusal: Refusal) -> str:
    return refusal.device_id


def plan(
    query: Query, devices: list[DeviceSpec], seen: dict[str, list[Observation]] | None = None
) -> Plan:
    """Best first by the objective, then by id; the order of `devices` does not matter.

    `seen` holds finished jobs by device id: what they measured corrects the speed model there.
    Sets of devices are planned beside them (`Query.sets`) unless one device is named.

    Where nothing does, the set that misses by least has a refusal of its own.

    Of more than `query.most` placements the best and all Pareto ones are given; `Plan.more` counts
    the rest.
    """
    code, text = query_refusal(query)
    wanted = wanted_engines(query) if not code else ()
    search = Search(query, {} if seen is None else seen)
    choices: list[Choice] = []
    refusals: list[Refusal] = []
    able: list[DeviceSpec] = []
    for device in devices:
        here, why = ("", "") if _is_able(query, device, wanted) else device_refusal(query, device)
        if here == "NotChosen" or (here and not code):
            refusals.append(refuse(device, here, why))
            continue
        if code:
            refusals.append(refuse(device, code, text))
            continue
        able.append(device)
        answer = _answer(search, device)
        if isinstance(answer, Choice):
            choices.append(answer)
        else:
            refusals.append(answer)
    if query.sets and query.on is None:
        found, short = _sets(SetSearch(search), able, choices)
        choices += found
        if short is not None and not choices:
            refusals.append(short)
    mark_pareto(choices)
    choices.sort(key=_rank)
    refusals.sort(key=_refusal_order)
    shown: list[Placement] = []
    for i, choice in enumerate(choices):
        if i < query.most or choice.pareto:
            shown.append(_placement(query, choice))
    return Plan(
        query=query, placements=tuple(shown), refusals=tuple(refusals),
        more=len(choices) - len(shown),
    )  # fmt: skip
