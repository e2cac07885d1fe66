"""The command tree and the boundary where every error becomes one line and an exit code."""

import contextlib
import io
import os
import sys
from pathlib import Path

import click

from mesh.cli.exits import EPILOG, INTERNAL, INTERRUPTED, USAGE, Stop, code_of, line_of, shown
from mesh.cli.output import json_option
from mesh.cli.verbs import WORDS, LazyVerbs

# Where each command stands; only the one that is asked for is imported.
HOMES = {
    "up": "mesh.cli.machines.daemon:up",
    "down": "mesh.cli.machines.daemon:down",
    "status": "mesh.cli.machines.status:status",
    "doctor": "mesh.cli.machines.doctor:doctor",
    "service": "mesh.cli.operations.service:service",
    "backup": "mesh.cli.operations.backup:backup",
    "restore": "mesh.cli.operations.backup:restore",
    "completion": "mesh.cli.operations.completion:completion",
    "dashboard": "mesh.cli.dashboard:dashboard",
    "top": "mesh.cli.machines.top:top",
    "devices": "mesh.cli.machines.devices:devices",
    "drain": "mesh.cli.machines.upkeep:drain",
    "resume": "mesh.cli.machines.upkeep:resume",
    "reserve": "mesh.cli.machines.upkeep:reserve",
    "unreserve": "mesh.cli.machines.upkeep:unreserve",
    "peers": "mesh.cli.machines.peers:peers",
    "invite": "mesh.cli.machines.pairing:invite",
    "join": "mesh.cli.machines.pairing:join",
    "recover": "mesh.cli.machines.recovery:recover",
    "recovery": "mesh.cli.machines.recovery:recovery",
    "identity": "mesh.cli.machines.pairing:identity",
    "ssh": "mesh.cli.machines.ssh:ssh",
    "sync": "mesh.cli.machines.sync:sync",
    "plan": "mesh.cli.planning.plan:plan",
    "compare": "mesh.cli.planning.compare:compare",
    "offers": "mesh.cli.clouds.offers:offers",
    "rent": "mesh.cli.clouds.rent:rent",
    "return": "mesh.cli.clouds.rent:return_",
    "rentals": "mesh.cli.clouds.rentals:rentals",
    "budget": "mesh.cli.budgets.budget:budget",
    "orphans": "mesh.cli.clouds.orphans:orphans",
    "check": "mesh.cli.clouds.orphans:check",
    "sweep": "mesh.cli.planning.sweep:sweep",
    "capacity": "mesh.cli.planning.capacity:capacity",
    "models": "mesh.cli.planning.models:models",
    "run": "mesh.cli.jobs.run:run",
    "serve": "mesh.cli.jobs.serve:serve",
    "chat": "mesh.cli.serving.chat:chat",
    "proxy": "mesh.cli.serving.proxy:proxy",
    "ps": "mesh.cli.jobs.jobs:ps",
    "job": "mesh.cli.jobs.jobs:job",
    "logs": "mesh.cli.jobs.jobs:logs",
    "cancel": "mesh.cli.jobs.jobs:cancel",
    "adopt": "mesh.cli.jobs.jobs:adopt",
    "forget": "mesh.cli.jobs.forget:forget",
    "mcp": "mesh.cli.mcp.command:mcp",
    "clouds": "mesh.cli.clouds.accounts:clouds",
    "connect": "mesh.cli.serving.connect:connect",
    "cost": "mesh.cli.money.cost:cost",
    "rates": "mesh.cli.money.rates:rates",
    "keys": "mesh.cli.serving.keys:keys",
    "usage": "mesh.cli.serving.usage:usage",
    "bench": "mesh.cli.jobs.bench:bench",
    "calibrate": "mesh.cli.jobs.bench:calibrate",
    "accuracy": "mesh.cli.jobs.bench:accuracy",
    "events": "mesh.cli.ledger:events",
    "note": "mesh.cli.ledger:note",
    "verify": "mesh.cli.ledger:verify",
    "repair": "mesh.cli.ledger:repair",
    "export": "mesh.cli.ledger:export",
    "import": "mesh.cli.ledger:import_",
    "id": "mesh.cli.ledger:id_",
}


# What does its work while a daemon is still opening its ledger; all else says so and ends.
WHILE_STARTING = frozenset({"up", "down", "service", "completion", "dashboard", "mcp"})


def _show_version(ctx: click.Context, _: click.Parameter, wanted: object) -> None:
    if not wanted or ctx.resilient_parsing:
        return
    from importlib.metadata import PackageNotFoundError, version

    try:
        click.echo(f"fleet {version('fleet-ledger')}")
    except PackageNotFoundError:
        click.echo("fleet (not installed: run from its source)")
    ctx.exit()


@click.group(
    cls=LazyVerbs,
    homes=HOMES,
    epilog=EPILOG,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@json_option
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_show_version,
    help="Show the version and exit.",
)
@click.pass_context
def fleet(ctx: click.Context, output: str) -> None:
    """Which model fits where, how fast, and what it costs; then run it and keep the bill.

    State lives in FLEET_HOME. Reads answer with the daemon up or down. `fleet` alone shows the
    fleet and what to do next; `-o json` may stand before the command or after it.
    """
    if ctx.invoked_subcommand not in WHILE_STARTING and not _asks_for_help(ctx):
        from mesh.cli.client import refuse_starting
        from mesh.config import fleet_home

        refuse_starting(fleet_home())
    if ctx.invoked_subcommand is None:
        from mesh.cli.welcome import welcome

        welcome(ctx, output)


def _asks_for_help(ctx: click.Context) -> bool:
    """Whether nothing is read but help or the daemon's own log."""
    words = ctx.meta[WORDS]
    own_log = ctx.invoked_subcommand == "logs" and "--daemon" in words
    return own_log or bool({"-h", "--help"}.intersection(words))


def run(args: list[str]) -> int:
    """Run one command line; returns its exit code and never lets a traceback out."""
    _write_somewhere()
    _write_anything()
    code = _ended(args)
    try:
        sys.stdout.flush()  # here and not at the interpreter's exit, where nobody can explain it
    except BrokenPipeError:
        _drop_output()
    except OSError as error:
        return _explain(error)
    return code


def _ended(args: list[str]) -> int:
    try:
        done = fleet.main(args, prog_name="fleet", standalone_mode=False)
        return done if isinstance(done, int) else 0
    except click.ClickException as error:
        return _usage(error)
    except (click.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except BrokenPipeError:
        _drop_output()
        return 0
    except Exception as error:
        return _explain(error)


def _write_somewhere() -> None:
    """Where the shell closed a stream (>&-) Python has none; what it would take is dropped."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115


def _write_anything() -> None:
    """A character the terminal's encoding lacks is shown as "?"; it is no reason to fail."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def _drop_output() -> None:
    """Nobody takes our output any more; keep the interpreter from complaining at exit."""
    with contextlib.suppress(OSError, ValueError):  # a test's stream has no descriptor
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _usage(error: click.ClickException) -> int:
    ctx = error.ctx if isinstance(error, click.UsageError) else None
    path = ctx.command_path if ctx else "fleet"
    click.echo(shown(error.format_message(), f"{path} --help"), err=True)
    return USAGE


def _explain(error: Exception) -> int:
    if isinstance(error, OSError):
        _drop_output()  # what is still to be written would fail once more
    if isinstance(error, Stop) and not error.text:
        return error.exit_code
    click.echo(line_of(error), err=True)
    code = code_of(error)
    if os.environ.get("FLEET_DEBUG") == "1" and code == INTERNAL:
        import traceback

        traceback.print_exception(error)
    return code
