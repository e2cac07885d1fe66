"""`fleet sync`: how far this ledger and the neighbours' are apart."""

import click

from mesh.cli.client import need_daemon
from mesh.cli.machines.peers import emit_neighbours
from mesh.cli.output import emit_json, json_option


@click.command()
@json_option
def sync(output: str) -> None:
    """Who is linked, what was exchanged, and what is still to come."""
    from mesh.config import fleet_home

    said = need_daemon(fleet_home()).get("/v1/sync/status")
    if output == "json":
        emit_json(said)
        return
    click.echo(f"ledger: {said['events']} events\n")
    emit_neighbours(said["peers"])
