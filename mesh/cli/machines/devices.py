"""`fleet devices`: what the ledger knows of each device, and hardware described by hand."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import click

from mesh.cli.exits import NOT_FOUND, stop
from mesh.cli.output import emit_json, now_ms, number, show_age
from mesh.cli.table import Column, emit, emit_wide

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


@click.group(invoke_without_command=True)
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
    """The fleet's devices; `add` and `remove` those described by hand."""
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


@devices.command("add")
@click.argument("name")
@click.option("--gpu", required=True, help='the accelerator, as its maker calls it: "RTX 4090"')
@click.option("--memory", help="per accelerator, with a unit: 24GiB")
@click.option("--count", type=click.IntRange(1, 1024), help="identical accelerators")
@click.option("--cores", type=click.IntRange(1, 4096), help="CPU cores of the host")
@click.option("--network", help="link speed, e.g. 10Gbit/s")
@click.option("--host", help="the host it sits in; devices that name one share it")
@click.option("--backends", help="engines it runs, comma-separated: llama.cpp,vllm")
@click.option("--location", type=click.Choice(["lan", "tailnet", "cloud"]))
@click.option("--transport", type=click.Choice(["agent", "ssh", "api"]))
@click.option("--price", help="what it cost, in dollars: 1600")
@click.option("--lifetime", help="months it is written off over: 36")
@click.option("--watts", type=click.IntRange(1, 100_000), help="board power under load")
def add(name: str, **options: object) -> None:
    """Describe a device by hand; it is planned for like any other."""
    from mesh.cli.writes import write_device

    given = {key: value for key, value in options.items() if value is not None}
    event = write_device({"name": name, **given})
    click.echo(f"added {name} as {event['device_id']}")


@devices.command("remove")
@click.argument("name")
def remove(name: str) -> None:
    """Take a hand-described device out of planning; its history stays."""
    from mesh.cli.writes import write_removal
    from mesh.config import fleet_home
    from mesh.edge.store.state import load_state

    views = load_state(fleet_home()).devices.values()
    matches = [v for v in views if name in (v.device_id, v.name)]
    if not matches:
        stop(NOT_FOUND, f"no device is called {name!r}", "fleet devices lists them")
    if not matches[0].hand_described:
        stop(
            2,
            f"{name} was found by a probe, not described by hand",
            "stop its daemon; only hand-described devices are removed",
        )
    write_removal(matches[0].device_id)
    click.echo(f"removed {name}")
