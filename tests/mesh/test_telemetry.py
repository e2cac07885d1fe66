"""Real daemons and `fleet top`: all devices live, a frozen peer silent, a viewer may look."""

import json
import signal
import time
from typing import Any

import psutil

from tests.mesh.conftest import Machine, Maker, up_all
from tests.support.waiting import wait_until


def picture(machine: Machine) -> dict[str, Any]:
    found = machine.get("/v1/telemetry?peer=all&once=1")
    return {peer["name"]: peer for peer in found["peers"]}


def test_every_peer_shows_the_whole_fleet_and_one_that_is_frozen_delays_nobody(
    machines: Maker,
) -> None:
    ana, ben = up_all(machines, "ana ben")
    ben.join(ana, "viewer")
    for one in (ana, ben):
        wait_until(
            lambda one=one: [row["state"] for row in picture(one).values()] == ["live"] * 2,
            f"both live at {one.name}",
        )
    said = json.loads(ana.ok("top", "-o", "json"))
    (mine,) = [peer for peer in said["peers"] if peer["you"]]
    assert mine["devices"][0]["health"] == "ok"
    assert 0 < mine["devices"][0]["free_bytes"] < mine["devices"][0]["memory_bytes"]
    assert "2 peers (2 live)" in ben.ok("top", "--once")
    frozen = psutil.Process(json.loads((ben.home / "daemon.json").read_text())["pid"])
    frozen.send_signal(signal.SIGSTOP)
    try:
        wait_until(lambda: picture(ana)["ben"]["state"] == "silent", "the silence")
        begun = time.monotonic()
        assert picture(ana)["ana"]["state"] == "live"
        assert time.monotonic() - begun < 10  # one second, on a machine that is not shared
    finally:
        frozen.send_signal(signal.SIGCONT)
    wait_until(lambda: picture(ana)["ben"]["state"] == "live", "its return")
