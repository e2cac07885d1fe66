"""`fleet devices`: what the ledger knows of each device, and hardware described by hand."""

from collections.abc import Mapping, Sequence
from typing import Any

import click

from mesh.cli.exits import NOT_FOUND, stop
from mesh.cli.output import emit_json, emit_table, json_option, now_ms, number, show_age
from mesh.cli.verbs import Verbs


@click.group(cls=Verbs, invoke_without_command=True)
@json_option
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
    else:
        emit_devices(rows)


def emit_devices(rows: Sequence[Mapping[str, Any]]) -> None:
    """Devices as a table."""
    heads = (
        "DEVICE",
        "MODEL",
        "COUNT",
        "FREE",
        "MEMORY",
        "BASIS",
        "ENGINES",
        "WHERE",
        "PEER",
        "STATE",
        "AGE",
    )
    emit_table(
        heads,
        [_row(row) for row in rows],
        "no devices yet. try: fleet up, or fleet devices add NAME --gpu … --memory …",
    )


def _row(row: Mapping[str, Any]) -> list[object]:
    from mathcore.units import show_bytes

    return [
        row["name"],
        row["model"],
        row["count"],
        show_bytes(number(row, "free_bytes")),
        show_bytes(number(row, "memory_bytes")),
        row["free_basis"],
        ",".join(row["engines"]),
        f"{row['location']}/{row['provider']}",
        row["peer"],
        row["state"],
        show_age(number(row, "age_ms")),
    ]


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
