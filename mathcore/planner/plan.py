"""Where a query can run, best first, and for every other device why not.

Devices alike in everything but price and name are searched once: every engine, quantisation,
cache type and layout is sized and timed, what another one beats in every way is dropped, and each
device chooses from the rest (`choice`). Sets of devices come from `set_search`.
"""

from mathcore.band import Band, rate_band
from mathcore.device import DeviceSpec
from mathcore.engines.llamacpp.cache import cache_refusal
from mathcore.planner.answer import Layout, Placement, Plan, Refusal
from mathcore.planner.choice import Choice, choose, cost_of, is_pointless, mark_pareto, rank_of
from mathcore.planner.limits import margin_bytes, price_refusal, refuse
from mathcore.planner.query import Query
from mathcore.planner.search import Option, Search
from mathcore.planner.sets.search import SetSearch
from mathcore.quant.families import AUTO, ENGINES, FAMILIES, family_of
from mathcore.quant.weights import quant_fault
from mathcore.speed.learning import Observation
from mathcore.units import show_bytes


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
    wanted: tuple[str, ...] = ENGINES if query.engine is None else (query.engine,)
    if query.quant is not None and not query.model.quant:
        wanted = tuple([e for e in wanted if FAMILIES[e] == family_of(query.quant)])
    return wanted


def _runs_any(device: DeviceSpec, engines: tuple[str, ...]) -> bool:
    return any(engine in device.engines for engine in engines)


def _is_able(query: Query, device: DeviceSpec, wanted: tuple[str, ...]) -> bool:
    """Whether `device_refusal` has nothing to say, for the thousands of which that is true."""
    return (
        query.on is None
        and device.bandwidth_bytes_per_s > 0
        and device.count > 0
        and _runs_any(device, wanted)
    )


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
        device_id=device.device_id,
        name=device.name,
        provider=device.provider,
        layout=layout,
        fit=fit,
        free_bytes=free,
        tokens_per_s=rate_band(float(query.tokens * query.batch), timed.rest_s),
        prefill_tokens_per_s=rate_band(float(query.prompt_tokens * query.batch), timed.first_s),
        ttft_ms=option.first_ms,
        duration_ms=duration,
        wait_ms=device.wait_ms,
        cost_nusd=Band(
            p10=cost_of(device, duration.p10), p50=choice.cost, p90=cost_of(device, duration.p90)
        ),
        quality=option.quality,
        basis=timed.basis,
        terms=timed.terms,
        run=timed.run,
        work=timed.work,
        pareto=choice.pareto,
        score=choice.score,
        members=option.members,
    )


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
        lacking = answers.lacking or _memory_refusal(device, answers.nearest)
        answers.lacking = lacking
        return refuse(device, lacking.code, lacking.text, lacking.missing_bytes)
    chosen = choose(query, device, answers.options)
    if isinstance(chosen, Refusal):
        return chosen
    if query.limits.max_cost_nusd is None and query.limits.deadline_ms is None:
        answers.chosen = chosen
    return Choice(query, device, chosen)


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
        chosen = choose(query, made.device, made.options) if dear is None else dear
        if isinstance(chosen, Option):
            found.append(Choice(query, made.device, chosen))
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


def plan(
    query: Query, devices: list[DeviceSpec], seen: dict[str, list[Observation]] | None = None
) -> Plan:
    """Best first by the objective, then by id; the order of `devices` does not matter.

    `seen` holds finished jobs by device id: what they measured corrects the speed model there.
    Sets of devices are planned beside them (`Query.sets`) unless one device is named; where nothing
    does, the set that misses by least has a refusal of its own.

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
    )
