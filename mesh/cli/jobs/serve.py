"""`fleet serve`: a model that answers until it is cancelled."""

from typing import Any

import click

from mesh.cli.client import Daemon, job_url, need_daemon
from mesh.cli.exits import UNREACHABLE, Stop
from mesh.cli.jobs.run import end
from mesh.cli.options import given, plan_options
from mesh.cli.output import clean, emit_json, json_option
from mesh.cli.planning.plan import model_ref


@click.command()
@click.argument("model")
@plan_options
@click.option("--label", help="what to call the job; every peer sees it")
@click.option("-d", "--detach", is_flag=True, help="print the job's id and return at once")
@json_option
def serve(*, model: str, label: str | None, detach: bool, output: str, **options: object) -> None:
    """Serve MODEL until the job is cancelled; --batch is how many it answers at once.

    Prints where, once it can answer. The address is on the loopback of the machine that serves, and
    asks for the key beside it, as OpenAI's clients send one.
    """
    from mesh.config import fleet_home

    spec = given(options) | ({"label": label} if label else {})
    daemon = need_daemon(fleet_home())
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
