"""The command tree and the boundary where every error becomes one line and an exit code."""

import os
import sys

import click

from mesh.cli import ledger
from mesh.cli.exits import EPILOG, INTERNAL, INTERRUPTED, USAGE, Stop, code_of, line_of
from mesh.cli.jobs import bench, cost, jobs
from mesh.cli.machines import daemon, devices, doctor, pairing, peers, status, sync
from mesh.cli.planning import capacity, models, plan, sweep


def _show_version(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:
    if not wanted or ctx.resilient_parsing:
        return
    from importlib.metadata import PackageNotFoundError, version

    try:
        click.echo(f"fleet {version('fleet-ledger')}")
    except PackageNotFoundError:
        click.echo("fleet (not installed: run from its source)")
    ctx.exit()


@click.group(epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_show_version,
    help="Show the version and exit.",
)
def fleet() -> None:
    """Which model fits where, how fast, and what it costs; then run it and keep the bill.

    State lives in FLEET_HOME. Reads answer with the daemon up or down.
    """


COMMANDS = (
    *(daemon.up, daemon.down, status.status, doctor.doctor),
    *(devices.devices, plan.plan, sweep.sweep, capacity.capacity, models.models),
    *(jobs.run, jobs.ps, jobs.job, jobs.logs, jobs.cancel, cost.cost),
    *(bench.bench, bench.calibrate, bench.accuracy),
    *(peers.peers, pairing.invite, pairing.join, pairing.identity, sync.sync),
    *(ledger.events, ledger.note, ledger.verify, ledger.export, ledger.import_, ledger.id_),
)
for command in COMMANDS:
    fleet.add_command(command)


def run(args: list[str]) -> int:
    """Run one command line; returns its exit code and never lets a traceback out."""
    try:
        done = fleet.main(args, prog_name="fleet", standalone_mode=False)
        return done if isinstance(done, int) else 0
    except click.ClickException as error:
        return _usage(error)
    except (click.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except BrokenPipeError:
        # The reader of our pipe had enough; keep the interpreter from complaining at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        return _explain(error)


def _usage(error: click.ClickException) -> int:
    ctx = error.ctx if isinstance(error, click.UsageError) else None
    path = ctx.command_path if ctx else "fleet"
    message = " ".join(error.format_message().split()).rstrip(".")
    click.echo(f"fleet: {message}. try: {path} --help", err=True)
    return USAGE


def _explain(error: Exception) -> int:
    if isinstance(error, Stop) and not error.text:
        return error.exit_code
    click.echo(line_of(error), err=True)
    code = code_of(error)
    if os.environ.get("FLEET_DEBUG") == "1" and code == INTERNAL:
        import traceback

        traceback.print_exception(error)
    return code
