"""`fleet ps`, `job`, `logs`, `cancel`: what became of a job, by its id."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mesh.cli.client import find_daemon, job_url, need_daemon
from mesh.cli.exits import NOT_FOUND, stop
from mesh.cli.jobs.files import get_file, list_files
from mesh.cli.jobs.run import end, follow
from mesh.cli.jobs.served import show_served
from mesh.cli.jobs.standing import (
    deadline_text,
    expected_text,
    tell_waiting,
    when_text,
    with_standing,
)
from mesh.cli.output import clean, emit_json, json_option, now_ms, number, show_at
from mesh.cli.table import Column, emit

if TYPE_CHECKING:
    from mesh.state.state import State

# Each column once: `ps` shows these, `job` shows them and MORE, both by name.
COLUMNS = (
    ("status", "STATUS"),
    ("what", "WHAT"),
    ("peer", "PEER"),
    ("device", "DEVICE"),
    ("submitted", "SUBMITTED (UTC)"),
    ("time", "TIME"),
    ("tokens/s", "TOK/S"),
    ("cost", "COST"),
    ("reason", "REASON"),
)
MORE = (
    "starts",
    "expected",
    "deadline",
    "started",
    "ended",
    "tokens",
    "prompt",
    "predicted",
    "prefill/s",
    "peak memory",
    "says",
    "address",
    "request",
    "folder",
    "environment",
)
NOT_HERE = "not on this machine"
MAX_REQUEST_CHARS = 400  # of a prompt on a terminal; -o json shows all of it
LOG_FILE, ANSWER_FILE = "log.txt", "answer.txt"


@click.command()
@click.option("-a", "--all", "every", is_flag=True, help="ended ones too")
@json_option
def ps(*, every: bool, output: str) -> None:
    """Jobs, newest first: those not yet ended, or all; below them, the models that are served."""
    from mesh.api.rows import job_rows
    from mesh.config import fleet_home
    from mesh.edge.jobs.private import kept_jobs
    from mesh.edge.store.state import load_state

    home = fleet_home()
    state = load_state(home, every_job=every)
    here = frozenset(kept_jobs(home))
    found = job_rows(state, now_ms(), ended=None if every else 0)
    worded = [_with_words(row, state, home) if row["job_id"] in here else row for row in found]
    rows = with_standing(worded, home)
    if output == "json":
        emit_json(rows)
        return
    emit(
        (JOB, *(_column(name, head, **FITS.get(name, {})) for name, head in COLUMNS)),
        rows,
        "no jobs" if every else "no job is waiting or running (fleet ps -a shows all)",
    )
    tell_waiting(rows)
    names = {device_id: device.name for device_id, device in state.devices.items()}
    show_served(find_daemon(home), names)


def _with_words(row: Mapping[str, Any], state: "State", home: Path) -> Mapping[str, Any]:
    """The row with its command and its last words, which only this machine knows."""
    from mesh.edge.jobs.private import private_row

    found = private_row(home, state.jobs[row["job_id"]]) | serving(row, home)
    return {**row, **{name: value for name, value in found.items() if name != "request"}}


def serving(row: Mapping[str, Any], home: Path) -> dict[str, Any]:
    """{"server": how a running server stands}, without its key; {} for any other job."""
    if row["kind"] != "server" or row["status"] != "running":
        return {}
    from msgspec import to_builtins

    from mesh.edge.jobs.serving import standing

    found = standing(home, row["job_id"])
    if found is None:
        return {"server": {"state": "loading"}}
    return {"server": {name: value for name, value in to_builtins(found).items() if name != "key"}}


Row = Mapping[str, Any]
JOB: Column[Row] = Column(title="JOB", value=lambda row: row["job_id"])
# How each column fits a narrow terminal: what leaves first has the highest rank.
FITS: dict[str, dict[str, Any]] = {
    "what": {"least": 12},
    "peer": {"rank": 50, "least": 8},
    "device": {"rank": 20, "least": 8},
    "submitted": {"rank": 60},
    "time": {"rank": 10, "right": True},
    "tokens/s": {"rank": 30, "right": True},
    "cost": {"rank": 40, "right": True},
    "reason": {"rank": 45, "least": 12, "optional": True},
}


def _column(name: str, title: str, **fit: Any) -> Column[Row]:
    if name == "device":
        return Column(title=title, value=_device, **fit)
    if name == "reason":  # what waits says so below the table, in a line that no column cuts
        return Column(title=title, value=why, **fit)
    return Column(title=title, value=lambda row: columns(row)[name], **fit)


def _device(row: Row) -> str:
    """The first of its devices, and how many more there are."""
    first, *others = row["devices"] or ("",)
    return f"{first} +{len(others)}" if others else str(first)


def columns(row: Mapping[str, Any]) -> dict[str, object]:
    """A job as people read it, by column name; "" where there is nothing to say yet."""
    from mathcore.units import show_ms, show_nusd

    rate = number(row, "throughput_mtps")
    return {
        "status": row.get("server", {}).get("state") or row["status"],
        "what": what(row),
        "peer": row["peer"],
        "device": " + ".join(row["devices"]),
        "submitted": show_at(number(row, "submitted_ms")),
        "time": show_ms(number(row, "duration_ms")) if row["started_ms"] else "",
        "tokens/s": f"{rate / 1000:.1f}" if rate else "",
        "cost": show_nusd(number(row, "cost_nusd")) if row["ended_ms"] else "",
        "reason": row["waiting"] or why(row),
    }


def why(row: Mapping[str, Any]) -> str:
    """Why a job ended as it did, in its own words where it has some; "" where all went well."""
    if row["status"] == "succeeded":
        return ""
    return str(row["text"] or row["reason"])


def what(row: Mapping[str, Any]) -> str:
    """What the job was called, else the model's name, or the command where that is known here."""
    from mesh.api.bodies import A_COMMAND, base_name

    label, command = str(row["label"]), [str(word) for word in row["command"]]
    typed = base_name(row["model"]) if row["model"] else " ".join(command)[:60]
    usual = ("", A_COMMAND, base_name(row["model"] or typed.split(" ")[0]))
    return typed if typed and label in usual else label or typed


@click.command()
@click.argument("job_id", metavar="ID")
@click.option("--files", "lists", is_flag=True, help="list the files that a command left")
@click.option("--get", "wanted", metavar="PATH", help="print one of them")
@json_option
def job(job_id: str, *, lists: bool, wanted: str | None, output: str) -> None:
    """Everything known of one job, or the files that it left in its folder."""
    if wanted is not None:
        get_file(job_id, wanted)
        return
    if lists:
        list_files(job_id, output)
        return
    found = find_job(job_id)
    if output == "json":
        emit_json(found)
        return
    facts = columns(found) | _more(found)
    click.echo(f"{job_id}  {facts['status']}  {clean(facts['what'])}")
    for name in (*(name for name, _ in COLUMNS[2:]), *MORE):
        if facts[name]:
            click.echo(f"  {name:<12} {clean(facts[name])}")


def _more(row: Mapping[str, Any]) -> dict[str, object]:
    from mathcore.units import show_bytes

    prefill, peak = number(row, "prefill_mtps"), number(row, "peak_memory_bytes")
    band = (row["plan"] or {}).get("tokens_per_s_milli")
    return {
        **_asked(row["request"]),
        "started": show_at(number(row, "started_ms")),
        "ended": show_at(number(row, "ended_ms")),
        "tokens": row["tokens_generated"],
        "prompt": f"{row['prompt_tokens']} tokens" if row["prompt_tokens"] else "",
        "predicted": f"{band['p10'] / 1000:.1f}–{band['p90'] / 1000:.1f} tok/s" if band else "",
        "prefill/s": f"{prefill / 1000:.1f}" if prefill else "",
        "peak memory": show_bytes(peak) if peak else "",
        "says": row["text"],
        "starts": when_text(row["standing"] or {}),
        "expected": expected_text(row["expected"] and {**row["expected"], "p_ppm": None}),
        "deadline": deadline_text(row),
        "address": row.get("server", {}).get("url", ""),
    }


def _asked(request: Mapping[str, Any] | None) -> dict[str, object]:
    """What was typed, as far as a terminal takes it; of the environment the names alone."""
    if request is None:
        return {"request": NOT_HERE, "folder": "", "environment": ""}
    text = request.get("prompt", "") or " ".join(request.get("command", ()))
    cut = len(text) - MAX_REQUEST_CHARS
    shown = f"{text[:MAX_REQUEST_CHARS]}… and {cut} characters more" if cut > 0 else text
    return {
        "request": shown or request.get("model", ""),
        "folder": request.get("cwd", ""),
        "environment": " ".join(request.get("env", {})),
    }


def find_job(job_id: str) -> Mapping[str, Any]:
    """The job from the store, daemon up or down, or Stop 102."""
    from mesh.api.rows import job_row
    from mesh.config import fleet_home
    from mesh.edge.jobs.private import private_row
    from mesh.edge.store.state import load_state

    home = fleet_home()
    state = load_state(home)
    if job_id in state.retired:
        state = load_state(home, every_job=True)
    found = state.jobs.get(job_id)
    if found is None:
        stop(NOT_FOUND, f"no job {job_id!r}", "fleet ps -a")
    row = job_row(state, found, now_ms())
    return with_standing([row | private_row(home, found) | serving(row, home)], home)[0]


@click.command()
@click.argument("job_id", metavar="[ID]", required=False)
@click.option("-f", "--follow", "live", is_flag=True, help="go on with what comes")
@click.option("--answer", is_flag=True, help="a model's answer instead of its engine's log")
@click.option("--daemon", is_flag=True, help="what this machine's daemon wrote")
@json_option
def logs(*, job_id: str | None, live: bool, answer: bool, daemon: bool, output: str) -> None:
    """What a job wrote: a command's output, an engine's log, or a model's answer."""
    from mesh.config import fleet_home

    home = fleet_home()
    if daemon == bool(job_id) or (daemon and answer):
        raise click.UsageError("name a job, or say --daemon")
    if job_id is None:
        from mesh.cli.operations.logs import show_daemon_log

        show_daemon_log(home, output, live=live)
        return
    find_job(job_id)
    kind = "answer" if answer else "logs"
    if live:
        asked = find_daemon(home) or need_daemon(home)
        said = follow(asked, job_id, kind, quiet=output == "json")
        if output == "json":
            emit_json({"job_id": job_id, kind: said["words"]})
        end(job_id, said)
    path = written(home, job_id, ANSWER_FILE if answer else LOG_FILE)
    if output == "json":
        text = path.read_text(encoding="utf-8", errors="replace") if path else ""
        emit_json({"job_id": job_id, kind: text})
    elif path:
        _copy(path)


def written(home: Path, job_id: str, name: str) -> Path | None:
    """The newest attempt's file, home/jobs/ID/ATTEMPT/NAME; an id that names a path has none."""
    from glob import escape

    if "/" in job_id:
        return None
    found = (home / "jobs").glob(f"{escape(job_id)}/[0-9]*/{name}")
    return max(found, key=lambda path: int(path.parent.name), default=None)


def _copy(path: Path) -> None:
    with path.open(encoding="utf-8", errors="replace") as file:
        for line in file:
            click.echo(line, nl=False)


@click.command()
@click.argument("job_id", metavar="ID")
@json_option
def cancel(job_id: str, output: str) -> None:
    """Ask a job to end; one that has ended already is said so, with exit code 3."""
    from mesh.config import fleet_home

    need_daemon(fleet_home()).post(job_url(job_id, "/cancel"))
    if output == "json":
        emit_json({"job_id": job_id, "status": "cancelling"})
    else:
        click.echo(f"asked {job_id} to end")


@click.command()
@click.argument("job_id", metavar="ID")
@json_option
def adopt(job_id: str, output: str) -> None:
    """Decide for another peer's job from now on, as an admin: its home is gone."""
    from mesh.config import fleet_home

    said = need_daemon(fleet_home()).post(job_url(job_id, "/adopt"))
    if output == "json":
        emit_json(said)
    else:
        click.echo(f"job {job_id} is this peer's now")
