"""`fleet sweep`: memory, speed, time and cost over batch x context: a table, a file, a plot."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from mathcore.units import parse_count
from mesh.cli.exits import NOTHING_FITS, USAGE, stop
from mesh.cli.options import (
    TOKENS,
    allow_beyond_option,
    csv_option,
    given,
    hardware_options,
    on_option,
    output_of,
    server_options,
    tokens_option,
)
from mesh.cli.output import csv_json_option
from mesh.cli.planning.capacity_served import engine_options
from mesh.cli.planning.plan import model_ref

if TYPE_CHECKING:
    from mathcore.device import DeviceSpec
    from mathcore.model.spec import ModelSpec
    from mathcore.planner.sweep import Grid, Length

LLAMACPP: Final = "llama.cpp"
# Weights a sweep is about where nobody names a type, of engines that read no GGUF.
USUAL_QUANT: Final = {
    "vllm": "HF-BF16",
    "sglang": "HF-BF16",
    "tgi": "HF-BF16",
    "mlx": "MLX-4bit",
}
DEFAULT_BATCH: Final = "1..64"
DEFAULT_CONTEXT: Final = "2k..128k"
# Numbers on one axis; the cells of all axes together are bounded by mathcore.sweep.
MAX_AXIS: Final = 65_536
# Cells whose speeds are asked for one by one, at about a millisecond each.
MAX_FILLED: Final = 1024
FIELDS: Final = (
    "device",
    "quant",
    "batch",
    "context",
    "prompt_tokens",
    "tokens",
    "verdict",
    "cards",
    "needs_bytes",
    "free_bytes",
    "missing_bytes",
    "tokens_per_s_p10",
    "tokens_per_s_p50",
    "tokens_per_s_p90",
    "duration_ms_p10",
    "duration_ms_p50",
    "duration_ms_p90",
    "cost_nusd_p10",
    "cost_nusd_p50",
    "cost_nusd_p90",
)


@click.command()
@click.argument("model")
@click.option(
    "-b",
    "--batch",
    default=DEFAULT_BATCH,
    show_default=True,
    metavar="NUMBERS",
    help="sequences at once: 1,2,4..64 doubles, 1..64/1 counts",
)
@click.option(
    "-c",
    "--context",
    metavar="NUMBERS",
    help="tokens per sequence: 2k,8k or 2k..128k/2k  [default: 2k..128k, as trained for]",
)
@click.option(
    "--quant",
    multiple=True,
    metavar="TYPE",
    help="weights as; repeatable  [default: Q4_K_M, or as shipped in 4 bits]",
)
@click.option("--kv-type", default="f16", show_default=True, metavar="TYPE", help="cache as")
@click.option("--engine", metavar="NAME", help="vllm, mlx …  [default: llama.cpp]")
@tokens_option
@click.option(
    "--prompt-tokens", type=TOKENS, help="tokens in the prompt  [default: what the context holds]"
)
@allow_beyond_option
@on_option(several=True)
@hardware_options
@server_options
@csv_json_option
@csv_option
@click.option(
    "--plot",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="also draw it: .svg, or .png where matplotlib is installed",
)
def sweep(
    model: str,
    batch: str,
    context: str | None,
    quant: tuple[str, ...],
    output: str,
    plot: Path | None,
    *,
    as_csv: bool,
    **options: Any,
) -> None:
    """What MODEL needs and how fast it is, for every batch and context."""
    output = output_of(output, as_csv=as_csv)
    batches = parse_numbers(batch, "--batch")
    contexts = parse_numbers(context or DEFAULT_CONTEXT, "--context")
    if plot is not None and plot.suffix.lower() not in (".svg", ".png"):
        stop(USAGE, f"{plot} is neither .svg nor .png", "--plot sweep.svg")
    spec = _spec(model)
    if context is None and spec.longest:
        most = spec.longest
        contexts = [number for number in contexts if number <= most] or [most]
    grids, lengths = _grids(spec, batches, contexts, quant, options)
    if plot is not None:
        from mesh.cli.planning.sweep_plot import draw

        draw(plot, model, grids, batches, lengths)
    _emit(output, grids, batches, lengths)
    if not any(bool((grid.verdicts <= 1).any()) for grid in grids):
        stop(NOTHING_FITS)


def _emit(output: str, grids: "list[Grid]", batches: list[int], lengths: "list[Length]") -> None:
    from mesh.cli.planning.sweep_view import emit_json_rows, show_grids

    if output == "json":
        emit_json_rows(rows(grids, batches, lengths))
    elif output == "csv":
        import csv
        import sys

        writer = csv.DictWriter(sys.stdout, FIELDS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows(grids, batches, lengths))
    else:
        show_grids(grids, batches, lengths)


def parse_numbers(text: str, what: str) -> list[int]:
    """Ascending numbers of "1,2,4..64" (doubling), "1..64/1" (in steps), "2k,128k" (k = 1,024)."""
    found: set[int] = set()
    for part in text.split(","):
        first, dots, rest = part.partition("..")
        last, slash, step = rest.partition("/")
        low = _number(first, what)
        high = _number(last, what) if dots else low
        by = _number(step, what) if slash else 0
        if high < low:
            stop(USAGE, f"{what}: {part.strip()!r} runs backwards", "say 1..64")
        count = (high - low) // by if by else (high // low).bit_length()
        if count + len(found) > MAX_AXIS:
            stop(USAGE, f"{what}: {part.strip()!r} is more than {MAX_AXIS} numbers", "larger steps")
        found.update(_between(low, high, by))
    return sorted(found)


def _between(low: int, high: int, by: int) -> Iterator[int]:
    """From low to high, both included: doubling, or in steps."""
    at = low
    while at < high:
        yield at
        at = at + by if by else at * 2
    yield high


def _number(text: str, what: str) -> int:
    from mesh.api.fields import MAX_BATCH, MAX_CONTEXT

    try:
        number = parse_count(text)
    except ValueError:
        stop(USAGE, f"{what}: {text.strip()!r} is not a number", "say 1,2,4..64 or 2k..128k")
    most = MAX_BATCH if what == "--batch" else MAX_CONTEXT
    if not 1 <= number <= most:
        stop(USAGE, f"{what}: {text.strip()} is not between 1 and {most}", "fleet sweep --help")
    return number


def _spec(model: str) -> "ModelSpec":
    from mesh.edge.planning import source_of

    return source_of(model_ref(model)).spec


def _grids(
    spec: "ModelSpec",
    batches: list[int],
    contexts: list[int],
    quant: tuple[str, ...],
    options: dict[str, Any],
) -> "tuple[list[Grid], list[Length]]":
    from dataclasses import replace

    from mathcore.model.spec import SpecError
    from mathcore.planner.query import Query
    from mathcore.quant.ladder import usual_file
    from mesh.api.requests import lengths

    try:
        from mathcore.planner.sweep import Length, SweepError, sweep
    except ImportError:
        stop(USAGE, "a sweep needs numpy, which is not installed", "pip install numpy")
    engine = options["engine"] or LLAMACPP
    devices = hardware(options, (engine,))
    # Every length of prompt is a question of its own, so a large field takes the usual prompt.
    fills = options["prompt_tokens"] is None and len(contexts) * len(batches) <= MAX_FILLED
    asked = []
    for context in contexts:
        prompt, tokens = lengths(options["prompt_tokens"], options["tokens"], context)
        prompt = max(1, context - tokens) if fills else prompt
        asked.append(Length(context=context, prompt_tokens=prompt, tokens=tokens))
    usual = USUAL_QUANT.get(engine, "") if not spec.quant else spec.quant
    kinds = list(quant) or [usual or usual_file(spec)]
    base = Query(
        model=spec,
        model_ref=spec.name,
        kv_type=options["kv_type"],
        allow_beyond=bool(options["allow_beyond"]),
    )
    try:
        if engine == LLAMACPP:
            return sweep(base, devices, kinds, batches, asked), asked
        from mathcore.planner.served.sweep import served_sweep

        base = replace(base, engine=engine, options=engine_options(options, 1, engine))
        return served_sweep(base, devices, kinds, batches, asked), asked
    except (SpecError, SweepError) as error:
        stop(USAGE, f"{error.field}: {error.text}", "fleet sweep --help")


def hardware(
    options: dict[str, Any], engines: tuple[str, ...] = ("llama.cpp",)
) -> "list[DeviceSpec]":
    """The devices asked about: what-ifs, a file's, those named, else all with such an engine."""
    from mesh.api.requests import PlanRequest, convert
    from mesh.config import fleet_home
    from mesh.edge.planning import described, what_ifs
    from mesh.edge.store.state import load_state
    from mesh.state.fleet import spec

    named: tuple[str, ...] = options["on"]
    brought = given({name: options[name] for name in ("what_if", "fleet_file", "ram", "rate")})
    request = convert({"model": "-", **brought}, PlanRequest)
    for name in request.what_if:
        if " + " in name:
            stop(USAGE, f"what-if {name!r}: only one kind of card here", "fleet plan takes several")
    ram, rate = request.ram, request.rate
    instead = what_ifs(request.what_if, ram, rate) | described(request.fleet, ram, rate)
    views = [] if instead and not named else list(load_state(fleet_home()).devices.values())
    for name in named:
        if not any(name in (view.name, view.device_id) for view in views):
            stop(102, f"no device is called {name!r}", "fleet devices lists them")
    found = [
        spec(view)
        for view in sorted(views, key=lambda view: view.name)
        if not named or view.name in named or view.device_id in named
    ]
    found = [device for device in found if named or set(engines) & set(device.engines)]
    out = [*instead.values(), *found]
    if not out:
        stop(NOTHING_FITS, f"no device here runs {' or '.join(engines)}", '--what-if "RTX 5090"')
    return out


def rows(
    grids: "list[Grid]", batches: list[int], lengths: "list[Length]"
) -> Iterator[dict[str, object]]:
    """One flat row per cell, in the order device, quantisation, batch, context."""
    from mathcore.planner.sweep import VERDICTS

    for grid in grids:
        free = grid.device.free_bytes
        for i, batch in enumerate(batches):
            columns = (
                grid.verdicts[i].tolist(),
                grid.cards[i].tolist(),
                grid.needs[i].tolist(),
                grid.spare[i].tolist(),
                grid.times[i].tolist(),
            )
            for length, verdict, cards, needs, spare, at in zip(lengths, *columns, strict=True):
                yield {
                    "device": grid.device.name,
                    "quant": grid.quant,
                    "batch": batch,
                    "context": length.context,
                    "prompt_tokens": length.prompt_tokens,
                    "tokens": length.tokens,
                    "verdict": VERDICTS[verdict],
                    "cards": cards,
                    "needs_bytes": needs,
                    "free_bytes": free * cards,
                    "missing_bytes": max(0, -spare) * cards,
                    **_timed(grid, at),
                }


def _timed(grid: "Grid", at: int) -> dict[str, object]:
    if at < 0:
        return dict.fromkeys(FIELDS[11:])
    placed = grid.placements[at]
    rate, took, cost = placed.tokens_per_s, placed.duration_ms, placed.cost_nusd
    return {
        "tokens_per_s_p10": round(rate.p10, 3),
        "tokens_per_s_p50": round(rate.p50, 3),
        "tokens_per_s_p90": round(rate.p90, 3),
        "duration_ms_p10": round(took.p10),
        "duration_ms_p50": round(took.p50),
        "duration_ms_p90": round(took.p90),
        "cost_nusd_p10": round(cost.p10),
        "cost_nusd_p50": round(cost.p50),
        "cost_nusd_p90": round(cost.p90),
    }
