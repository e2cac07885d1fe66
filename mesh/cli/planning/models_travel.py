"""`fleet models pull`, `push` and `rm`: models between the peers of a fleet, and off this disk."""

import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import click

from mesh.cli.client import Daemon, find_daemon, need_daemon, quoted
from mesh.cli.exits import CANNOT, UNREACHABLE, USAGE, stop
from mesh.cli.output import brief_ms, clean, emit_json, json_option, say
from mesh.cli.planning.models_where import say_start, show_progress

LOOK_S: Final = 0.2  # between two looks at a transfer
ENDED: Final = ("done", "failed", "stopped")
GOES_ON: Final = "the daemon goes on with it; fleet models pull again shows how far it is"


@click.command()
@click.argument("model")
@click.option("--from", "source", metavar="PEER", help="only from this peer; else the nearest")
@click.option("--to", "target", metavar="PEER", help="bring it to that peer, from here: push")
@click.option("--metered", is_flag=True, help="also over a line that costs by the byte")
@json_option
def pull(*, model: str, source: str | None, target: str | None, metered: bool, output: str) -> None:
    """Bring MODEL here from a peer that has it: a name or id of `fleet models --where`.

    What came is kept over every cut; a pull that was broken off goes on by itself.
    """
    from mesh.config import fleet_home

    if source is not None and target is not None:
        stop(USAGE, "say --from or --to, not both", "fleet models pull --help")
    daemon = need_daemon(fleet_home())
    if target is not None:
        _push(daemon, model, target, output)
        return
    body = {"model": _whole(model), "from": source or "", "metered": metered}
    _follow(daemon, daemon.post("/v1/models/pull", body), "", output)


@click.command()
@click.argument("model")
@click.option("--to", "target", metavar="PEER", required=True, help="the peer that shall have it")
@json_option
def push(model: str, target: str, output: str) -> None:
    """Bring MODEL from here to another peer, within the limits its owner set there."""
    from mesh.config import fleet_home

    _push(need_daemon(fleet_home()), model, target, output)


def _push(daemon: Daemon, model: str, target: str, output: str) -> None:
    row = daemon.post("/v1/models/push", {"model": _whole(model), "to": target})
    _follow(daemon, row, str(row["to"]), output)


def _whole(model: str) -> str:
    """A path as the daemon finds it; any other word as it is."""
    path = Path(model).expanduser()
    return str(path.absolute()) if path.exists() else model


def _follow(daemon: Daemon, row: Mapping[str, Any], peer: str, output: str) -> None:
    """Show a transfer until it ends; its end is the command's."""
    shown = output != "json"
    try:
        row = _watched(daemon, row, peer, shown=shown)
    except KeyboardInterrupt:
        say(f"\n{GOES_ON}", err=True)
        raise
    if row["state"] in ("failed", "stopped"):
        code = UNREACHABLE if row.get("code") in ("Unreached", "Unanswered") else CANNOT
        stop(code, str(row["text"]) or f"{row['name']}: stopped", str(row["hint"]))
    if not shown:
        emit_json(row)
    elif row["state"] == "here":
        say(f"{clean(row['name'])} is {'there' if peer else 'here'} already: {clean(row['id'])}")
    else:
        say(f"{clean(row['name'])} is {f'at {peer}' if peer else 'here'}, {_took(row)}")


def _took(row: Mapping[str, Any]) -> str:
    spent = max(1, int(row["took_ms"]))
    rate = int(row["received_bytes"]) / spent / 1000
    return f"in {brief_ms(spent)} at {rate:.0f} MB/s, verified: {row['id']}"


def _watched(
    daemon: Daemon, row: Mapping[str, Any], peer: str, *, shown: bool
) -> Mapping[str, Any]:
    path = f"/v1/models/fetches/{row['id']}" + (f"?peer={quoted(peer)}" if peer else "")
    live, begun = shown and sys.stderr.isatty(), False
    while row["state"] not in (*ENDED, "here"):
        time.sleep(LOOK_S)
        row = daemon.get(path)
        if shown and not begun and (row["predicted_ms"] or row["state"] in ENDED):
            begun = True
            say_start(row, f" to {clean(peer)}" if peer else "")
        if live and begun:
            click.echo(f"\r{show_progress(row)}\x1b[K", nl=False, err=True)
    if live and begun:
        click.echo("", err=True)
    return row


@click.command()
@click.argument("model")
@click.option("-y", "--yes", is_flag=True, help="do not ask")
@json_option
def rm(*, model: str, yes: bool, output: str) -> None:
    """Remove a MODEL that was fetched from a peer, or the files of one named by its path.

    What Hugging Face, Ollama and others keep is theirs, unless you name its path. A link is removed
    as a link; what it leads to stays.
    """
    from mathcore.units import show_bytes
    from mesh.cli.options import confirm

    found = _removed(_whole(model), look=True)
    if not yes:
        confirm(f"remove {clean(found['name'])} at {clean(found['path'])}?")
    said = _removed(_whole(model), look=False)
    if output == "json":
        emit_json(said)
        return
    say(f"{clean(said['name'])} is gone: {show_bytes(int(said['freed_bytes']))} freed")


def _removed(model: str, *, look: bool) -> Mapping[str, Any]:
    """By the daemon, which may be fetching it; without one, on this disk."""
    from mesh.config import fleet_home, load_config

    home = fleet_home()
    daemon = find_daemon(home)
    if daemon is not None:
        return dict(daemon.post("/v1/models/rm", {"model": model, "look": look}))
    from mesh.edge.models.local import LocalModels

    local = LocalModels(home, load_config(home).models)
    return local.removable(model) if look else local.remove(model)
