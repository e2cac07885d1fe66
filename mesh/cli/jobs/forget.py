"""`fleet forget`: erase what was typed for a job and what it wrote, and say what stays."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from mesh.cli.exits import CANNOT, USAGE, stop
from mesh.cli.output import emit_json, json_option, now_ms
from mesh.cli.table import emit_text

ONE = "say one of: a job's ID, --older TIME, --all-ended"
SIGNED = "change any key or password it held; docs/threat-model.md says who has read it"


@click.command()
@click.argument("job_id", metavar="ID", required=False)
@click.option("--older", metavar="TIME", help="every job that ended so long ago: 30d")
@click.option("--all-ended", is_flag=True, help="every job that has ended")
@json_option
def forget(*, job_id: str | None, older: str | None, all_ended: bool, output: str) -> None:
    """Erase an ended job's prompt or command, its output and its log from this machine.

    The ledger keeps its label, its sizes, its times and its cost. Exit code 3 where something could
    not be erased: jobs of programs before 0.2.0 have their prompt or command in the signed ledger.
    """
    from mesh.config import fleet_home

    if sum((job_id is not None, older is not None, all_ended)) != 1:
        stop(USAGE, ONE, "fleet forget --help")
    home = fleet_home()
    found = _forgotten(home, job_id, older)
    if output == "json":
        emit_json(found[0] if job_id is not None else found)
    else:
        _show(found)
    _stop_where_kept(found)


def _forgotten(home: Path, job_id: str | None, older: str | None) -> list[dict[str, object]]:
    """Each job forgotten; on disk itself, for nobody writes to the files of an ended job."""
    from mesh.edge.identity import load_or_create
    from mesh.edge.jobs.forget import forget as erase
    from mesh.edge.store.state import load_state

    def every() -> Any:
        return load_state(home, every_job=True)

    author = load_or_create(home).author
    if job_id is not None:
        return [erase(home, author, load_state(home), job_id, every)]
    state = every()
    return [erase(home, author, state, one, every) for one in _ended(home, author, state, older)]


def _ended(home: Path, author: str, state: Any, older: str | None) -> list[str]:
    """The jobs of this home that ended before `older`, of which anything is here."""
    from mathcore.units import parse_duration_ms
    from mesh.api.fields import read
    from mesh.edge.jobs.private import kept_jobs

    until = now_ms() - (0 if older is None else read("older", parse_duration_ms, older))
    return [
        one
        for one in kept_jobs(home)
        if (job := state.jobs.get(one)) is not None
        if job.home == author and job.ended and job.ended_ms <= until
    ]


def _show(found: Sequence[Mapping[str, Any]]) -> None:
    from mesh.edge.jobs.forget import told

    for one in found:
        click.echo(told(one))
    if not found:
        click.echo("nothing to forget: no such job has left anything on this machine")


def _stop_where_kept(found: Sequence[Mapping[str, Any]]) -> None:
    """Name what could not be erased, all of it, and end with its exit code."""
    kept = [f"{one['job_id']}: {text}" for one in found for text in one["kept"]]
    for line in kept[:-1]:
        emit_text(line, err=True)
    if kept:
        stop(CANNOT, kept[-1], SIGNED)
