"""`fleet serve`: a model that answers until it is cancelled, or comes up when asked for."""

from typing import Any

import click

from mesh.cli.client import Daemon, job_url, need_daemon
from mesh.cli.exits import NOT_FOUND, UNREACHABLE, USAGE, Stop
from mesh.cli.jobs.run import end
from mesh.cli.options import given, plan_options
from mesh.cli.output import clean, emit_json, json_option
from mesh.cli.planning.plan import model_ref


@click.command()
@click.argument("model")
@plan_options
@click.option("--label", help="what to call the job; every peer sees it")
@click.option("-d", "--detach", is_flag=True, help="print the job's id and return at once")
@click.option("--min", "least", type=click.IntRange(0), help="keep so many servers up  [0]")
@click.option("--max", "most", type=click.IntRange(1), help="start so many at most  [1]")
@click.option("--idle", help="end a server nobody asked for so long, 0 never  [10m]")
@click.option("--end", "ends", is_flag=True, help="keep the model up no more")
@json_option
def serve(
    *,
    model: str,
    label: str | None,
    detach: bool,
    least: int | None,
    most: int | None,
    idle: str | None,
    ends: bool,
    output: str,
    **options: object,
) -> None:
    """Serve MODEL until the job is cancelled; --batch is how many it answers at once.

    Prints where, once it can answer. The address is on the loopback of the machine that serves, and
    asks for the key beside it, as OpenAI's clients send one; every machine of the fleet also finds
    the model behind its own address (fleet status). With --min, --max or --idle the model comes up
    when it is asked for there, and leaves when nobody asks.
    """
    from mesh.config import fleet_home

    spec = given(options) | ({"label": label} if label else {})
    daemon = need_daemon(fleet_home())
    if ends:
        _end_service(daemon, model, output)
        return
    if not (least is None and most is None and idle is None):
        spec |= {"model": model_ref(model)}
        _keep(daemon, spec, least=least or 0, most=most, idle=idle or "10m", output=output)
        return
    posted = daemon.post("/v1/jobs", spec | {"model": model_ref(model), "serve": True})
    job_id = str(posted["job_id"])
    if detach:
        emit_json({"job_id": job_id}) if output == "json" else click.echo(job_id)
        return
    click.echo(f"job {job_id} is loading (Ctrl-C leaves it running)", err=True)
    found = once_serving(daemon, job_id)
    if output == "json":
        emit_json({"job_id": job_id, **found})
        return
    key = f"  key {found['key']}" if found["key"] else ""
    click.echo(f"{found['url']}/v1  model {clean(found['model'])}{key}")
    click.echo(f"every tool on this machine: {_address(daemon)}/v1", err=True)
    click.echo(f"fleet cancel {job_id} ends it", err=True)


def once_serving(daemon: Daemon, job_id: str) -> dict[str, Any]:
    """How the server stands, once it does; ends as the job does where it never serves."""
    import msgspec

    from mesh.edge.jobs.serving import last_of

    said = b""
    for kind, value in daemon.stream(job_url(job_id, "/answer")):
        if kind == "end":
            end(job_id, value)
        said += str(value.get("text", "")).encode()
        found = last_of(said)
        if found is not None:
            made = msgspec.to_builtins(found)
            assert isinstance(made, dict)
            return made
    text = f"the daemon stopped; job {job_id} goes on without it"
    raise Stop(UNREACHABLE, text, f"fleet up --detach, then fleet job {job_id}")


def _address(daemon: Daemon) -> str:
    """Where tools on this machine find every model."""
    return str(daemon.get("/v1/services")["url"])


def _keep(
    daemon: Daemon, spec: dict[str, object], *, least: int, most: int | None, idle: str, output: str
) -> None:
    """Have a model come up when it is asked for."""
    body = {"spec": spec, "min": least, "max": most or max(1, least), "idle_ms": _idle_ms(idle)}
    kept = daemon.post("/v1/services", body)
    if output == "json":
        emit_json(kept)
        return
    name = clean(kept["model"])
    click.echo(f"{_address(daemon)}/v1  model {name}")
    when = "is kept up" if least else "comes up when it is asked for"
    click.echo(f"{name} {when}; fleet serve {name} --end ends that", err=True)


def _end_service(daemon: Daemon, model: str, output: str) -> None:
    from mesh.serving.routing import is_called

    for one in daemon.get("/v1/services")["services"]:
        if is_called(model, one["model"]):
            said = daemon.post(f"/v1/services/{one['service_id']}/end")
            emit_json(said) if output == "json" else click.echo(
                f"{clean(one['model'])} is kept up no more"
            )
            return
    raise Stop(NOT_FOUND, f"nobody keeps {clean(model)[:80]} up", "fleet ps lists what is served")


def _idle_ms(text: str) -> int:
    from mathcore.units import parse_duration_ms

    if text.strip() == "0":
        return 0
    try:
        return parse_duration_ms(text)
    except ValueError as error:
        raise Stop(USAGE, f"--idle {text[:40]!r}: {error}", "--idle 10m") from error
