"""`fleet` alone: how the fleet is, and what to do next."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import click

from mesh.cli.client import find_daemon
from mesh.cli.machines.status import status
from mesh.cli.output import emit_json
from mesh.cli.table import emit_text, terminal_width

WITHOUT_DAEMON: Final = (
    ("fleet plan llama3.1:8b", "ask what a model needs, also of hardware you do not own"),
    ("fleet --help", "every command"),
)
WITH_DAEMON: Final = (
    ("fleet plan MODEL", "where a model fits, how fast, for how much"),
    ("fleet run ./model.gguf --prompt TEXT", "run it here"),
    ("fleet invite", "let a second machine in"),
    ("fleet --help", "every command"),
)


def welcome(ctx: click.Context, output: str) -> None:
    """The status where there is a ledger, and the next steps; never an error."""
    from mesh.config import fleet_home
    from mesh.edge.store.schema import DATABASE

    home = fleet_home()
    known = (home / DATABASE).exists()
    steps = _steps(home)
    if known:
        ctx.invoke(status, output=output)
    elif output == "json":
        emit_json({"daemon": False, "events": 0, "devices": [], "jobs": {}, "peers": []})
    else:
        click.echo(f"no fleet here yet: nothing is in {home}")
    if output != "json":
        _show(steps)


def _steps(home: Path) -> Sequence[tuple[str, str]]:
    if find_daemon(home) is None:
        return (("fleet up --detach", "start this machine's daemon"), *WITHOUT_DAEMON)
    return WITH_DAEMON


def _show(steps: Sequence[tuple[str, str]]) -> None:
    width = max(len(command) for command, _ in steps)
    click.echo("\nnext:")
    for command, what in steps:
        emit_step(f"  {command:<{width}}  ", what)


def emit_step(command: str, what: str) -> None:
    """What a command does, beside it, or below it where the terminal has no room."""
    width = terminal_width()
    if width is None or len(command + what) <= width:
        click.echo(command + what)
        return
    click.echo(command.rstrip())
    emit_text(what, below="    ", first="    ")
