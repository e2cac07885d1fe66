"""`fleet devices`: what the ledger knows of each device, and hardware described by hand."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import click

from mesh.cli.machines.describe import add, remove, set_
from mesh.cli.output import emit_json, now_ms, number, show_age
from mesh.cli.table import Column, emit, emit_wide
from mesh.cli.verbs import Verbs

Row = Mapping[str, Any]

NO_DEVICES: Final = (
    "no devices yet. try: fleet up --detach, or fleet devices add rig --gpu 'RTX 4090'"
)
PLACES: Final = {"lan": "LAN"}
WAYS: Final = {"ssh": ", SSH", "api": ", API"}


def _bytes(key: str) -> Any:
    from mathcore.units import show_bytes

    return lambda row: show_bytes(number(row, key)) if number(row, key) else ""


def _model(row: Row) -> str:
    count = number(row, "count")
    return f"{count}x {row['model']}" if count > 1 else str(row["model"])


def _where(row: Row) -> str:
    """ "local", "LAN, SSH", "cloud, API": where it stands and how it is reached."""
    place = str(row["location"])
    return PLACES.get(place, place) + WAYS.get(str(row["provider"]), "")


def columns() -> tuple[Column[Row], ...]:
    """What a table of devices shows."""
    return (
        Column(title="DEVICE", value=lambda row: row["name"], least=10),
        Column(title="MODEL", value=_model, least=12),
        Column(title="FREE", value=_bytes("free_bytes"), right=True),
        Column(title="MEMORY", value=_bytes("memory_bytes"), right=True, rank=30),
        Column(title="BASIS", value=lambda row: row["free_basis"], rank=80),
        Column(title="ENGINES", value=lambda row: ",".join(row["engines"]), rank=50, least=9),
        Column(title="WHERE", value=_where, rank=60),
        Column(title="PEER", value=lambda row: row["peer"], rank=40, least=8),
        Column(title="STATE", value=lambda row: row["state"]),
        Column(title="AGE", value=lambda row: show_age(number(row, "age_ms")), rank=70, right=True),
    )


ID: Final[Column[Row]] = Column(title="ID", value=lambda row: row["device_id"])


@click.group(cls=Verbs, invoke_without_command=True)
@click.option(
    "-o",
    "--output",
    type=click.Choice(["text", "wide", "json"]),
    default="text",
    show_default=True,
    help="how to print; wide adds ids and keeps every column",
)
@click.pass_context
def devices(ctx: click.Context, output: str) -> None:
    """The fleet's devices; `add`, `set` and `remove` those described by hand."""
    if ctx.invoked_subcommand is not None:
        return
    from mesh.api.rows import device_rows
    from mesh.config import fleet_home
    from mesh.edge.store.state import load_state

    rows = device_rows(load_state(fleet_home()), now_ms())
    if output == "json":
        emit_json(rows)
    elif output == "wide":
        emit_wide([ID, *columns()], rows, NO_DEVICES)
    else:
        emit_devices(rows)


def emit_devices(rows: Sequence[Row]) -> None:
    """Devices as a table."""
    emit(columns(), rows, NO_DEVICES, more="-o wide has all")


for command in (add, set_, remove):
    devices.add_command(command)
