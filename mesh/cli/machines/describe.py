"""`fleet devices add`, `set` and `remove`: hardware that runs no daemon, described by hand."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, NoReturn

import click

from mesh.cli.exits import NOT_FOUND, USAGE, stop
from mesh.cli.options import Renamed, ram_option, rate_option

if TYPE_CHECKING:
    from mesh.state.fleet import DeviceView

Command = Callable[..., Any]

_FIELDS: Final = (
    click.option("--gpu", metavar="NAME", help='as its maker calls it: "RTX 4090", "M4 16GB"'),
    click.option("--memory", metavar="SIZE", help="of each accelerator: 24GB"),
    click.option("--usable", metavar="SIZE", help="what of it the GPU may use, where set"),
    click.option("--count", type=click.IntRange(1, 1024), help="identical accelerators"),
    ram_option,
    click.option("--cores", type=click.IntRange(1, 4096), help="CPU cores of its host"),
    click.option("--network", metavar="SPEED", help="its link to other hosts: 10Gbit/s"),
    click.option(
        "--host", metavar="NAME", help="the host it sits in, shared by those that name it"
    ),
    click.option(
        "--engines",
        "engines",
        cls=Renamed,
        old=["--backends"],
        metavar="NAMES",
        help="what it runs, comma-separated: llama.cpp,vllm",
    ),
    click.option("--location", type=click.Choice(["lan", "tailnet", "cloud"]), help="where it is"),
    click.option("--transport", type=click.Choice(["agent", "ssh", "api"]), help="how to reach it"),
    rate_option,
    click.option("--price", metavar="$", help="dollars it cost: 1600  [default: unknown]"),
    click.option("--lifetime", metavar="MONTHS", help="it is written off over  [default: 60]"),
    click.option(
        "--watts",
        type=click.IntRange(1, 100_000),
        help="board power under load  [default: the catalogue's]",
    ),
)
# What else is not true any more when a field changes; the hardware decides most of itself.
_REPLACES: Final = {
    "gpu": ("memory", "usable", "count", "engines", "watts", "ram"),
    "rate": ("price", "lifetime"),
    "price": ("rate",),
}


def fields(command: Command) -> Command:
    """The options that describe hardware, each of them left out where nothing is known."""
    for option in reversed(_FIELDS):
        command = option(command)
    return command


@click.command()
@click.argument("name")
@fields
@click.option("--replace", is_flag=True, help="describe anew what has this name already")
def add(*, name: str, replace: bool, **options: object) -> None:
    """Describe a device by hand; it is planned for like any other."""
    if options["gpu"] is None:
        raise click.UsageError("which hardware? say --gpu 'RTX 4090'")
    for view in named(known(), name):
        if not view.hand_described:
            text = f"{view.name} is a device that its own daemon found"
            stop(USAGE, text, f"another name: fleet devices add {name}-2 --gpu '{options['gpu']}'")
        if not replace:
            text = f"{view.name} is described already, as {view.model}"
            stop(
                USAGE,
                text,
                f"fleet devices set {view.name} --memory 24GB, or add --replace",
            )
    _write(name, said(options), "added")


@click.command("set")
@click.argument("name")
@fields
def set_(*, name: str, **options: object) -> None:
    """Change what is said of a device described by hand; what is not mentioned stays."""
    changes = said(options)
    if not changes:
        raise click.UsageError("nothing to change: say for example --memory 24GB")
    view = the_described(name)
    gone = {old for new in changes for old in _REPLACES.get(new, ())}
    kept = {key: value for key, value in as_described(view.payload).items() if key not in gone}
    _write(view.name, kept | changes, "changed")


@click.command()
@click.argument("name")
def remove(*, name: str) -> None:
    """Take a hand-described device out of planning, by name or id; its history stays."""
    from mesh.cli.writes import write_removal

    view = the_described(name)
    write_removal(view.device_id)
    click.echo(f"removed {view.name}")


def said(options: Mapping[str, object]) -> dict[str, object]:
    """The fields a person mentioned."""
    return {key: value for key, value in options.items() if value is not None}


def _usable(payload: Mapping[str, Any]) -> str:
    """What its owner said the GPU may use; "" where that is what the hardware's rule says."""
    from mathcore.hardware.described import describe

    free = payload.get("free_bytes") or 0
    usual = describe(str(payload.get("model")), int(payload.get("memory_bytes") or 0))
    return f"{free}B" if free and free != usual.free_bytes else ""


def _write(name: str, given: Mapping[str, object], done: str) -> None:
    from mesh.api.hardware import described_hardware, notes_of
    from mesh.cli.writes import write_device

    asked = {"name": name, **given}
    event = write_device(asked)
    click.echo(f"{done} {name} as {event['device_id']}")
    for note in notes_of(described_hardware(asked)):
        click.echo(note)


def known() -> "list[DeviceView]":
    """Every device of the ledger; none where there is no ledger yet."""
    from mesh.config import fleet_home
    from mesh.edge.store.schema import DATABASE
    from mesh.edge.store.state import load_state

    home = fleet_home()
    return list(load_state(home).devices.values()) if (home / DATABASE).exists() else []


def named(views: "Sequence[DeviceView]", name: str) -> "list[DeviceView]":
    """The device of that id, else those of that name, whatever its case."""
    by_id = [view for view in views if view.device_id == name]
    return by_id or [view for view in views if view.name.lower() == name.lower()]


def the_described(name: str) -> "DeviceView":
    """The one hand-described device called so; Stop says which there are otherwise."""
    found = named(known(), name)
    described = [view for view in found if view.hand_described]
    if len(described) != 1 or len(found) > 1:
        _none_or_several(name, found, described)
    return described[0]


def _none_or_several(
    name: str, found: "Sequence[DeviceView]", described: "Sequence[DeviceView]"
) -> NoReturn:
    if not found:
        stop(NOT_FOUND, f"no device is called {name!r}", "fleet devices lists them")
    if not described:
        text = f"{found[0].name} was found by its own daemon, not described by hand"
        stop(USAGE, text, "fleet down there takes it away")
    ids = " or ".join(view.device_id for view in described)
    stop(USAGE, f"{len(found)} devices are called {name}", f"its id: {ids}")


def as_described(payload: Mapping[str, Any]) -> dict[str, object]:
    """The fields that would describe a registered device as it is."""
    from mathcore.units import NUSD

    def dollars(key: str) -> str:
        amount = payload.get(key) or 0
        return f"{amount // NUSD}.{amount % NUSD:09d}" if amount else ""

    def size(key: str) -> str:
        return f"{payload[key]}B" if payload.get(key) else ""

    lifetime = payload.get("lifetime_months")
    rent = dollars("hourly_nusd")
    found: dict[str, object] = {
        "gpu": payload.get("model"),
        "memory": size("memory_bytes"),
        "usable": _usable(payload),
        "count": payload.get("count"),
        "ram": size("ram_bytes"),
        "cores": payload.get("cores"),
        "network": payload.get("network"),
        "host": payload.get("host"),
        "engines": ",".join(payload.get("engines") or ()),
        "location": payload.get("location"),
        "transport": payload.get("transport"),
        "rate": f"{rent}/h" if rent else "",
        "price": "" if rent else dollars("price_nusd"),
        "lifetime": str(lifetime) if lifetime else "",
        "watts": payload.get("watts"),
    }
    return {key: value for key, value in found.items() if value}
