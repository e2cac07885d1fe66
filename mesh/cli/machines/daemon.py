"""`fleet up` and `fleet down`: the daemon's life, seen from outside."""

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

import click

from mesh.api.errors import STARTING, RequestError
from mesh.cli.client import Daemon, find_daemon
from mesh.cli.exits import CANNOT, INTERNAL, UNREACHABLE, Stop, stop
from providers.process import start_ticks

# Probing the machine's memory bandwidth fits well within this. A start that lifts or folds a large
# ledger may take longer: then it is so long after the last progress.
READY_DEADLINE_S: Final = 30.0
# The daemon ends at once; jobs are left running, so nothing else has to be waited for.
GONE_DEADLINE_S: Final = 15.0
POLL_S: Final = 0.05
SAY_EVERY_S: Final = 2.0  # a line of progress; a start without it is over before the first


@click.command()
@click.option("--detach", is_flag=True, help="start it in the background and wait until ready")
@click.option("--name", help="what this peer is called")
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="0 takes a free one")
@click.option(
    "--alone", is_flag=True, help="sign without hearing from a member how far this peer's events go"
)
@click.option("--log", is_flag=True, help="write to daemon.log instead of here, as --detach does")
def up(*, detach: bool, name: str | None, port: int, alone: bool, log: bool) -> None:
    """Start this peer's daemon: its API on loopback, its peers' ports where `listen` says."""
    from mesh.config import fleet_home

    home = fleet_home()
    running = find_daemon(home)
    if running is not None:
        stop(CANNOT, f"the daemon already runs as process {running.pid}", "fleet status")
    if detach:
        _start(home, name, port, alone=alone)
        return
    if log:
        from mesh.edge.home.daemon_log import redirect

        home.mkdir(parents=True, exist_ok=True, mode=0o700)
        redirect(home)
    from mesh.daemon import serve

    serve(home, name, port, alone=alone)


def _start(home: Path, name: str | None, port: int, *, alone: bool) -> None:
    arguments = ["--port", str(port), *(["--name", name] if name else [])]
    daemon = start_detached(home, [*arguments, *(["--alone"] if alone else [])])
    click.echo(f"fleet is up: {daemon.url} (process {daemon.pid})")
    _show_listening(home)


def start_detached(home: Path, arguments: Sequence[str] = ()) -> Daemon:
    """Start a daemon in the background and wait until it is ready; Stop where it is not."""
    from mesh.edge.home.daemon_log import NAME, open_log

    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    log = home / NAME
    with os.fdopen(open_log(home), "ab") as out:
        child = subprocess.Popen(
            [sys.executable, "-m", "mesh", "up", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
    deadline = time.monotonic() + READY_DEADLINE_S
    progress = _Progress()
    while time.monotonic() < deadline:
        daemon = find_daemon(home)
        if daemon is not None and _is_ready(daemon):
            return daemon
        if daemon is not None and progress.moves(daemon):
            deadline = time.monotonic() + READY_DEADLINE_S
        code = child.poll()
        if code is not None:  # it ends with the code of its trouble's kind, as any command does
            why, hint = _last_words(log)
            stop(code if code > 0 else INTERNAL, f"the daemon ended at once: {why}", hint)
        time.sleep(POLL_S)
    why, hint = _last_words(log)
    raise Stop(UNREACHABLE, f"not ready after {READY_DEADLINE_S:.0f} s: {why}", hint)


def _show_listening(home: Path) -> None:
    """Every address the daemon listens on: what else reaches this machine is no secret."""
    from mesh.edge.announcement import listens

    for line in listens(home):
        click.echo(line)


class _Progress:
    """What a daemon says of a start that takes its time: shown as it changes."""

    def __init__(self) -> None:
        self._shown, self._next_s = "", 0.0

    def moves(self, daemon: Daemon) -> bool:
        """Whether it says another thing than when it was asked last."""
        if time.monotonic() < self._next_s:
            return False
        self._next_s = time.monotonic() + SAY_EVERY_S
        try:
            daemon.get("/v1/status")
        except RequestError as error:
            known, self._shown = self._shown, error.text
            if error.code != STARTING or error.text == known:
                return False
            click.echo(f"fleet: {error.text}", err=True)
            return True
        except Stop:
            pass
        return False


def _is_ready(daemon: Daemon) -> bool:
    try:
        daemon.get("/readyz")
    except (RequestError, Stop):
        return False
    return True


def _last_words(log: Path) -> tuple[str, str]:
    """What the daemon said last, and its own advice."""
    lines = log.read_text(errors="replace").splitlines()
    said, _, hint = (lines[-1] if lines else "it wrote nothing").partition(". try: ")
    return said.removeprefix("fleet: "), hint or f"reading {log}"


@click.command()
def down() -> None:
    """Stop the daemon; jobs keep running and are adopted at the next `fleet up`."""
    from mesh.config import fleet_home

    daemon = find_daemon(fleet_home())
    if daemon is None:
        click.echo("no daemon is running")
        return
    began = start_ticks(daemon.pid)
    _ask_to_stop(daemon)
    deadline = time.monotonic() + GONE_DEADLINE_S
    while began and start_ticks(daemon.pid) == began:
        if time.monotonic() > deadline:
            stop(INTERNAL, f"process {daemon.pid} did not stop", f"kill {daemon.pid}")
        time.sleep(POLL_S)
    click.echo("fleet is down; running jobs keep running and are adopted at the next fleet up")
    _tell_rented(fleet_home())


def _tell_rented(home: Path) -> None:
    """What goes on costing; a ledger that can't be read now keeps nobody from stopping."""
    from mesh.cli.clouds.staying import in_words, rented_at
    from mesh.cli.output import now_ms
    from mesh.cli.table import emit_text
    from mesh.edge.disk import StoreError

    with suppress(StoreError, OSError):
        rented = in_words(rented_at(home, now_ms()))
        if rented:
            text = f"{rented} stay rented; this machine returns none of them until the next"
            emit_text(f"{text} fleet up (fleet rentals)", err=True)


def _ask_to_stop(daemon: Daemon) -> None:
    """Over HTTP, else by signal: the pid was matched with the start its file names."""
    import signal

    try:
        daemon.post("/v1/shutdown")
    except (RequestError, Stop):
        os.kill(daemon.pid, signal.SIGTERM)
