"""`fleet plan`: where a model fits, how fast, what it costs, why not there."""

from collections.abc import Mapping, Sequence
from typing import Any

import click

from mesh.cli.client import find_daemon
from mesh.cli.exits import NOTHING_FITS, stop
from mesh.cli.options import given, plan_options
from mesh.cli.output import band, clean, emit_json, emit_table, json_option


@click.command()
@click.argument("model")
@plan_options
@json_option
def plan(model: str, output: str, **options: object) -> None:
    """Where MODEL fits, best first: a .gguf, a config.json, or a catalogue name."""
    found = ask_plan({"model": model_ref(model), **given(options)})
    if output == "json":
        emit_json(found)
    else:
        show_plan(found)
    if not found["placements"]:
        stop(NOTHING_FITS)


def ask_plan(query: Mapping[str, object]) -> Mapping[str, Any]:
    """The plan from the daemon, which reads live memory; else from the store."""
    from mesh.config import fleet_home

    home = fleet_home()
    daemon = find_daemon(home)
    if daemon is not None:
        return dict(daemon.post("/v1/plan", query))
    from mesh.views import load_state, plan_query

    return plan_query(load_state(home), query)


def model_ref(text: str) -> str:
    """A file's path made absolute, for the daemon runs in another folder; other references stay."""
    from pathlib import Path

    if text.lower().startswith(("http://", "https://", "ollama:")):
        return text
    path = Path(text).expanduser()
    # "meta-llama/Llama-3.1-8B" is a repository unless such a folder is here.
    looks_like_path = text.startswith((".", "/", "~")) or path.suffix in (".gguf", ".json")
    return str(path.resolve()) if looks_like_path or path.exists() else text


def show_plan(found: Mapping[str, Any]) -> None:
    """Placements best first, then every refusal with its reason."""
    heads = ("DEVICE", "ENGINE", "QUANT", "FIT", "NEEDS", "FREE", "TOK/S (p10–p90)",
             "TIME (p10–p90)", "COST", "BASIS")
    emit_table(heads, [_placement(row) for row in found["placements"]], "It fits nowhere.")
    refusals: Sequence[Mapping[str, Any]] = found["refusals"]
    if refusals:
        click.echo("\nNot there, because:")
    for row in refusals:
        click.echo(f"  {clean(row['device'])}  {row['code']}  {clean(row['text'])}")


def _placement(row: Mapping[str, Any]) -> list[object]:
    from mathcore.units import show_bytes, show_ms, show_nusd

    footprint = row["footprint"]
    return [
        row["device"], row["engine"], row["quant"], row["fit"],
        show_bytes(footprint["total_bytes"]), show_bytes(footprint["free_bytes"]),
        band(row["tokens_per_s"], lambda v: f"{v:.1f}"), band(row["duration_ms"], show_ms),
        show_nusd(row["cost_nusd"]["p50"]), row["basis"],
    ]
