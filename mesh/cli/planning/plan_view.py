"""How a plan looks: what was asked, a line per placement, one per refusal, and the ways out."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from mesh.cli.output import brief_ms, clean, gib, rate, say, show_cost
from mesh.cli.planning.models import tokens
from mesh.cli.planning.plan_rented import (
    few_rented,
    is_rented,
    rent_age,
    rent_text,
    show_refused_rents,
    show_rented,
)
from mesh.cli.table import Column, Table, emit_text, fitted, terminal_width

Row = Mapping[str, Any]

# The classes of hardware whose measurements stand in for a device that nobody measured.
CLASSES: Final = {
    "accelerator": "accelerators",
    "apple": "Apple chips",
    "arc": "Intel Arc cards",
    "cpu": "processors",
    "gddr": "GDDR cards",
    "hbm": "HBM cards",
    "igpu": "integrated GPUs",
    "instinct": "AMD Instinct cards",
    "radeon": "Radeon cards",
    "unified": "unified-memory boxes",
}
PRIOR: Final = "prior: "
DEGRADED: Final = (
    "QUALITY is what is left of the published model: under what Q4_K_M leaves answers degrade "
    "visibly, and a plan goes there only where nothing better fits. --min-quality sets where to "
    "stop."
)
MORE_NAMES: Final = 3  # devices named beside one reason; the others are counted


def show_plan(found: Row, *, explain: bool, command: Callable[[Row], str]) -> None:
    """The question, placements best first, refusals and ways out; with `explain` every term.

    `command` gives what was typed, without the options a way out replaces.
    """
    placements: Sequence[Row] = few_rented(found["placements"])
    emit_text(headline(question(found)), "  ")
    say()
    if placements:
        table = fitted(columns(placements, found), placements, terminal_width())
        for line in table.all_lines(placements, "-o json has all"):
            say(line)
        if said := legend(table):
            say()
            emit_text(said)
        if is_degraded(placements):
            say()
            emit_text(DEGRADED)
        show_rented(found, len(found["placements"]) - len(placements))
    else:
        say(verdict(found["refusals"]))
    for note in found.get("notes", ()):
        say()
        emit_text(clean(f"Note: {note}."), "  ")
    show_refusals(found, explain=explain)
    show_ways_out(found["ways_out"], command)
    if explain:
        from mesh.cli.planning.plan_terms import show_terms

        show_terms(found)


def question(found: Row) -> Row:
    """What was planned for, with the model's own name."""
    asked: Row = found["question"]
    return asked


def headline(asked: Row) -> str:
    """ "qwen3-8b (for deepseek-r1:8b): batch 1, context 4k, prompt 512, answer 256, balanced"."""
    typed = str(asked.get("model_ref") or asked["model"])
    name = str(asked["model"])
    model = name if typed in (name, "") else f"{name} (for {typed.rpartition('/')[2] or typed})"
    words = [
        f"batch {asked['batch']}",
        f"context {tokens(asked['context'])}",
        f"prompt {tokens(asked['prompt_tokens'])}",
        f"answer {tokens(asked['tokens'])} tokens",
        str(asked["objective"]),
    ]
    for key, said in (("engine", "only {}"), ("quant", "weights {}"), ("kv_type", "cache {}")):
        if asked.get(key):
            words.append(said.format(asked[key]))
    return clean(f"{model}: {', '.join(words)}")


def columns(placements: Sequence[Row], found: Row) -> tuple[Column[Row], ...]:
    """What a plan's table shows; the fit, the median speed and the time to answer always stay."""
    several, rents = len(placements) > 1, any("offer" in row for row in placements)
    one_engine = len({row["engine"] for row in placements}) == 1
    layers = int(found["query"]["layers"])
    return (
        Column(title="", value=_star if several else _nothing, rank=5, optional=True),
        Column(
            title="DEVICE",
            value=lambda row: row["device"],
            brief=_first_member,
            brief_rank=72,
            least=8,
        ),
        Column(title="ENGINE", value=lambda row: row["engine"], rank=75 if one_engine else 45),
        Column(
            title="WEIGHTS",
            value=lambda row: runs_as(row, layers),
            brief=brief_runs_as,
            brief_rank=85,
            least=6,
        ),
        Column(title="FIT", value=lambda row: row["fit"]),
        Column(
            title="NEEDS/FREE",
            value=_memory,
            brief=_needs,
            brief_rank=60,
            brief_title="NEEDS",
            rank=15,
            right=True,
        ),
        _banded("TOK/S", lambda row: row["tokens_per_s"], rate, 90),
        _banded("TIME", answer_ms, brief_ms, 95),
        Column(title="LOAD", value=_load, rank=50, right=True, optional=True),
        Column(title="WAIT", value=_wait, rank=40, right=True, optional=True),
        Column(title="COST", value=cost, rank=13 if rents else 20, right=True),
        Column(title="RENT", value=rent_text, rank=14, right=True, optional=True),
        Column(title="AGE", value=rent_age, right=True, optional=True),
        Column(
            title="QUALITY",
            value=_quality if quality_decided(placements) or is_degraded(placements) else _nothing,
            rank=30,
            right=True,
            optional=True,
        ),
        Column(
            title="SPEED FROM",
            value=lambda row: speed_from(str(row["basis"])),
            brief=lambda row: speed_from(str(row["basis"])).partition(", bandwidth")[0],
            brief_rank=100,
            rank=92,
            least=12,
        ),
    )


def _banded(
    title: str, value: Callable[[Row], Row], show: Callable[[Any], str], rank: int
) -> Column[Row]:
    """The median with its band, in brief the median."""

    def full(row: Row) -> str:
        found = value(row)
        return f"{show(found['p50'])} ({show(found['p10'])}–{show(found['p90'])})"

    return Column(
        title=title,
        value=full,
        brief=lambda row: show(value(row)["p50"]),
        brief_rank=rank,
        right=True,
    )


def _nothing(_: Row) -> str:
    return ""


def _star(row: Row) -> str:
    return "*" if row["pareto"] else " "


def _first_member(row: Row) -> str:
    """ "rig + duo + lab" in brief: "rig +2"."""
    members = row.get("members", ())
    return f"{members[0]['device']} +{len(members) - 1}" if members else str(row["device"])


def _memory(row: Row) -> str:
    need = row["footprint"]
    return f"{gib(need['total_bytes'])}/{gib(need['free_bytes'])} GiB"


def _needs(row: Row) -> str:
    return f"{gib(row['footprint']['total_bytes'])} GiB"


def answer_ms(row: Row) -> Row:
    """From loaded to the last token."""
    band: Row = row["answer_ms"]
    return band


def _load(row: Row) -> str:
    return brief_ms(row["load_ms"]["p50"])


def _wait(row: Row) -> str:
    return brief_ms(row["wait_ms"]) if row["wait_ms"] else ""


def cost(row: Row) -> str:
    """The median cost; "unknown", or at least as much, where price or power is not known."""
    return show_cost(row["cost_nusd"]["p50"], row["cost_lacks"])


def _quality(row: Row) -> str:
    return f"{row['quality']:.3f}"


def is_degraded(placements: Sequence[Row]) -> bool:
    """Whether a type stands here that a plan takes only where nothing better fits."""
    return any(not row.get("quality_usual", True) for row in placements)


def quality_decided(placements: Sequence[Row]) -> bool:
    """Whether a row stands above one that is no slower and no dearer, so by quality alone."""
    for n, upper in enumerate(placements):
        for lower in placements[n + 1 :]:
            if upper["quality"] > lower["quality"] and _beats(lower, upper):
                return True
    return False


def _beats(one: Row, other: Row) -> bool:
    sooner = answer_ms(one)["p50"] <= answer_ms(other)["p50"]
    return bool(sooner and _ranked_cost(one) <= _ranked_cost(other))


def _ranked_cost(row: Row) -> Any:
    """What the answer alone costs, loading aside: placements are ranked by it."""
    return row["answer_cost_nusd"]["p50"]


def runs_as(row: Row, layers: int) -> str:
    """ "Q4_K_M", with the cache, the cards and what stays in RAM where those are not the usual."""
    words = [str(row["quant"])]
    if row["kv_type"] not in ("f16", "bf16", "auto"):
        words.append(f"{row['kv_type']} cache")
    if row["cards"] > 1:
        words.append(f"{row['cards']} cards")
    if row.get("gpu_layers", -1) >= 0:
        # llama.cpp counts the output as a layer
        words.append(f"{row['gpu_layers']}/{layers + 1} layers on GPU")
    if row.get("cpu_experts", 0) > 0:
        words.append(f"experts of {row['cpu_experts']} layers in RAM")
    return ", ".join(words)


def brief_runs_as(row: Row) -> str:
    """ "Q4_K_M", "Q4_K_M x2", "Q4_K_M +RAM"."""
    cards = f" x{row['cards']}" if row["cards"] > 1 else ""
    beside = row.get("gpu_layers", -1) >= 0 or row.get("cpu_experts", 0) > 0
    return f"{row['quant']}{cards}{' +RAM' if beside else ''}"


def speed_from(basis: str) -> str:
    """What a speed rests on, in words: "class prior (HBM cards)", "prior of RTX 3090"."""
    before, found, after = basis.partition(PRIOR)
    if not found:
        return basis
    name, comma, rest = after.partition(", ")
    names = name.split(" and ")
    if all(one in CLASSES for one in names):
        said = f"class prior ({' and '.join(CLASSES[one] for one in names)})"
    else:
        said = f"prior of {' and '.join(CLASSES.get(one, one) for one in names)}"
    return f"{before}{said}{comma}{rest}"


def legend(table: Table[Row]) -> str:
    """What the signs and times that are shown mean."""
    titles = {one.title for one in table.shown}
    parts = []
    if "" in titles:
        parts.append("* nothing else is at once cheaper, faster and better.")
    if any(one.title in ("TOK/S", "TIME") and not one.is_brief for one in table.shown):
        parts.append("(a–b): p10 to p90.")
    if "LOAD" in titles:
        parts.append("TIME counts from loaded to the last token; LOAD comes once before it.")
    return " ".join(parts)


def verdict(refusals: Sequence[Row]) -> str:
    """What no placement means: no memory anywhere, limits nothing keeps to, or no open door."""
    codes = [row["code"] for row in refusals if row["code"] != "NotChosen"]
    closed = [code for code in codes if code in ("Drained", "Reserved")]
    if closed and len(closed) == len(codes):
        return "Its devices take no new jobs now."
    bound = [code for code in codes if not code.startswith("NoFit") and code not in closed]
    return "Nothing keeps to the limits." if bound else "It fits nowhere."


def show_refusals(found: Row, *, explain: bool) -> None:
    """Why not elsewhere: devices with one reason stand on one line, those left out are counted."""
    refusals: Sequence[Row] = found["refusals"]
    told = [row for row in refusals if row["code"] != "NotChosen" and not is_rented(row)]
    reasons: dict[str, list[str]] = {}
    for row in told:
        code = f" [{row['code']}]" if explain else ""
        reasons.setdefault(f"{row['text']}{code}", []).append(str(row["device"]))
    if reasons:
        say("\nRefused:")
    for text, names in reasons.items():
        emit_text(clean(f"{named(names)}: {text}"), "    ", "  ")
    show_refused_rents([row for row in refusals if is_rented(row)])
    left = sum(row["code"] == "NotChosen" for row in refusals)
    if left:
        others = "1 other device" if left == 1 else f"{left} other devices"
        say()
        emit_text(clean(f"{others} not asked about: --on {found['query']['on']}."))


def named(names: Sequence[str]) -> str:
    """ "a, b, c", or "a, b, c and 4 more"."""
    more = len(names) - MORE_NAMES
    said = ", ".join(names[:MORE_NAMES] if more > 0 else names)
    return f"{said} and {more} more" if more > 0 else said


def show_ways_out(ways: Sequence[Row], command: Callable[[Row], str]) -> None:
    """What would fit, each with the command that asks for it."""
    import shlex

    if ways:
        say("\nWays out:")
    for way in ways:
        emit_text(clean(way["text"]), "    ", "  ")
        options = shlex.join([str(word) for word in way["options"]])
        # Whole, however narrow the terminal: it is there to be copied.
        say(clean(f"    try: {command(way)} {options}"))
