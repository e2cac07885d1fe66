"""`fleet run --rent`: a machine for one job, returned when it ends."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, final

import click

from mesh.api.errors import RequestError
from mesh.cli.client import Daemon, quoted
from mesh.cli.clouds.asking import checked, question, warn
from mesh.cli.clouds.awaiting import once_ready
from mesh.cli.options import confirm
from mesh.cli.output import say

Row = Mapping[str, Any]

DEFAULT_LIFE: Final = "1h"
ALONE: Final = "a job that is left alone has nobody to return its machine: say --rent or --detach"


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class RentFor:
    """What `fleet run` was told of a machine for its job: options as typed, None where not."""

    gpu: str | None
    life: str | None = None
    image: str | None = None
    setup: str | None = None


def refuse_options(spec: Mapping[str, object], asked: RentFor, *, detach: bool) -> None:
    """UsageError where what was said of renting does not go together."""
    gpu = asked.gpu
    if gpu is None and asked.life is not None:
        raise click.UsageError("--for says how long --rent rents for: say --rent 24GB.., too")
    if gpu is None and asked.image is not None:
        raise click.UsageError("--image says what --rent runs: say --rent 24GB.., too")
    if gpu is None and asked.setup is not None:
        raise click.UsageError("--setup makes a machine of --rent ready: say --rent 24GB.., too")
    if gpu is not None and detach:
        raise click.UsageError(ALONE)
    if gpu is not None and "on" in spec:
        raise click.UsageError("say --rent or --on, not both")


@contextmanager
def rented(daemon: Daemon, spec: dict[str, object], asked: RentFor) -> Iterator[None]:
    """A machine for a job, which is sent there; returned however the job ends. Whoever presses
    Ctrl-C leaves both running: the machine is returned when it is idle."""
    row = _rent(daemon, spec, asked)
    left = False
    try:
        yield
    except (KeyboardInterrupt, click.Abort):
        left = True
        raise
    finally:
        if not left:
            _give_back(daemon, row)


def _rent(daemon: Daemon, spec: dict[str, object], asked: RentFor) -> Row:
    """Asked first, unless --max-price says what it may cost."""
    body = checked(
        {
            "gpu": asked.gpu,
            "life": asked.life or DEFAULT_LIFE,
            "max_price": spec.get("max_price"),
            "image": asked.image,
            "setup": asked.setup,
            "engine": True if "model" in spec and asked.image is None else None,
        }
    )
    asks = "max_price" not in body
    if asks:
        confirm(question(daemon, body))
    made = daemon.post("/v1/rentals", body)
    request_id = str(made["request_id"])
    if not asks:
        warn(made["provider"], daemon.get("/v1/clouds")["clouds"])
    say(f"request {request_id} (Ctrl-C leaves it; fleet return {request_id} ends it)", err=True)
    row = once_ready(daemon, request_id)
    spec["on"] = row["host"]  # its best device, or all of its cards
    return row


def _give_back(daemon: Daemon, row: Row) -> None:
    """Its work is done. Where it was lost or returned meanwhile, how the job ended says so."""
    try:
        daemon.post(f"/v1/rentals/{quoted(str(row['request_id']))}/return", {})
    except RequestError as error:
        if error.code != "NotOpen":
            raise
        return
    click.echo(f"{row['host']} is being returned; fleet rentals has its bill", err=True)
