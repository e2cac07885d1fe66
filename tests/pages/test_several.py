"""Pages for several machines, as their people type them: real daemons on loopback."""

import re
from pathlib import Path
from typing import Any

import pytest

from tests.mesh.conftest import Machine, Maker, up_all
from tests.mesh.conftest import machines as machines
from tests.support.pages import Command, typed
from tests.support.tiny_gguf import write_tiny_gguf
from tests.support.typist import Typed, Typist
from tests.support.waiting import wait_until

LAN = "docs/how-to/lan-and-tailnet.md"
BUDGETS = "docs/budgets.md"
NEW = re.compile(r"on the new one|on another")


class Desk:
    """Three machines: desk founded the fleet, rig comes in by a code, box asks by address."""

    def __init__(self, machines: Maker, folder: Path) -> None:
        self.desk, self.rig, self.box = up_all(machines, "desk rig box")
        self.typist = Typist(folder / "work", self.desk.env)
        self.code = ""
        write_tiny_gguf(self.typist.folder / "model.gguf")

    def type(self, command: Command) -> Typed:
        """One command, at the machine that its comment says."""
        line = command.text.replace("CODE", self.code).replace("desk.lan", self.address())
        where = self.rig if NEW.search(command.said) else self.desk
        if "fleet join 127" in line:
            where, line = self.box, f"{line} > joined.txt 2>&1 &"
        if "accept rig" in line or "remove rig" in line or "grant ben" in line:
            line = line.replace("rig", "box").replace("ben", "rig")
        if line.startswith("fleet run ./model.gguf"):
            line += " --tokens 8"
        done = self.typist.ok(line, **{key: where.env[key] for key in ("FLEET_HOME", "FLEET_NAME")})
        found = re.search(r"fleet join (\S+)", done.out)
        self.code = found.group(1) if found else self.code
        self.after(line)
        return done

    def address(self) -> str:
        """Where desk lets newcomers ask."""
        return f"127.0.0.1:{self.desk.get('/v1/doctor')['pairing_port']}"

    def after(self, line: str) -> None:
        """What people would see before they go on."""
        if "fleet join 127" in line:
            wait_until(lambda: "box" in self.typist.ok("fleet peers pending").out, "box to ask")
        elif "accept box" in line:
            joined = self.typist.folder / "joined.txt"
            wait_until(lambda: "joined desk" in joined.read_text(), "box to be in")
        elif "fleet join" in line:
            wait_until(lambda: "rig" in devices(self.desk), "rig's device")


def devices(one: Machine) -> set[str]:
    rows: list[Any] = one.get("/v1/devices")["devices"]
    return {row["name"] for row in rows}


@pytest.fixture
def desk(machines: Maker, tmp_path: Path) -> Any:
    made = Desk(machines, tmp_path)
    yield made
    made.typist.close()


def adopts(desk: Desk) -> None:
    """`fleet adopt ID`, of docs/tasks.md: rig gave desk a job, and is gone."""
    asked = desk.rig.post("/v1/jobs", command=["sleep", "600"], on="desk")["job_id"]
    path = f"/v1/jobs/{asked}"
    wait_until(lambda: desk.rig.get(path)["status"] == "running", "rig's job to run at desk")
    desk.rig.stop()
    desk.typist.ok(f"fleet adopt {asked}")
    desk.typist.ok(f"fleet cancel {asked}")
    wait_until(lambda: desk.desk.get(path)["status"] == "cancelled", "the job to be cancelled")


def test_every_command_of_the_pages_runs_in_its_order(desk: Desk) -> None:
    for page in (LAN, BUDGETS):
        for command in typed(page):
            desk.type(command)
    adopts(desk)
    peers = {row["name"]: row for row in desk.desk.get("/v1/peers")["peers"]}
    assert peers["rig"]["role"] == "admin"
    assert "box" not in peers or peers["box"]["role"] == ""
    assert desk.desk.get("/v1/budgets")["budgets"]
