"""`fleet service`: the daemon as a service of this system, for the user that asks."""

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from mesh.cli.client import find_daemon
from mesh.cli.exits import BROKEN_LEDGER, CANNOT, USAGE, stop
from mesh.cli.output import emit_json, json_option, say
from mesh.cli.table import emit_text
from mesh.cli.verbs import Verbs

if TYPE_CHECKING:
    from providers.service.manager import Manager, Service

TITLE: Final = "Fleet Ledger's daemon"
# After these a restart ends the same way: a person has to look first.
FINAL: Final = (USAGE, BROKEN_LEDGER)
# -P: a service starts in somebody's folder, and a folder `mesh` there is another program.
RUN: Final = ("-P", "-m", "mesh")
LOOK_S: Final = 60.0  # a Python that starts from a cold disk
INSTEAD: Final = "fleet up --detach starts it now; have what starts this system run that"
# FLEET_* that the service is told; a setting among the others may be a secret.
KEPT: Final = "FLEET_HOME"
# What steers commands or builds, and is no setting of a daemon.
ASIDE: Final = frozenset({KEPT, "FLEET_DEBUG", "FLEET_COMPILE", "FLEET_COMPILED"})
SAYS_NOT: Final = "{} {} not told to the service: as settings they belong into fleet.toml"


@click.group(cls=Verbs)
def service() -> None:
    """Keep the daemon running: start it at login, and again after a failure.

    A unit of the user's own systemd on Linux; a launch agent on macOS and a task on Windows, both
    of them written by the book and not yet proven there. None of them needs root.
    """


@service.command()
@click.option("--now", is_flag=True, help="start it at once, too")
@click.option("--show", is_flag=True, help="print its file and install nothing")
def install(*, now: bool, show: bool) -> None:
    """Start it at login, and after failures.

    It is the daemon of this Python, with FLEET_HOME as it is now.

    No secret is written into it. Installed again, it is brought up to date.
    """
    from mesh.config import fleet_home
    from providers.service.manager import install as put

    home, manager, told = fleet_home().absolute(), manager_here(), described()
    if show:
        click.echo(manager.render(told), nl=False)
        return
    _need(manager)
    _need_installed()
    if now:
        _refuse_another(home, manager)
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    fresh = put(manager, told, now=now)
    say(f"{'installed' if fresh else 'installed already'}: {manager.file}")
    _advise(manager)
    if now:
        say("started; fleet service status says how it stands, fleet logs --daemon what it says")


@service.command()
def uninstall() -> None:
    """Stop it, and start it no more.

    The ledger, the key and running jobs stay.
    """
    from providers.service.manager import uninstall as drop

    manager = manager_here()
    if not manager.file.exists():
        say("no service is installed")
        return
    _need(manager)
    drop(manager)
    say(f"removed: {manager.file}; jobs keep running until a fleet up adopts them")


@service.command()
@json_option
def status(output: str) -> None:
    """Say whether it runs and is current."""
    manager = manager_here()
    _need(manager)
    found = manager.standing()
    current = found.installed and _is_current(manager)
    if output == "json":
        emit_json(
            {
                "manager": manager.kind,
                "file": str(manager.file),
                "installed": found.installed,
                "current": current,
                "starts_at_login": found.starts_at_login,
                "pid": found.pid,
                "text": found.text,
                "advice": manager.advice() if found.installed else "",
            }
        )
        return
    if not found.installed:
        say(f"no service is installed in {manager.kind} (fleet service install --now)")
        return
    say(f"{manager.kind}: {found.text}{f', process {found.pid}' if found.pid else ''}")
    say(f"file: {manager.file}")
    say(f"starts at login: {'yes' if found.starts_at_login else 'no (fleet service install)'}")
    if not current:
        emit_text("its file is not what this program writes: fleet service install --now", "  ")
    _advise(manager)


def manager_here() -> "Manager":
    """The manager of this kind of system."""
    from mesh.config import fleet_home

    if sys.platform == "darwin":
        from providers.service.launchd import Launchd

        return Launchd()
    if sys.platform == "win32":
        from providers.service.windows import TaskScheduler

        return TaskScheduler(fleet_home().absolute())
    from providers.service.systemd import Systemd

    return Systemd()


def described() -> "Service":
    """The daemon, run by this Python; PATH goes along, for engines are found on it.

    A Windows task has its user's own.
    """
    from mesh.config import fleet_home
    from providers.service.manager import Service

    command = (sys.executable, *RUN, "up", "--log")
    variables = [(KEPT, str(fleet_home().absolute()))]
    if sys.platform != "win32":
        variables.append(("PATH", os.environ.get("PATH", "")))
    return Service(title=TITLE, command=command, variables=tuple(variables), final_codes=FINAL)


def _need(manager: "Manager") -> None:
    if missing := manager.missing():
        stop(CANNOT, missing, INSTEAD)


def _need_installed() -> None:
    """A service knows no PYTHONPATH and no folder of a shell: it finds what is installed alone."""
    bare = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    words = [sys.executable, *RUN, "--version"]
    done = subprocess.run(words, env=bare, capture_output=True, timeout=LOOK_S, check=False)
    if done.returncode:
        text = f"{sys.executable} finds this program only from here: it is not installed"
        stop(CANNOT, text, "pipx install fleet-ledger, and this command again from there")


def _refuse_another(home: Path, manager: "Manager") -> None:
    """Two daemons of one ledger cannot be: the second would fail and be started without end."""
    running = find_daemon(home)
    if running is not None and running.pid != manager.standing().pid:
        text = f"a daemon runs already as process {running.pid}, and is not the service's"
        stop(CANNOT, text, "fleet down; then fleet service install --now")


def _advise(manager: "Manager") -> None:
    left = sorted(name for name in os.environ if name.startswith("FLEET_") and name not in ASIDE)
    if left:
        emit_text(SAYS_NOT.format(", ".join(left), "is" if len(left) == 1 else "are"), "  ")
    if not manager.proven:
        emit_text(f"unproven: nobody of ours has run it under {manager.kind} yet", "  ")
    if advice := manager.advice():
        emit_text(f"for a machine nobody logs in to: {advice}", "  ")


def _is_current(manager: "Manager") -> bool:
    """Whether it would be written so again, PATH aside: each shell has its own."""
    try:
        there = set(manager.file.read_text(encoding="utf-8").splitlines())
    except (OSError, UnicodeDecodeError):
        return False
    said = manager.render(described()).splitlines()
    return all(line in there for line in said if "PATH" not in line)
