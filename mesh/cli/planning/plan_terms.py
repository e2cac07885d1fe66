"""What `fleet plan --explain` adds: memory term by term, seconds by cause, the limits kept to."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from mesh.cli.output import brief_ms, clean, money, rate, say
from mesh.cli.planning.engine_log import log_text
from mesh.cli.planning.plan_view import answer_ms, cost, runs_as, speed_from
from mesh.cli.table import emit_text

Row = Mapping[str, Any]

LEAST_SPREAD: Final = 0.0005  # a band narrower than the digits shown says nothing

TERMS: Final = (
    ("weights", "weights_bytes"),
    ("cache", "kv_bytes"),
    ("states", "state_bytes"),
    ("compute", "compute_bytes"),
    ("logits", "output_bytes"),
    ("projector", "projector_bytes"),
    ("draft", "draft_bytes"),
    ("adapters", "adapter_bytes"),
    ("driver", "overhead_bytes"),
)
LIMITS: Final = (
    ("max latency", "max_latency_ms"),
    ("first token", "max_ttft_ms"),
    ("deadline", "deadline_ms"),
    ("tokens/s of a sequence", "min_tokens_per_s"),
    ("price an hour", "max_nusd_per_hour"),
    ("cost", "max_cost_nusd"),
    ("quality", "min_quality"),
)


def show_terms(found: Row) -> None:
    """Every placement's terms, then the limits."""
    for row in found["placements"]:
        runs = runs_as(row, found["query"]["layers"])
        say()
        emit_text(clean(f"{row['device']}: {row['engine']}, {runs}"), "  ")
        _show_memory(row)
        _show_engine(row)
        _show_times(row)
        said = cost(row)
        _line("cost", said, "" if said == "unknown" else _ends(row["cost_nusd"], money))
        _line("quality", f"{row['quality']:.4f}", _quality_ends(row.get("quality_band")))
        emit_text(clean(speed_from(str(row["basis"]))), " " * 16, f"  {'speed from':<12}  ")
    _show_limits(found)


def _quality_ends(band: Row | None) -> str:
    """What models like this one kept, by what was published of them."""
    if band is None or band["p90"] - band["p10"] < LEAST_SPREAD:
        return "of the model as published"
    return f"{band['p10']:.3f} to {band['p90']:.3f} of the model as published"


def _show_memory(row: Row) -> None:
    from mathcore.units import show_bytes

    need = row["footprint"]
    spare = need["free_bytes"] - need["total_bytes"]
    _line("memory", show_bytes(need["total_bytes"]), f"{show_bytes(spare)} to spare")
    for name, key in TERMS:
        if need.get(key):
            _line(f"  {name}", show_bytes(need[key]))
    if need["host_bytes"]:
        _line("in RAM", show_bytes(need["host_bytes"]))


def _show_engine(row: Row) -> None:
    """The build the answer is for, and what its log would print."""
    if row.get("engine_build"):
        _line("build", str(row["engine_build"]))
    said = log_text(str(row["engine"]), row.get("engine_log", {}))
    if said:
        emit_text(clean(said), " " * 16, f"  {'its log':<12}  ")


def _show_times(row: Row) -> None:
    load, answer = row["load_ms"], answer_ms(row)
    _line("load", brief_ms(load["p50"]), _ends(load, brief_ms))
    _line("time", brief_ms(answer["p50"]), _ends(answer, brief_ms))
    for name, ms in row["terms_ms"].items():
        if ms > 0:
            _line(f"  {name}", brief_ms(ms), _share(ms, row["terms_ms"]))
    for member in row.get("members", ()):
        _show_member(member)
    if row["wait_ms"]:
        _line("busy for", brief_ms(row["wait_ms"]))
    _line("first token", brief_ms(row["ttft_ms"]["p50"]), _ends(row["ttft_ms"], brief_ms))
    for name, key in (("tokens/s", "tokens_per_s"), ("prompt/s", "prefill_tokens_per_s")):
        _line(name, rate(row[key]["p50"]), _ends(row[key], rate))


def _show_member(member: Row) -> None:
    from mathcore.units import show_bytes

    cards = f"{member['cards']} cards" if member["cards"] > 1 else "1 card"
    spare = member["free_bytes"] - member["need_bytes"]
    say(f"  on {clean(member['device'])}: {member['layers']} layers, {cards}")
    _line("    memory", show_bytes(member["need_bytes"]), f"{show_bytes(spare)} to spare")
    for name, ms in member["terms_ms"].items():
        if ms > 0:
            _line(f"    {name}", brief_ms(ms), _share(ms, member["terms_ms"]))


def _line(name: str, value: str, rest: str = "") -> None:
    say(f"  {name:<12}  {value:>10}  {rest}".rstrip())


def _ends(value: Row, show: Callable[[Any], str]) -> str:
    return f"{show(value['p10'])}–{show(value['p90'])}"


def _share(ms: int, terms: Row) -> str:
    total = sum(terms.values())
    return f"{100 * ms / total:.0f} %" if total else ""


def _show_limits(found: Row) -> None:
    query, refused = found["query"], [row["code"] for row in found["refusals"]]
    kept = [f"{name} {_limit(key, query[key])}" for name, key in LIMITS if query[key] is not None]
    counts = [f"{code} {refused.count(code)}" for code in sorted(set(refused))]
    best = [clean(row["device"]) for row in found["placements"] if row["pareto"]]
    say()
    for name, text in (
        ("objective", str(query["objective"])),
        ("limits", ", ".join(kept) or "none"),
        ("refused", ", ".join(counts) or "none"),
        ("pareto", ", ".join(best) or "none"),
    ):
        emit_text(text, " " * 11, f"{name:<9}  ")


def _limit(key: str, value: Any) -> str:
    if key.endswith("_ms"):
        return brief_ms(value)
    return money(value) if "nusd" in key else f"{value:g}"
