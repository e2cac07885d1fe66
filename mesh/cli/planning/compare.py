"""`fleet compare`: what tokens a day cost on what is owned, on what can be rented, at an API."""

from collections.abc import Mapping
from typing import Any, Final

import click

from mesh.cli.client import find_daemon
from mesh.cli.exits import NOTHING_FITS, stop
from mesh.cli.options import (
    batch_option,
    context_option,
    given,
    hardware_options,
    kv_type_option,
    prompt_tokens_option,
    tokens_option,
)
from mesh.cli.output import csv_json_option, emit_json, now_ms
from mesh.cli.planning.plan import model_ref

# A comparison without an answer of a machine of any kind is none, whatever an API charges.
MACHINES: Final = ("owned", "rented")


@click.command()
@click.argument("model")
@click.option(
    "-t",
    "--tokens-per-day",
    metavar="N",
    help="read and written together: 500k, 2M (a million is 1,000,000)",
)
@click.option("--hours", metavar="H", help="of a day a machine may work  [default: 8]")
@click.option(
    "--prompt-share", metavar="S", help="of the tokens, those that are read  [default: 0.75]"
)
@click.option("--months", metavar="N", help="also what is paid in so many months, purchase whole")
@click.option("--spot/--no-spot", default=None, help="only rentals that may be taken back, or none")
@batch_option
@context_option
@prompt_tokens_option
@tokens_option
@click.option("--engine", metavar="NAME", help="llama.cpp, vllm …  [default: any]")
@click.option("--quant", metavar="TYPE", help="weights as Q4_K_M, F16 …  [default: best]")
@kv_type_option("cache as q8_0 …; auto tries 8 bits  [default: f16]")
@click.option("--min-quality", metavar="Q", help="0 to 1, where 1 is the 16-bit model: 0.97")
@click.option("--max-price", metavar="$", help="of a machine, dollars an hour, at most: 0.50")
@hardware_options
@csv_json_option
def compare(model: str, *, output: str, **options: Any) -> None:
    """What tokens a day of MODEL cost: owned, rented, or at a hosted API.

    Where a part of a cost is unknown it is shown as unknown, or as at least (≥) what is known.
    """
    found = ask_compare({"model": model_ref(model), **given(options)})
    if output == "json":
        emit_json(found)
    elif output == "csv":
        from mesh.cli.planning.comparing.table import emit_csv

        emit_csv(found)
    else:
        from mesh.cli.planning.comparing.view import show_compare

        show_compare(found)
    if not any(row["kind"] in MACHINES for row in found["rows"]):
        stop(NOTHING_FITS)


def ask_compare(query: Mapping[str, object]) -> Mapping[str, Any]:
    """From the daemon, which reads live memory and live offers; else from the ledger, if there is
    one, and the tables this program came with."""
    from mesh.config import fleet_home

    home = fleet_home()
    daemon = find_daemon(home)
    if daemon is not None:
        return dict(daemon.post("/v1/compare", query))
    from mesh.edge.clouds.choosing import with_records
    from mesh.edge.clouds.prices.known import known_quotes
    from mesh.edge.compare import compare_query
    from mesh.edge.store.state import load_state_if_any
    from mesh.policy.rentals.history import records

    now, state = now_ms(), load_state_if_any(home)
    quotes = with_records(known_quotes(state, now), records(state.rentals.every()))
    return compare_query(state, query, now=now, quotes=lambda: quotes)
