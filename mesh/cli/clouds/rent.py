"""`fleet rent` and `fleet return`: a machine of a cloud's as this peer's device, and back again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from mesh.cli.client import need_daemon, quoted
from mesh.cli.clouds.asking import checked, question, warn
from mesh.cli.clouds.awaiting import hourly, once_ready
from mesh.cli.machines.peers import yes_option
from mesh.cli.options import confirm
from mesh.cli.output import emit_json, json_option, say
from mesh.cli.table import emit_text

Row = Mapping[str, Any]


@click.command()
@click.option("--gpu", metavar="24GB..|NAME", help='memory of one GPU, 24GB.., or "2x RTX 4090"')
@click.option("--count", metavar="N", help="with so many GPUs")
@click.option("--for", "life", metavar="2h", required=True, help="returned after so long at most")
@click.option("--idle", metavar="15m", help="returned when no job ran so long, 0 never  [15m]")
@click.option("--max-price", metavar="$", help="dollars an hour, at most  [what is shown first]")
@click.option("--cap", metavar="$", help="dollars in all, at most  [for that long, and a boot]")
@click.option("--spot", is_flag=True, default=None, help="one that may be taken back will do")
@click.option("--provider", metavar="NAME", help="at this provider: vastai, runpod, lambdalabs")
@click.option("--offer", metavar="ID", help="this offer of fleet offers and no other")
@click.option("--disk", metavar="100GB", help="room on its disk  [40GiB]")
@click.option("--image", metavar="NAME", help="the container image it runs  [llama.cpp, CUDA]")
@click.option("--setup", metavar="COMMAND", help="run there once, before it is ready")
@click.option("-d", "--detach", is_flag=True, help="return at once, with the request's id")
@yes_option
@json_option
def rent(*, output: str, detach: bool, yes: bool, **options: Any) -> None:
    """Rent a machine; once it is up it is a device of this fleet, for fleet run --on.

    It is returned at the end of its time, when it is idle, or by fleet return. What it may cost at
    most is reserved before anything is asked for, and kept by the day's and the month's caps.
    """
    from mesh.config import fleet_home

    body = checked(options)
    daemon = need_daemon(fleet_home())
    if not yes:
        confirm(question(daemon, body))
    made = daemon.post("/v1/rentals", body)
    request_id = str(made["request_id"])
    if yes:
        warn(made["provider"], daemon.get("/v1/clouds")["clouds"])
    if detach:
        emit_json(made) if output == "json" else click.echo(request_id)
        return
    say(f"request {request_id} at {made['provider']} (Ctrl-C leaves it running)", err=True)
    row = once_ready(daemon, request_id)
    if output == "json":
        emit_json(row)
        return
    _show(row)


@click.command(name="return")
@click.argument("rental")
@json_option
def return_(*, rental: str, output: str) -> None:
    """Return RENTAL: a rental, its request, or what its machine is called.

    It is paid for until the provider's own listings lack it; fleet rentals shows when.
    """
    from mesh.config import fleet_home

    done = need_daemon(fleet_home()).post(f"/v1/rentals/{quoted(rental)}/return", {})
    if output == "json":
        emit_json(done)
        return
    emit_text("it is being returned; fleet rentals shows when it is gone")


def _show(row: Row) -> None:
    devices = [str(one) for one in row["devices"]]
    emit_text(f"{row['host']} is up: {', '.join(devices)}, {hourly(row)}")
    emit_text(f"fleet run MODEL --on {row['host']}")
    emit_text(f"fleet return {row['host']}")
