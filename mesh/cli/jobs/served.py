"""What is served, below the jobs of `fleet ps`: each model with its servers, and who is at them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, final

from mesh.api.errors import RequestError
from mesh.cli.client import Daemon
from mesh.cli.exits import Stop
from mesh.cli.output import number, say, show_age
from mesh.cli.table import Column, emit

Row = Mapping[str, Any]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """One model: its servers, and the services that keep it up."""

    name: str
    replicas: Sequence[Row]
    services: Sequence[Row]
    devices: Sequence[str]

    @property
    def ready(self) -> str:
        """ "1/2": those that can answer, of all."""
        return f"{sum(bool(one.get('ready')) for one in self.replicas)}/{len(self.replicas)}"

    @property
    def busy(self) -> str:
        """ "3/4": answers under way, of those there is room for."""
        slots = self.total("slots")
        return f"{self.total('busy')}/{slots}" if slots else ""

    @property
    def speed(self) -> str:
        """ "41.3": tokens a second of one answer, of the fastest server; "" of none heard."""
        fastest = max((number(one, "mtps") for one in self.replicas), default=0)
        return f"{fastest / 1000:.1f}" if fastest else ""

    @property
    def kept(self) -> str:
        """ "0-2, idle 10m": how many are kept up, and when one that nobody asks leaves."""
        words = [
            f"{one['min_replicas']}-{one['max_replicas']}"
            + (f", idle {show_age(one['idle_ms'])}" if one["idle_ms"] else "")
            for one in self.services
        ]
        return "; ".join(words)

    def total(self, name: str) -> int:
        """Of all its servers."""
        return sum(number(one, name) for one in self.replicas)


def _devices(one: Served) -> str:
    first, *others = one.devices or ("",)
    return f"{first} +{len(others)}" if others else first


COLUMNS: Final[tuple[Column[Served], ...]] = (
    Column(title="MODEL", value=lambda one: one.name, least=12),
    Column(title="READY", value=lambda one: one.ready, right=True),
    Column(title="BUSY", value=lambda one: one.busy, rank=20, right=True),
    Column(title="WAITING", value=lambda one: one.total("waiting"), rank=30, right=True),
    Column(title="TOK/S", value=lambda one: one.speed, rank=35, right=True),
    Column(title="DEVICE", value=_devices, rank=10, least=8),
    Column(title="KEPT UP", value=lambda one: one.kept, rank=40, optional=True),
)


def show_served(daemon: Daemon | None, names: Mapping[str, str]) -> None:
    """The table, where anything is served or kept up; `names` says what devices are called."""
    found = _asked(daemon)
    rows = rows_of(found, names)
    if rows:
        say()
        say(f"models at {found.get('url', '')}/v1")
        emit(COLUMNS, rows, more="fleet ps | cat has all")


def _asked(daemon: Daemon | None) -> Row:
    """{} where no daemon runs, or an older one."""
    try:
        found = None if daemon is None else daemon.get("/v1/services")
    except (RequestError, Stop):
        return {}
    return found if isinstance(found, dict) else {}


def rows_of(found: Row, names: Mapping[str, str]) -> list[Served]:
    """A row for each model, by name."""
    replicas, services = found.get("replicas", ()), found.get("services", ())
    models = {str(one["model"]) for one in (*replicas, *services)}
    return [
        Served(
            name=model,
            replicas=(mine := [one for one in replicas if one["model"] == model]),
            services=[one for one in services if one["model"] == model],
            devices=_named(mine, names),
        )
        for model in sorted(models)
    ]


def _named(replicas: Iterable[Row], names: Mapping[str, str]) -> list[str]:
    """Their devices, each once."""
    ids = dict.fromkeys(str(one.get("device_id", "")) for one in replicas)
    return [names.get(one, one) for one in ids if one]
