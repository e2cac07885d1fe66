"""A plan as JSON values: integers for bytes, money and time; rates to three decimals."""

from mathcore.band import Band
from mathcore.engines.options import build_of
from mathcore.planner.answer import Member, Placement, Plan, WayOut
from mathcore.planner.query import Limits, Query
from mathcore.planner.refusals import Refusal, question_notes


def _whole(band: Band) -> dict[str, object]:
    return {"p10": round(band.p10), "p50": round(band.p50), "p90": round(band.p90)}


def _rate(band: Band) -> dict[str, object]:
    return {"p10": round(band.p10, 3), "p50": round(band.p50, 3), "p90": round(band.p90, 3)}


def _share(band: Band | None) -> dict[str, object] | None:
    """A quality, in which four digits tell."""
    if band is None:
        return None
    return {"p10": round(band.p10, 4), "p50": round(band.p50, 4), "p90": round(band.p90, 4)}


def _limits(limits: Limits) -> dict[str, object]:
    return {
        "max_latency_ms": limits.max_latency_ms,
        "max_ttft_ms": limits.max_ttft_ms,
        "deadline_ms": limits.deadline_ms,
        "min_tokens_per_s": limits.min_tokens_per_s,
        "max_nusd_per_hour": limits.max_nusd_per_hour,
        "max_cost_nusd": limits.max_cost_nusd,
        "min_quality": limits.min_quality,
    }


def _run(query: Query) -> dict[str, object]:
    """How the model would run, as far as the question says."""
    return {
        "quant": query.quant,
        "kv_type": query.kv_type,
        "batch": query.batch,
        "context": query.context,
        "prompt_tokens": query.prompt_tokens,
        "tokens": query.tokens,
        "engine": query.engine,
        "objective": query.objective,
    }


def _query(query: Query) -> dict[str, object]:
    return {
        "model": query.model_ref,
        "architecture": query.model.architecture,
        "parameters": query.model.parameters,
        "layers": len(query.model.layers),
        **_run(query),
        **_limits(query.limits),
        "on": query.on,
        "allow_beyond": query.allow_beyond,
    }


def _terms(terms: tuple[tuple[str, float], ...]) -> dict[str, object]:
    return {name: round(1000.0 * seconds) for name, seconds in terms}


def _member(member: Member) -> dict[str, object]:
    return {
        "device": member.name,
        "device_id": member.device_id,
        "cards": member.cards,
        "layers": member.layers,
        "first_layer": member.first_layer,
        "need_bytes": member.need_bytes,
        "free_bytes": member.free_bytes,
        "terms_ms": _terms(member.terms),
    }


def log_dict(log: tuple[tuple[str, float], ...]) -> dict[str, object]:
    """An engine's figures by name; counts and bytes as whole numbers."""
    return {name: int(value) if value == int(value) else value for name, value in log}


def placement_dict(placed: Placement) -> dict[str, object]:
    """One placement as the plan's JSON shows it; only a set's has `members`."""
    shown: dict[str, object] = {
        **_where(placed),
        **_quality(placed),
        "fit": placed.fit,
        "footprint": _footprint(placed),
        **_times(placed),
        **_costs(placed),
        "basis": placed.basis,
        "terms_ms": _terms(placed.terms),
        "pareto": placed.pareto,
    }
    if placed.members:
        shown["members"] = [_member(member) for member in placed.members]
    return shown


def _where(placed: Placement) -> dict[str, object]:
    """The device, the engine and the layout."""
    layout = placed.layout
    return {
        "device": placed.name,
        "device_id": placed.device_id,
        "provider": placed.provider,
        "engine": placed.engine,
        "quant": placed.quant,
        "kv_type": layout.kv_type,
        "cards": layout.cards,
        "gpu_layers": layout.gpu_layers,
        "cpu_experts": layout.cpu_experts,
        "engine_build": layout.build or build_of(placed.engine),
        "engine_log": log_dict(layout.log),
    }


def _quality(placed: Placement) -> dict[str, object]:
    return {
        "quality": round(placed.quality, 4),
        "quality_band": _share(placed.quality_band),
        "quality_usual": placed.quality_usual,
    }


def _footprint(placed: Placement) -> dict[str, object]:
    """Bytes term by term, and what is free."""
    need = placed.footprint
    return {
        "weights_bytes": need.weights_bytes,
        "kv_bytes": need.kv_bytes,
        "state_bytes": need.state_bytes,
        "compute_bytes": need.compute_bytes,
        "overhead_bytes": need.overhead_bytes,
        "output_bytes": need.output_bytes,
        "projector_bytes": need.projector_bytes,
        "draft_bytes": need.draft_bytes,
        "adapter_bytes": need.adapter_bytes,
        "host_bytes": need.host_bytes,
        "total_bytes": need.total_bytes,
        "free_bytes": placed.free_bytes,
    }


def _times(placed: Placement) -> dict[str, object]:
    return {
        "tokens_per_s": _rate(placed.tokens_per_s),
        "prefill_tokens_per_s": _rate(placed.prefill_tokens_per_s),
        "ttft_ms": _whole(placed.ttft_ms),
        "load_ms": _whole(placed.load_ms),
        "load_basis": placed.load_basis,
        "answer_ms": _whole(placed.answer_ms),
        "duration_ms": _whole(placed.duration_ms),
        "wait_ms": placed.wait_ms,
    }


def _costs(placed: Placement) -> dict[str, object]:
    return {
        "cost_nusd": _whole(placed.cost_nusd),
        "answer_cost_nusd": _whole(placed.answer_cost_nusd),
        "cost_lacks": list(placed.cost_lacks),
    }


def _refusal(refusal: Refusal) -> dict[str, object]:
    return {
        "device": refusal.name,
        "device_id": refusal.device_id,
        "code": refusal.code,
        "text": refusal.text,
        "missing_bytes": refusal.missing_bytes,
        "missing_ms": refusal.missing_ms,
    }


def _way_out(way: WayOut) -> dict[str, object]:
    return {"kind": way.kind, "text": way.text, "options": list(way.options)}


def _question(query: Query) -> dict[str, object]:
    """What a table's head says: the model meant, and how it would run."""
    return {"model": query.model.name, "model_ref": query.model_ref, **_run(query)}


def plan_dict(plan: Plan) -> dict[str, object]:
    """The whole plan: the question in short and in full, what answers it and what does not."""
    return {
        "question": _question(plan.query),
        "query": _query(plan.query),
        "placements": [placement_dict(placed) for placed in plan.placements],
        "refusals": [_refusal(refusal) for refusal in plan.refusals],
        "more": plan.more,
        "not_asked": plan.not_asked,
        "notes": [*question_notes(plan.query), *plan.notes],
        "ways_out": [_way_out(way) for way in plan.ways_out],
    }
