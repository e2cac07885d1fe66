"""Drained and reserved devices, through restarts and between daemons."""

import signal
from pathlib import Path

import pytest

from mesh.api.errors import RequestError
from mesh.config import Config
from mesh.edge.store.ledger import Ledger
from mesh.node import Node
from tests.edge.test_effects import card
from tests.mesh.conftest import Machine
from tests.support.waiting import wait_until

HOUR = 3_600_000


def node_at(home: Path) -> Node:
    return Node(home, Config(name="ana", listen="none"), Ledger.open(home), alone=True)


async def test_a_restart_forgets_neither_a_drain_nor_a_reservation(tmp_path: Path) -> None:
    node = node_at(tmp_path)
    await node.emit("device_registered", "gpu0", card("rig", 24))
    await node.upkeep.ask("drain", "rig", {"reason_code": "hardware"})
    await node.upkeep.ask("reserve", "rig", {"for_ms": HOUR})
    node.close()
    again = node_at(tmp_path)
    try:
        assert again.state.drained("gpu0") == "hardware"
        (held,) = again.state.reserved("gpu0", again.now())
        assert held.until_ms - held.from_ms == HOUR
        await again.upkeep.ask("resume", "rig", {})
        assert again.state.drained("gpu0") == ""
    finally:
        again.close()


def state_of(machine: Machine, peer: str) -> str:
    """What `machine` shows of the device of `peer`."""
    rows = machine.get("/v1/devices")["devices"]
    return next((row["state"] for row in rows if row["peer"] == peer), "")


def test_an_admin_drains_from_afar_and_nobody_else_does(
    three: tuple[Machine, Machine, Machine],
) -> None:
    ana, ben, cid = three
    for one in three:
        wait_until(lambda one=one: state_of(one, "ben") == "idle", f"ben's device at {one.name}")
    device = next(r["device_id"] for r in ana.get("/v1/devices")["devices"] if r["peer"] == "ben")
    assert "takes no new jobs (upgrade)" in ana.ok("drain", device, "--reason", "upgrade")
    for one in three:
        wait_until(lambda one=one: state_of(one, "ben") == "drained", f"the drain at {one.name}")
    with pytest.raises(RequestError, match="only its own user or an admin"):
        cid.post(f"/v1/devices/{device}/resume")
    ben.stop(signal.SIGKILL)
    ben.up()
    wait_until(lambda: state_of(ben, "ben") == "drained", "the drain after a crash")
    assert "takes jobs again" in ben.ok("resume", device)
    wait_until(lambda: state_of(ana, "ben") == "idle", "the resumption at ana")
