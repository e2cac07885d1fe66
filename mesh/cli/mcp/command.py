"""`fleet mcp`: this machine's fleet as tools for Claude Code, Codex and the like."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Final

import click

from mesh.cli.client import Daemon, need_daemon
from mesh.cli.exits import CANNOT, USAGE, Stop, stop

if TYPE_CHECKING:
    from mesh.cli.mcp.spending import Spending

KEY: Final = "mcp-{name}"  # of this peer: a fleet's keys have names of their own
# The SDK and the types it speaks in.
PACKAGES: Final = ("mcp", "mcp_types")


@click.command()
@click.option("--allow-dispatch", is_flag=True, help="it may start jobs, and cancel its own")
@click.option("--budget", metavar="$[/TIME]", help="which may cost: $2 in all, $5/day, $50/month")
@click.option("--key", metavar="NAME", help="whose budget pays for them  [mcp-PEER]")
def mcp(*, allow_dispatch: bool, budget: str | None, key: str | None) -> None:
    """Serve the fleet's questions over the Model Context Protocol, on standard input and output.

    A client starts it: see docs/how-to/mcp.md. It looks and plans; with --allow-dispatch and a
    --budget it also asks models. It needs a running daemon when it is asked something.
    """
    from mesh.cli.mcp.tools import READS
    from mesh.config import fleet_home

    spending = _spending(budget, key, allow=allow_dispatch)
    _demand_sdk()
    if spending is not None:
        click.echo(f"fleet: {_holds(spending)}", err=True)
    from mesh.cli.mcp.server import serve

    home = fleet_home()

    def daemon() -> Daemon:
        return need_daemon(home)

    more = () if spending is None else spending.tools()
    serve([*READS, *more], daemon, _version())


def _holds(spending: Spending) -> str:
    """What its jobs may cost, as far as that is known before it is asked something."""
    from mesh.api.errors import RequestError
    from mesh.config import fleet_home

    try:
        return spending.holds(need_daemon(fleet_home()))
    except (RequestError, Stop):  # one that starts, or none
        return f"{spending.says}; other budgets of that key hold, too"


def _spending(budget: str | None, key: str | None, *, allow: bool) -> Spending | None:
    from mesh.api.serving.keys import NAME, parse_budget
    from mesh.cli.mcp.spending import Spending
    from mesh.config import fleet_home, load_config

    if not allow:
        if budget is not None:
            stop(USAGE, "--budget is for jobs", "add --allow-dispatch, or leave it away")
        return None
    if budget is None:
        stop(USAGE, "--allow-dispatch needs a cap", "--allow-dispatch --budget '$2'")
    key = KEY.format(name=load_config(fleet_home()).name) if key is None else key
    if NAME.fullmatch(key) is None:
        stop(USAGE, f"--key {key[:40]!r} is no name of a key", "letters, digits and .-_@")
    try:
        nusd, per = parse_budget(budget)
    except ValueError as error:
        stop(USAGE, str(error), "--budget '$2'")
    return Spending(key, nusd, per)


def _demand_sdk() -> None:
    if any(find_spec(one) is None for one in PACKAGES):
        from mesh.cli.machines.extras import install_hint

        stop(CANNOT, "fleet mcp needs the package mcp", install_hint("mcp"))


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("fleet-ledger")
    except PackageNotFoundError:
        return "0"
