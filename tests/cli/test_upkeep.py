"""What `fleet drain`, `resume`, `reserve` and `unreserve` ask for and say."""

import time
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import pytest
from click.testing import CliRunner

from mesh.cli.exits import Stop
from mesh.cli.machines import upkeep
from mesh.cli.output import wide
from tests.cli.fixed_fleet import NOW
from tests.cli.test_golden_tables import compare

HOUR = 3_600_000
HELD = [
    {"reservation_id": "0123456789abcdef", "by": "a" * 64, "peer": "workstation",
     "from_ms": NOW - HOUR // 4, "until_ms": NOW + 2 * HOUR},
    {"reservation_id": "fedcba9876543210", "by": "b" * 64, "peer": "",
     "from_ms": NOW + 5 * HOUR, "until_ms": NOW + 29 * HOUR},
]  # fmt: skip
SAID = {"device_id": "dev-rig", "name": "gaming-pc", "drained": "", "reservations": []}
VIEWS: dict[str, tuple[Any, tuple[str, ...], dict[str, object]]] = {
    "drain": (upkeep.drain, ("gaming-pc",), {"drained": "maintenance"}),
    "resume": (upkeep.resume, ("gaming-pc",), {}),
    "reserve": (upkeep.reserve, ("gaming-pc", "--for", "2h"), {"reservations": HELD}),
    "unreserve": (upkeep.unreserve, ("gaming-pc",), {}),
}


class Daemon:
    """Answers every post with what it was given."""

    def __init__(self, said: Mapping[str, object]) -> None:
        self.said, self.asked = dict(said), list[tuple[str, dict[str, object]]]()
        self.devices: list[dict[str, object]] = []

    def get(self, path: str) -> dict[str, object]:
        assert path == "/v1/devices"
        return {"devices": self.devices}

    def post(self, path: str, body: Mapping[str, object]) -> dict[str, object]:
        self.asked.append((path, dict(body)))
        return self.said


@pytest.fixture(autouse=True)
def _still(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time_ns", lambda: NOW * 1_000_000)


def ask(monkeypatch: pytest.MonkeyPatch, name: str, *more: str, width: int = 80) -> tuple:
    verb, args, changes = VIEWS[name]
    daemon = Daemon(SAID | changes)
    monkeypatch.setattr(upkeep, "need_daemon", lambda _: daemon)
    env = {"COLUMNS": str(width)}
    done = CliRunner().invoke(verb, [*args, *more], env=env, catch_exceptions=False)
    return done.stdout, daemon.asked


@pytest.mark.parametrize("width", [60, 80])
@pytest.mark.parametrize("name", sorted(VIEWS))
def test_it_looks_as_it_did(
    name: str, width: int, monkeypatch: pytest.MonkeyPatch, *, updates_golden: bool
) -> None:
    text, _ = ask(monkeypatch, name, width=width)
    assert max(map(wide, text.splitlines())) <= width
    compare(f"{name}-{width}", text, update=updates_golden)


def test_each_verb_asks_for_its_own_route(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = [ask(monkeypatch, name)[1] for name in VIEWS]
    paths = "/v1/devices/gaming-pc/"
    assert asked == [
        [(f"{paths}drain", {"reason_code": "maintenance"})],
        [(f"{paths}resume", {})],
        [(f"{paths}reserve", {"for_ms": 2 * HOUR})],
        [(f"{paths}unreserve", {})],
    ]


def test_a_reason_that_is_not_listed_is_refused_before_it_is_sent() -> None:
    done = CliRunner().invoke(upkeep.drain, ["rig", "--reason", "my secret project"])
    assert done.exit_code == 2


def test_a_start_is_a_time_of_day_a_date_or_a_while_from_now() -> None:
    assert upkeep.instant("90m", NOW) == NOW + 90 * 60_000
    here = datetime.fromtimestamp(NOW / 1000).astimezone()
    clock = upkeep.instant(f"{here:%H:%M}", NOW)
    assert 0 < clock - NOW <= 24 * HOUR + 1
    later = "2026-11-30 09:00"
    assert upkeep.instant(later, NOW) == datetime.fromisoformat(later).timestamp() * 1000
    with pytest.raises(Stop):
        upkeep.instant("soon", NOW)


ROWS = [
    {"device_id": "c", "name": "rig", "owner": "a", "payload": {}},
    {"device_id": "g1", "name": "rig-gpu1", "owner": "a", "payload": {}},
    {"device_id": "g0", "name": "rig-gpu0", "owner": "a", "payload": {}},
    {"device_id": "o", "name": "other", "owner": "b", "payload": {"host": "i"}},
]


@pytest.mark.parametrize(
    ("wanted", "meant"),
    [("rig", ["c", "g0", "g1"]), ("rig-gpu1", ["rig-gpu1"]), ("c", ["c"]), ("nosuch", ["nosuch"])],
)
def test_a_machines_name_means_all_of_its_devices(wanted: str, meant: list[str]) -> None:
    assert upkeep._meant(ROWS, wanted) == meant
    two = [*ROWS, {"device_id": "z", "name": "rig", "owner": "b", "payload": {"host": "i"}}]
    assert upkeep._meant(two, "rig") == ["rig"]  # two machines: the daemon asks for an id


def test_a_machine_that_is_drained_names_its_devices_in_one_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    daemon = Daemon(SAID | {"drained": "maintenance", "name": "rig-gpu0"})
    daemon.devices = ROWS
    monkeypatch.setattr(upkeep, "need_daemon", lambda _: daemon)
    done = CliRunner().invoke(upkeep.drain, ["rig"], env={"COLUMNS": "200"}, catch_exceptions=False)
    paths = [path.split("/")[3] for path, _ in daemon.asked]
    assert paths == ["c", "g0", "g1"]
    assert "take no new jobs (maintenance); what runs there goes on. Later: fleet resume rig" in (
        done.stdout
    )
