"""Disks restored and lost, with real daemons: the key comes back, and the fleet with it."""

import json
import shutil
import socket
from pathlib import Path

import pytest

from mesh.api.errors import RequestError
from tests.mesh.conftest import Machine, Maker, up_all
from tests.support.waiting import wait_until


def findable(machines: Maker, names: str) -> list[Machine]:
    """Daemons that are found again after a restart, for their ports stay the same."""
    for name in names.split():
        with socket.create_server(("127.0.0.1", 0)) as free:
            machines(name).env["FLEET_MESH_PORT"] = str(free.getsockname()[1])
    return up_all(machines, names)


def level(*machines: Machine) -> bool:
    """Whether all hold equally many events: what only one had would be lost with its disk."""
    return len({one.get("/v1/status")["events"] for one in machines}) == 1


def may_sign(machine: Machine) -> bool:
    return not machine.get("/v1/status")["waiting_for"]


@pytest.mark.slow
def test_a_founder_restored_from_a_backup_goes_on_as_founder(
    machines: Maker, tmp_path: Path
) -> None:
    ana, ben = findable(machines, "ana ben")
    ben.join(ana)
    ana.note("before")
    wait_until(ben.has("before"), "the note at ben")
    ana.stop()
    shutil.copytree(ana.home, tmp_path / "backup")
    ana.up()
    wait_until(ana.sees("ben", "online"), "ana linked again")
    for text in ("after 1", "after 2"):
        ana.note(text)
    wait_until(ben.has("after 2"), "the notes at ben")
    wait_until(lambda: level(ana, ben), "all of ana's events at ben")
    ana.stop()
    shutil.rmtree(ana.home)
    shutil.copytree(tmp_path / "backup", ana.home)
    ana.up()
    ana.ok("note", "first words after the restore")
    wait_until(ben.has("first words after the restore"), "them at ben")
    assert ana.has("after 1", "after 2")()
    assert ana.ok("invite").strip().startswith("fleet join")
    for one in (ana, ben):
        assert json.loads(one.ok("status", "-o", "json"))["forks"] == []


@pytest.mark.slow
def test_a_lost_ledger_comes_back_and_without_a_member_in_reach_nothing_is_signed(
    machines: Maker,
) -> None:
    ana, ben = findable(machines, "ana ben")
    ben.join(ana)
    ben.note("one")
    wait_until(ana.has("one"), "the note at ana")
    wait_until(lambda: level(ana, ben), "all of ben's events at ana")
    ana.stop()
    ben.stop()
    for path in ben.home.glob("ledger.db*"):
        path.unlink()
    refused = ben.run("note", "without a daemon")
    assert refused.code == 3
    assert "restored or lost" in refused.err
    ben.up()
    assert "its own event" in ben.get("/v1/status")["waiting_for"]
    assert "this peer signs nothing yet" in (ben.home / "daemon.log").read_text()
    with pytest.raises(RequestError, match="this peer signs nothing yet") as caught:
        ben.note("too early")
    assert (caught.value.code, caught.value.status) == ("NotHeard", 503)
    ben.ok("plan", "llama-3.1-8b", "--what-if", "RTX 4090")  # it still answers
    ana.up()
    wait_until(lambda: may_sign(ben), "ben heard ana")
    ben.note("two")
    wait_until(ana.has("one", "two"), "both notes at ana")
    assert json.loads(ana.ok("status", "-o", "json"))["forks"] == []


@pytest.mark.slow
def test_a_founder_that_lost_its_ledger_knows_whom_to_ask(machines: Maker) -> None:
    ana, ben = findable(machines, "ana ben")
    ben.join(ana)
    ana.note("one")
    wait_until(ben.has("one"), "the note at ben")
    wait_until(lambda: level(ana, ben), "all of ana's events at ben")
    ana.stop()
    for path in ana.home.glob("ledger.db*"):
        path.unlink()
    ana.up()
    ana.ok("note", "two")
    wait_until(ben.has("one", "two"), "both notes at ben")
    assert json.loads(ben.ok("status", "-o", "json"))["forks"] == []
    assert ana.ok("invite").strip().startswith("fleet join")


@pytest.mark.slow
def test_who_was_restored_from_before_the_fleet_is_let_in_again(
    machines: Maker, tmp_path: Path
) -> None:
    """The founder and a guest, each by the other's code; neither key signs a second history."""
    ana, ben = findable(machines, "ana ben")
    for one in (ana, ben):
        one.note(f"{one.name} alone")
        one.stop()
        shutil.copytree(one.home, tmp_path / "backup" / one.name)
        one.up()
    ben.join(ana, role="admin")
    ana.note("one")
    ben.note("two")
    for lost, host in ((ben, ana), (ana, ben)):
        wait_until(lambda: level(ana, ben), "the same events at both")
        lost.stop()
        shutil.rmtree(lost.home)
        shutil.copytree(tmp_path / "backup" / lost.name, lost.home)
        lost.up()
        lost.join(host, role="admin")
        lost.note(f"{lost.name} again")
        wait_until(host.has(f"{lost.name} again"), f"{lost.name}'s note at {host.name}")
    assert ana.has("one", "two", "ben again", "ana again")()
    assert ana.ok("invite").strip().startswith("fleet join")
    for one in (ana, ben):
        assert json.loads(one.ok("status", "-o", "json"))["forks"] == []


@pytest.mark.slow
def test_a_person_may_say_that_a_peer_is_alone(machines: Maker) -> None:
    ana, ben = findable(machines, "ana ben")
    ben.join(ana)
    wait_until(ben.sees("ana", "online"), "ben linked")
    ana.stop()
    ben.stop()
    ben.up()
    assert not may_sign(ben)
    ben.stop()
    ben.ok("up", "--detach", "--alone")
    ben.note("on an island")
    ana.up()
    wait_until(ana.has("on an island"), "the note at ana")
    assert json.loads(ana.ok("status", "-o", "json"))["forks"] == []
