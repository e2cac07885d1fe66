"""`fleet plan`: where a model fits, how fast, what it costs, why not there."""

from collections.abc import Mapping
from typing import Any

import click

from mesh.cli.client import find_daemon
from mesh.cli.exits import NOTHING_FITS, stop
from mesh.cli.options import given, hardware_options, plan_options
from mesh.cli.output import emit_json, json_option, now_ms


@click.command()
@click.argument("model")
@plan_options
@hardware_options
@click.option("--sets/--no-sets", default=None, help="plan devices together, too  [default: yes]")
@click.option("--explain", is_flag=True, help="memory term by term, seconds by cause, the limits")
@json_option
def plan(model: str, explain: bool, output: str, **options: object) -> None:
    """Where MODEL fits, best first: a .gguf, a config.json, or a catalogue name."""
    found = ask_plan({"model": model_ref(model), **given(options)})
    if output == "json":
        emit_json(found)
    else:
        from mesh.cli.planning.plan_view import show_plan

        show_plan(found, explain)
    if not found["placements"]:
        stop(NOTHING_FITS)


def ask_plan(query: Mapping[str, object]) -> Mapping[str, Any]:
    """The plan from the daemon, which reads live memory; else from the store."""
    from mesh.config import fleet_home

    home = fleet_home()
    daemon = find_daemon(home)
    if daemon is not None:
        return dict(daemon.post("/v1/plan", query))
    from mesh.edge.planning import plan_query
    from mesh.edge.store.state import load_state
    from mesh.state.fold import State

    brings_hardware = bool(query.get("what_if") or query.get("fleet"))
    # Hardware nobody owns needs no ledger.
    return plan_query(State() if brings_hardware else load_state(home), query, now=now_ms())


def model_ref(text: str) -> str:
    """A file's path made absolute, for the daemon runs in another folder; other references stay."""
    from pathlib import Path

    if text.lower().startswith(("http://", "https://", "ollama:")):
        return text
    path = Path(text).expanduser()
    # "meta-llama/Llama-3.1-8B" is a repository unless such a folder is here.
    looks_like_path = text.startswith((".", "/", "~")) or path.suffix in (".gguf", ".json")
    return str(path.resolve()) if looks_like_path or path.exists() else text
