"""`fleet sweep`: memory, speed, time and cost over batch x context: a table, a file, a plot."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from mesh.cli.exits import NOTHING_FITS, USAGE, stop
from mesh.cli.options import (
    TOKENS,
    allow_beyond_option,
    beside_options,
    given,
    hardware_options,
    kv_type_option,
    llamacpp_options,
    on_option,
    server_options,
    tokens_option,
)
from mesh.cli.output import clean, csv_json_option, csv_option, now_ms, output_of, say
from mesh.cli.planning.plan import model_ref
from mesh.cli.table import emit_text

DEFAULT_BATCH: Final = "1..64"

if TYPE_CHECKING:
    from mesh.edge.sweep import Swept


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
@kv_type_option("cache as  [default: f16]")
@click.option("--engine", metavar="NAME", help="vllm, mlx …  [default: llama.cpp]")
@tokens_option
@click.option(
    "--prompt-tokens", type=TOKENS, help="tokens in the prompt  [default: what the context holds]"
)
@allow_beyond_option
@llamacpp_options
@beside_options
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
    on: tuple[str, ...],
    output: str,
    plot: Path | None,
    *,
    as_csv: bool,
    **options: Any,
) -> None:
    """What MODEL needs and how fast it is, for every batch and context."""
    output = output_of(output, as_csv=as_csv)
    if plot is not None and plot.suffix.lower() not in (".svg", ".png"):
        stop(USAGE, f"{plot} is neither .svg nor .png", "--plot sweep.svg")
    swept = _swept({"model": model_ref(model), **given(options)}, on)
    if plot is not None:
        from mesh.cli.planning.sweep_plot import draw

        draw(plot, model, swept.grids, swept.batches, swept.lengths)
    _emit(output, swept)
    if not any(bool((grid.verdicts <= 1).any()) for grid in swept.grids):
        stop(NOTHING_FITS)


def _swept(asked: dict[str, object], on: tuple[str, ...]) -> "Swept":

    from mesh.api.most import parse_sweep
    from mesh.config import fleet_home
    from mesh.edge.store.state import load_state
    from mesh.edge.sweep import sweep_of

    request, axes = parse_sweep(asked)
    return sweep_of(lambda: load_state(fleet_home()), request, axes, on, now=now_ms())


def _emit(output: str, swept: "Swept") -> None:
    from mesh.cli.planning.sweep_view import emit_json_rows, show_grids
    from mesh.edge.sweep import FIELDS, rows_of

    if output == "json":
        emit_json_rows(rows_of(swept))
    elif output == "csv":
        import sys

        from mesh.api.bills.cents import csv_lines, named_rows

        sys.stdout.writelines(csv_lines(FIELDS, named_rows(FIELDS, rows_of(swept))))
    else:
        show_grids(swept.grids, swept.batches, swept.lengths)
    for note in swept.notes:  # rows for programs hold cells alone
        if output == "text":
            say()
        emit_text(clean(f"Note: {note}."), "  ", err=output != "text")
