"""A key of a cloud is given to the daemon and reaches nothing that it starts or writes; machines
that go on costing are told of."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.emulators.hosting import Hosting, hosted
from tests.emulators.vastai import VastEmulator
from tests.mesh.conftest import Machine, Maker, up_all
from tests.support.waiting import wait_until

RUNPOD_KEY = "rpa_ATTACKED0123456789abcdef"


@pytest.fixture
def vast(tmp_path: Path) -> Iterator[Hosting]:
    with hosted(tmp_path / "vast", VastEmulator) as hosting:
        yield hosting


@pytest.fixture
def ana(machines: Maker, vast: Hosting) -> Machine:
    ana = machines("ana")
    ana.env |= {"FLEET_VAST_URL": vast.server.url, "VAST_API_KEY": vast.emulator.key}
    ana.env |= {"RUNPOD_API_KEY": RUNPOD_KEY, "FLEET_RUNPOD_URL": vast.server.url}
    ana.env |= {"FLEET_DEBUG": "1"}
    up_all(machines, "ana")
    wait_until(lambda: state(ana, "vastai") == "ready", "the account to be listed")
    return ana


def state(one: Machine, provider: str) -> str:
    rows = one.get("/v1/clouds")["clouds"]
    return str(next(row["state"] for row in rows if row["provider"] == provider))


def test_no_job_inherits_a_key_and_no_file_has_one(ana: Machine, vast: Hosting) -> None:
    keys = (vast.emulator.key, RUNPOD_KEY)
    # The job's own environment, and that of everything between it and the daemon.
    script = "env; p=$PPID; cat /proc/$p/environ /proc/$p/cmdline; cat /proc/self/environ"
    seen = ana.run("run", "--", "sh", "-c", script)
    assert seen.code == 0, seen.err
    assert "PATH=" in seen.out
    assert not [key for key in keys if key in seen.out]
    assert ana.get("/v1/clouds")["clouds"][0]["key_from"] == "VAST_API_KEY"
    ana.ok("clouds", "-o", "json")
    files = [path for path in ana.home.rglob("*") if path.is_file()]
    held = [path for path in files for key in keys if key.encode() in path.read_bytes()]
    assert held == []


def test_what_stays_rented_is_told_when_the_daemon_goes(ana: Machine, vast: Hosting) -> None:
    wait_until(lambda: offered(ana), "offers")
    ana.ok("rent", "--gpu", "20GB..", "--for", "1h", "-y", "-d")
    wait_until(lambda: bool(vast.ours()), "a machine to be made")
    wait_until(lambda: known(ana), "its making to be known")
    assert "rented: 1 machine at $" in ana.ok("status")
    down = ana.run("down")
    assert "1 machine at $" in down.err
    assert "stay" in down.err
    assert "no daemon here to return" in ana.ok("status")
    del ana.env["VAST_API_KEY"]
    ana.up()
    wait_until(lambda: told(ana) == ["no_key"], "a person to be told that the key is gone")


def offered(one: Machine) -> bool:
    rows = one.get("/v1/offers?provider=vastai")["offers"]
    return any(row["source"] == "offer" for row in rows)


def known(one: Machine) -> bool:
    return any(row["instance"] for row in one.get("/v1/rentals")["rentals"])


def told(one: Machine) -> list[str]:
    return [str(alarm["why"]) for alarm in one.get("/v1/rentals")["alarms"]]
