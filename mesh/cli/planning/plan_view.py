"""How a plan looks: one line per placement, one per refusal, and with --explain every term.

The table narrows to the terminal: bands lose their middle first, then words their rest, then an
engine that is the same everywhere goes.
"""

import shutil
from collections.abc import Mapping, Sequence
from typing import Any, Final

import click

from mesh.cli.output import clean

Row = Mapping[str, Any]

# Where nobody looks at a terminal the columns are as wide as they like.
PIPED_WIDTH: Final = 1000
GIB: Final = 1 << 30
HEADS: Final = (
    "",
    "DEVICE",
    "ENGINE",
    "WEIGHTS",
    "FIT",
    "NEEDS/FREE",
    "TOK/S",
    "TIME",
    "COST",
    "BASIS",
)
RIGHT: Final = ("NEEDS/FREE", "TOK/S", "TIME", "COST")
TERMS: Final = (
    ("weights", "weights_bytes"),
    ("cache", "kv_bytes"),
    ("states", "state_bytes"),
    ("scratch", "compute_bytes"),
    ("logits", "output_bytes"),
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


def terminal_width() -> int:
    """Columns to fill: the terminal's, or $COLUMNS; no bound in a pipe."""
    return shutil.get_terminal_size((PIPED_WIDTH, 24)).columns


def show_plan(found: Row, explain: bool) -> None:
    """Placements best first, refusals with what is missing; the terms behind them on request."""
    width = terminal_width()
    placements: Sequence[Row] = found["placements"]
    if placements:
        for line in table(placements, found["query"], width):
            click.echo(line)
    else:
        click.echo("It fits nowhere.")
    if len(placements) > 1:
        click.echo("\n* nothing else is at once cheaper, faster and better. Bands: p10–p90.")
    _show_refusals(found["refusals"], width)
    if explain:
        _show_terms(found)


def table(placements: Sequence[Row], query: Row, width: int) -> list[str]:
    """The placements' lines, at most `width` columns where that can be."""
    lines: list[str] = []
    for brief in (0, 1, 2, 3):
        rows = [_cells(row, query, brief) for row in placements]
        shown = [i for i, head in enumerate(HEADS) if _wanted(head, placements, brief)]
        lines = aligned(
            [[line[i] for i in shown] for line in [list(HEADS), *rows]],
            [HEADS[i] in RIGHT for i in shown],
        )
        if max(map(len, lines)) <= width:
            return lines
    return lines


def _wanted(head: str, placements: Sequence[Row], brief: int) -> bool:
    if head == "":
        return len(placements) > 1
    if head == "FIT" and brief >= 2:
        return any(row["fit"] != "fit" for row in placements)
    if head == "ENGINE" and brief == 3:
        return len({row["engine"] for row in placements}) > 1
    return head != "BASIS" or brief < 2


def aligned(lines: Sequence[Sequence[str]], right: Sequence[bool]) -> list[str]:
    """Columns as wide as their widest cell, two spaces apart, numbers to the right."""
    widths = [max(len(line[i]) for line in lines) for i in range(len(right))]
    return [
        "  ".join(
            cell.rjust(wide) if to_right else cell.ljust(wide)
            for cell, wide, to_right in zip(line, widths, right, strict=True)
        ).rstrip()
        for line in lines
    ]


def _cells(row: Row, query: Row, brief: int) -> list[str]:
    footprint = row["footprint"]
    basis = str(row["basis"])
    return [
        "*" if row["pareto"] else "",
        _device(row, brief),
        row["engine"],
        runs_as(row, query),
        row["fit"],
        f"{gib(footprint['total_bytes'])}/{gib(footprint['free_bytes'])}" + " GiB" * (brief < 2),
        _band(row["tokens_per_s"], rate, brief),
        _band(row["duration_ms"], brief_ms, brief),
        money(row["cost_nusd"]["p50"]),
        clean(basis if brief < 1 else basis.partition(":")[0]),
    ]


def _device(row: Row, brief: int) -> str:
    """ "rig + duo + lab", in brief "rig +2"."""
    members = row.get("members", ())
    if brief < 2 or not members:
        return clean(row["device"])
    return clean(f"{members[0]['device']} +{len(members) - 1}")


def runs_as(row: Row, query: Row) -> str:
    """ "Q4_K_M", with the cache, the cards and what stays in RAM where those are not the usual."""
    words = [str(row["quant"])]
    if row["kv_type"] not in ("f16", "bf16", "auto"):
        words.append(f"{row['kv_type']} cache")
    if row["cards"] > 1:
        words.append(f"{row['cards']} cards")
    if row.get("gpu_layers", -1) >= 0:
        words.append(
            f"{row['gpu_layers']}/{query['layers'] + 1} layers on GPU"
        )  # llama.cpp's count
    if row.get("cpu_experts", 0) > 0:
        words.append(f"experts of {row['cpu_experts']} layers in RAM")
    return clean(", ".join(words))


def _band(value: Row, show: Any, brief: int) -> str:
    """ "16.8 (14.4–19.7)", in brief "14.4–19.7"."""
    ends = f"{show(value['p10'])}–{show(value['p90'])}"
    return ends if brief else f"{show(value['p50'])} ({ends})"


def gib(size: int) -> str:
    return f"{size / GIB:.1f}"


def rate(value: float) -> str:
    """Three digits are more than any estimate knows."""
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 1 else f"{value:.2f}"


def brief_ms(ms: int) -> str:
    """ "250ms", "2.5s", "12s", "3m20s", "2h05m"."""
    if ms < 1000:
        return f"{ms}ms"
    if ms < 10_000:
        return f"{ms // 100 / 10}s"
    if ms < 60_000:
        return f"{ms // 1000}s"
    seconds = ms // 1000
    if seconds < 3600:
        return f"{seconds // 60}m{seconds % 60:02}s"
    return f"{seconds // 3600}h{seconds // 60 % 60:02}m"


def money(nusd: int) -> str:
    """Cents in full, two digits of less."""
    dollars = nusd / 1e9
    if dollars >= 0.995:
        return f"${dollars:.2f}"
    if nusd == 0:
        return "$0"
    decimals = 2
    while decimals < 9 and dollars * 10**decimals < 9.95:
        decimals += 1
    return f"${dollars:.{decimals}f}"


def _show_refusals(refusals: Sequence[Row], width: int) -> None:
    if not refusals:
        return
    import textwrap

    click.echo("\nNot there, because:")
    wide = max(len(clean(row["device"])) for row in refusals)
    codes = max(len(row["code"]) for row in refusals)
    indent = " " * (wide + codes + 6)
    for row in refusals:
        head = f"  {clean(row['device']):<{wide}}  {row['code']:<{codes}}  "
        room = max(30, width - len(indent))
        lines = textwrap.wrap(clean(row["text"]), room) or [""]
        click.echo(head + lines[0])
        for line in lines[1:]:
            click.echo(indent + line)


def _show_terms(found: Row) -> None:
    from mathcore.units import show_bytes

    query = found["query"]
    for row in found["placements"]:
        need, duration = row["footprint"], row["duration_ms"]
        spare = need["free_bytes"] - need["total_bytes"]
        click.echo(f"\n{clean(row['device'])}: {row['engine']}, {runs_as(row, query)}")
        _line("memory", show_bytes(need["total_bytes"]), f"{show_bytes(spare)} to spare")
        for name, key in TERMS:
            if need[key]:
                _line(f"  {name}", show_bytes(need[key]))
        if need["host_bytes"]:
            _line("in RAM", show_bytes(need["host_bytes"]))
        _line("time", brief_ms(duration["p50"]), _ends(duration, brief_ms))
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
        _line("cost", money(row["cost_nusd"]["p50"]), _ends(row["cost_nusd"], money))
        _line("quality", f"{row['quality']:.4f}", "of the 16-bit model")
        click.echo(f"  {'basis':<12}  {clean(row['basis'])}")
    _show_limits(found)


def _show_member(member: Row) -> None:
    from mathcore.units import show_bytes

    cards = f"{member['cards']} cards" if member["cards"] > 1 else "1 card"
    spare = member["free_bytes"] - member["need_bytes"]
    click.echo(f"  on {clean(member['device'])}: {member['layers']} layers, {cards}")
    _line("    memory", show_bytes(member["need_bytes"]), f"{show_bytes(spare)} to spare")
    for name, ms in member["terms_ms"].items():
        if ms > 0:
            _line(f"    {name}", brief_ms(ms), _share(ms, member["terms_ms"]))


def _line(name: str, value: str, rest: str = "") -> None:
    click.echo(f"  {name:<12}  {value:>10}  {rest}".rstrip())


def _ends(value: Row, show: Any) -> str:
    return f"{show(value['p10'])}–{show(value['p90'])}"


def _share(ms: int, terms: Row) -> str:
    total = sum(terms.values())
    return f"{100 * ms / total:.0f} %" if total else ""


def _show_limits(found: Row) -> None:
    query, refused = found["query"], [row["code"] for row in found["refusals"]]
    kept = [f"{name} {_limit(key, query[key])}" for name, key in LIMITS if query[key] is not None]
    click.echo(f"\nobjective  {query['objective']}")
    click.echo(f"limits     {', '.join(kept) or 'none'}")
    counts = [f"{code} {refused.count(code)}" for code in sorted(set(refused))]
    click.echo(f"refused    {', '.join(counts) or 'none'}")
    best = [clean(row["device"]) for row in found["placements"] if row["pareto"]]
    click.echo(f"pareto     {', '.join(best) or 'none'}")


def _limit(key: str, value: Any) -> str:
    if key.endswith("_ms"):
        return brief_ms(value)
    return money(value) if "nusd" in key else f"{value:g}"
