"""`fleet logs --daemon`: what the daemon wrote, over the turns of its file."""

import time
from pathlib import Path
from typing import IO, Final

import click

from mesh.cli.exits import NOT_FOUND, stop
from mesh.cli.output import clean, emit_json

POLL_S: Final = 0.2


def show_daemon_log(home: Path, output: str, *, live: bool) -> None:
    """Print all that is kept, oldest first, or with `live` the newest file and what comes."""
    from mesh.edge.home.daemon_log import NAME, kept, lines_of

    if not kept(home):
        stop(NOT_FOUND, f"no {NAME} in {home}", "fleet up --detach, or fleet service install --now")
    if output == "json":
        emit_json({"daemon": "".join(lines_of(home))})
        return
    if not live:
        for line in lines_of(home):
            click.echo(clean(line.rstrip("\n")))
        return
    _follow(home / NAME)


def _follow(path: Path) -> None:
    """The newest file and every one after it, until Ctrl-C."""
    file = path.open(encoding="utf-8", errors="replace")
    while True:
        _rest(file)
        if _turned(file, path):
            _rest(file)  # what came between the last look and the turn
            file.close()
            file = path.open(encoding="utf-8", errors="replace")
        else:
            time.sleep(POLL_S)


def _rest(file: IO[str]) -> None:
    """What there is now; the last line may be half written."""
    for line in file:
        click.echo(clean(line.rstrip("\n")), nl=line.endswith("\n"))


def _turned(file: IO[str], path: Path) -> bool:
    import os

    try:
        return not os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False
