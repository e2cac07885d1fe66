"""`fleet run`, `ps`, `job`, `logs`, `cancel`: a job from submission to its bill."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from mesh.cli.client import Daemon, find_daemon, job_url, need_daemon
from mesh.cli.exits import INTERNAL, JOB_EXIT, NOT_FOUND, stop
from mesh.cli.options import given, plan_options
from mesh.cli.output import clean, emit_json, json_option, now_ms, number, show_at
from mesh.cli.planning.plan import model_ref
from mesh.cli.table import Column, emit


class RunCommand(click.Command):
    """`run MODEL [flags]`, or `run [flags] -- COMMAND…`: what follows `--` is never parsed."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if "--" in args:
            at = args.index("--")
            ctx.meta["fleet.command"], args = args[at + 1 :], args[:at]
        return super().parse_args(ctx, args)


@click.command(cls=RunCommand)
@click.argument("model", required=False)
@plan_options
@click.option("--prompt", help="what to ask the model")
@click.option("--input", "input_file", type=click.Path(path_type=Path), help="a file holding it")
@click.option("-d", "--detach", is_flag=True, help="print the job's id and return")
@click.pass_context
def run(
    ctx: click.Context,
    /,
    model: str | None,
    prompt: str | None,
    input_file: Path | None,
    detach: bool,
    **options: object,
) -> None:
    """Run MODEL with a prompt, or a command: fleet run -- COMMAND…

    Without -d it follows the output and ends with the job's exit code.
    """
    from mesh.config import fleet_home

    command: list[str] | None = ctx.meta.get("fleet.command")
    if (model is None) == (not command):
        raise click.UsageError("say either a MODEL or -- COMMAND…, not both and not neither", ctx)
    spec = given(options)
    if command:
        spec |= {"command": command, "cwd": str(Path.cwd())}
    else:
        spec |= {"model": model_ref(str(model)), "prompt": _prompt(ctx, prompt, input_file)}
    daemon = need_daemon(fleet_home())
    job_id = str(daemon.post("/v1/jobs", spec)["job_id"])
    if detach:
        click.echo(job_id)
        return
    click.echo(f"job {job_id} (Ctrl-C leaves it running)", err=True)
    follow(daemon, job_id)


def _prompt(ctx: click.Context, prompt: str | None, input_file: Path | None) -> str:
    if (prompt is None) == (input_file is None):
        raise click.UsageError("a model needs --prompt TEXT or --input FILE, one of them", ctx)
    if input_file is None:
        return str(prompt)
    try:
        return input_file.read_text()
    except UnicodeDecodeError:
        stop(2, f"{input_file} is not UTF-8 text", "convert it, or give --prompt")
    except OSError as error:
        stop(NOT_FOUND, f"cannot read {input_file}: {error.strerror}", "check the path")


def follow(daemon: Daemon, job_id: str) -> None:
    """Print the job's output until it ends; then end with its exit code."""
    for kind, value in daemon.stream(job_url(job_id, "/logs")):
        if kind == "end":
            end(job_id, value["status"], value.get("reason", ""))
        click.echo(value["text"], nl=False)
    stop(INTERNAL, f"the output of {job_id} broke off", f"fleet logs -f {job_id}")


def end(job_id: str, status: str, reason: str) -> None:
    """Stop with the exit code of an ended job; nothing to say where it succeeded."""
    code = JOB_EXIT[status]
    if code == 0:
        raise click.exceptions.Exit(0)
    stop(code, f"job {job_id} {status}{f': {reason}' if reason else ''}", f"fleet job {job_id}")


@click.command()
@click.option("-a", "--all", "every", is_flag=True, help="ended ones too")
@json_option
def ps(every: bool, output: str) -> None:
    """Jobs, newest first: those not yet ended, or all."""
    from mesh.api.rows import job_rows
    from mesh.config import fleet_home
    from mesh.edge.store.state import load_state

    rows = job_rows(load_state(fleet_home(), every_job=every), now_ms(), every)
    if output == "json":
        emit_json(rows)
        return
    emit(
        COLUMNS,
        [_row(row) for row in rows],
        "no jobs" if every else "no job is waiting or running (fleet ps -a shows all)",
    )


def _column(at: int, title: str, **fit: Any) -> Column[list[object]]:
    return Column(title=title, value=lambda row: row[at], **fit)


COLUMNS = (
    _column(0, "JOB"),
    _column(1, "STATUS"),
    _column(2, "WHAT", least=12),
    _column(3, "PEER", rank=50, least=8),
    _column(4, "DEVICE", rank=20, least=8),
    _column(5, "SUBMITTED (UTC)", rank=60),
    _column(6, "TIME", rank=10, right=True),
    _column(7, "TOK/S", rank=30, right=True),
    _column(8, "COST", rank=40, right=True),
)


def _row(row: Mapping[str, Any]) -> list[object]:
    from mathcore.units import show_ms, show_nusd

    return [
        row["job_id"],
        row["status"],
        _what(row),
        row["peer"],
        row["device_id"],
        show_at(number(row, "submitted_ms")),
        show_ms(number(row, "duration_ms")) if row["started_ms"] else "",
        f"{number(row, 'throughput_mtps') / 1000:.1f}" if row["throughput_mtps"] else "",
        show_nusd(number(row, "cost_nusd")) if row["ended_ms"] else "",
    ]


def _what(row: Mapping[str, Any]) -> str:
    return Path(row["model"]).name if row["model"] else " ".join(row["command"])[:60]


@click.command()
@click.argument("job_id", metavar="ID")
@json_option
def job(job_id: str, output: str) -> None:
    """Everything known of one job."""
    found = find_job(job_id)
    if output == "json":
        emit_json(found)
        return
    from mathcore.units import show_bytes, show_ms, show_nusd

    rows = _row(found)
    click.echo(f"{job_id}  {found['status']}  {clean(_what(found))}")
    for name, value in (
        ("device", rows[3]),
        ("submitted", rows[4]),
        ("ended", show_at(number(found, "ended_ms"))),
        ("time", show_ms(number(found, "duration_ms"))),
        ("tokens", found["tokens_generated"]),
        ("tokens/s", rows[6]),
        ("cost", show_nusd(number(found, "cost_nusd"))),
        ("peak memory", show_bytes(number(found, "peak_memory_bytes"))),
        ("reason", f"{found['reason']} {found['text']}".strip()),
    ):
        if value:
            click.echo(f"  {name:<12} {clean(value)}")


def find_job(job_id: str) -> Mapping[str, Any]:
    """The job from the store, or Stop 102."""
    from mesh.api.rows import job_dict
    from mesh.config import fleet_home
    from mesh.edge.store.state import load_state

    state = load_state(fleet_home())
    if job_id in state.retired:
        state = load_state(fleet_home(), every_job=True)
    found = state.jobs.get(job_id)
    if found is None:
        stop(NOT_FOUND, f"no job {job_id!r}", "fleet ps -a lists them")
    return job_dict(found, now_ms())


@click.command()
@click.argument("job_id", metavar="ID")
@click.option("-f", "--follow", "live", is_flag=True, help="until the job ends")
def logs(job_id: str, live: bool) -> None:
    """What a job wrote."""
    from mesh.config import fleet_home

    find_job(job_id)
    home = fleet_home()
    daemon = find_daemon(home)
    if live:
        follow(daemon or need_daemon(home), job_id)
    for path in _log_files(home, job_id)[-1:]:
        with path.open(encoding="utf-8", errors="replace") as file:
            for line in file:
                click.echo(line, nl=False)


def _log_files(home: Path, job_id: str) -> list[Path]:
    """One per attempt, home/jobs/ID/ATTEMPT/log.txt; an id that names a path has none."""
    from glob import escape

    if "/" in job_id:
        return []
    return sorted((home / "jobs").glob(f"{escape(job_id)}/*/log.txt"))


@click.command()
@click.argument("job_id", metavar="ID")
def cancel(job_id: str) -> None:
    """Ask a job to end."""
    from mesh.config import fleet_home

    need_daemon(fleet_home()).post(job_url(job_id, "/cancel"))
    click.echo(f"asked {job_id} to end")
