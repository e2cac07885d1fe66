"""A stranger opens connections that say nothing, to every port of a daemon that may open few files:
it lives, and answers its own user."""

import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack

import psutil
import pytest

from tests.mesh.conftest import Machine, make
from tests.support.waiting import wait_until

FILES = 256  # that the daemon may open, and no shell of it more
CROWD = 300
LOOK_S = 6.0  # a source of peers and the daemon's own addresses were looked at by then


@pytest.fixture(scope="module")
def ana(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    maker = make(tmp_path_factory.mktemp("crowd"))
    made = next(maker)("ana")
    made.env |= {"FLEET_GATEWAY_PORT": "0", "FLEET_GATEWAY_LAN_PORT": "0"}
    made.env |= {"FLEET_GATEWAY_LISTEN": "127.0.0.1", "FLEET_DISCOVERY": "mdns"}
    words = [sys.executable, "-m", "mesh", "up", "--detach"]
    subprocess.run(
        ["sh", "-c", f'ulimit -n {FILES}; exec "$@"', "sh", *words],
        env=made.env, check=True, capture_output=True, timeout=120,
    )  # fmt: skip
    yield made
    next(maker, None)


def crowd(stack: ExitStack, port: int) -> int:
    """How many of CROWD connections were made; those that were stay as long as the stack."""
    made = 0
    for _ in range(CROWD):
        one = stack.enter_context(socket.socket())
        one.settimeout(2.0)
        made += one.connect_ex(("127.0.0.1", port)) == 0
    return made


@pytest.mark.parametrize("name", ["lan", "gateway", "url", "peers", "pairing"])
def test_a_crowd_that_says_nothing_ends_no_daemon_and_keeps_its_user_waiting_for_nothing(
    ana: Machine, name: str
) -> None:
    said = json.loads((ana.home / "daemon.json").read_text())
    process = psutil.Process(ana.pid)
    with ExitStack() as stack:
        port = int(str(said[name]).rpartition(":")[2])
        assert crowd(stack, port) > FILES // 2
        wait_until(lambda: process.num_fds() < FILES - 50, "the crowd's leaving")
        until = time.monotonic() + LOOK_S
        while time.monotonic() < until:
            assert ana.get("/v1/status")["daemon"] is True
            time.sleep(0.2)
        ana.note(f"{name}: still here")
        assert ana.has(f"{name}: still here")()
    log = ana.home / "daemon.log"
    assert "Traceback" not in (log.read_text() if log.exists() else "")
