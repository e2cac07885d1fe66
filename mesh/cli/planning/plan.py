"""`fleet plan`: where a model fits, how fast, what it costs, why not there."""

from collections.abc import Collection, Mapping
from typing import Any, Final

import click

from mesh.cli.client import find_daemon
from mesh.cli.exits import NOTHING_FITS, USAGE, stop
from mesh.cli.options import (
    Renamed,
    allow_beyond_option,
    beside_options,
    given,
    hardware_options,
    llamacpp_options,
    plan_options,
    server_options,
)
from mesh.cli.output import emit_json, json_option, now_ms

# llama.cpp's own names of what another option says as well.
SAME: Final = {"--batch": ("--parallel",), "--kv-type": ("--cache-type-k", "--cache-type-v")}


@click.command()
@click.argument("model")
@plan_options
@llamacpp_options
@beside_options
@hardware_options
@server_options
@click.option("--sets/--no-sets", default=None, help="plan devices together, too  [default: yes]")
@allow_beyond_option
@click.option(
    "--cloud", is_flag=True, default=None, help="also machines to rent, the cheapest of each kind"
)
@click.option("--explain", is_flag=True, help="memory term by term, seconds by cause, the limits")
@json_option
@click.pass_context
def plan(
    ctx: click.Context, /, model: str, *, explain: bool, output: str, **options: object
) -> None:
    """Where MODEL fits, best first: a .gguf, a config.json, or a catalogue name."""
    found = ask_plan({"model": model_ref(model), **given(options)})
    if output == "json":
        emit_json(found)
    else:
        from mesh.cli.planning.plan_view import show_plan

        show_plan(found, explain=explain, command=lambda way: typed(ctx, replaced(way)))
    if not found["placements"]:
        stop(NOTHING_FITS)


def replaced(way: Mapping[str, Any]) -> set[str]:
    """The options that a way out of a plan sets anew, and those that say the same."""
    words = {str(word) for word in way["options"] if str(word).startswith("--")}
    return words | {same for word in words for same in SAME.get(word, ())}


def typed(ctx: click.Context, without: Collection[str] = ()) -> str:
    """The command as it was given, ready to be given again, less the options in `without`."""
    import shlex

    from click.core import ParameterSource

    words = ctx.command_path.split()
    for parameter in ctx.command.params:
        value = ctx.params.get(parameter.name or "")
        if ctx.get_parameter_source(parameter.name or "") != ParameterSource.COMMANDLINE:
            continue
        if isinstance(parameter, click.Argument):
            words.append(str(value))
            continue
        name = max(known_names(parameter), key=len)
        if name in without or name == "--output":
            continue
        if isinstance(value, bool):
            off = parameter.secondary_opts and not value
            words.append(parameter.secondary_opts[0] if off else parameter.opts[0])
            continue
        for one in value if isinstance(value, tuple) else (value,):
            words += [name, str(one)]
    return shlex.join(words)


def known_names(parameter: click.Parameter) -> list[str]:
    """An option's names of today, not those it also answers to."""
    if isinstance(parameter, Renamed):
        return parameter.known_as()
    return [*parameter.opts, *parameter.secondary_opts]


def ask_plan(query: Mapping[str, object]) -> Mapping[str, Any]:
    """The plan from the daemon, which reads live memory; else from the store."""
    from mesh.config import fleet_home

    home = fleet_home()
    daemon = find_daemon(home)
    if daemon is not None:
        return dict(daemon.post("/v1/plan", query))
    from mesh.edge.clouds.prices.known import known_quotes
    from mesh.edge.planning import plan_query
    from mesh.edge.store.state import load_state, load_state_if_any
    from mesh.state.state import State

    brings_hardware = bool(query.get("what_if") or query.get("fleet"))
    now = now_ms()
    if query.get("cloud"):  # a machine that was never online has typical prices
        state = load_state_if_any(home)
    else:  # hardware nobody owns needs no ledger
        state = State() if brings_hardware else load_state(home)
    return plan_query(state, query, now=now, quotes=lambda: known_quotes(state, now))


def model_ref(text: str) -> str:
    """A file's path made absolute, for the daemon runs in another folder; other references stay."""
    from pathlib import Path

    if not text.strip():
        stop(USAGE, "no model was named", "fleet models lists those known by name")
    if text.lower().startswith(("http://", "https://", "ollama:")):
        return text
    path = Path(text).expanduser()
    # "meta-llama/Llama-3.1-8B" is a repository unless such a folder is here.
    looks_like_path = text.startswith((".", "/", "~")) or path.suffix in (".gguf", ".json")
    return str(path.resolve()) if looks_like_path or path.exists() else text
