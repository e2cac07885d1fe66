"""`fleet service` under a real systemd of this user, in a /run of its own; and where there is none.

The manager is started for the test, in a mount namespace: no unit of this machine is touched.
"""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from mesh.cli.client import find_daemon
from tests.mesh.conftest import ROOT
from tests.support.waiting import wait_until

SYSTEMD = Path("/lib/systemd/systemd")
# systemd refuses to run for a user where it did not boot the system, as its own /run tells it.
BOOT = (
    "mount -t tmpfs tmpfs /run && mkdir -p /run/systemd/system /run/user/0"
    " && chmod 700 /run/user/0 && exec /lib/systemd/systemd --user"
)
SETTINGS = """
name = "ana"
listen = "127.0.0.1"
discovery = []
mesh_port = 0
pairing_port = 0
gateway_port = 0
"""
NEEDS_ROOT = pytest.mark.skipif(
    os.geteuid() != 0 or not SYSTEMD.exists() or shutil.which("nsenter") is None,
    reason="needs root, systemd and mount namespaces",
)


class Box:
    """A user's system with systemd: commands are run in it."""

    def __init__(self, folder: Path) -> None:
        self.home = folder / "fleet home"
        self.home.mkdir(mode=0o700)
        (self.home / "fleet.toml").write_text(SETTINGS)
        kept = {key: value for key, value in os.environ.items() if not key.startswith("FLEET_")}
        self.env = kept | {
            "XDG_RUNTIME_DIR": "/run/user/0",
            "XDG_CONFIG_HOME": str(folder / "config"),
            "PYTHONPATH": str(ROOT),
            "PYTHONSAFEPATH": "1",
        }
        words = ["unshare", "-m", "--propagation", "private", "sh", "-c", BOOT]
        self.manager = subprocess.Popen(
            words, env=self.env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        self.unit = folder / "config" / "systemd" / "user" / "fleet-ledger.service"

    def inside(self, *words: str) -> SimpleNamespace:
        done = subprocess.run(
            ["nsenter", "-t", str(self.manager.pid), "-m", *words],
            env=self.env | {"FLEET_HOME": str(self.home)},
            capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        return SimpleNamespace(code=done.returncode, out=done.stdout, err=done.stderr)

    def fleet(self, *words: str) -> str:
        done = self.inside(sys.executable, "-m", "mesh", *words)
        assert done.code == 0, f"{words}: {done.out}\n{done.err}"
        return str(done.out)

    def status(self) -> dict[str, object]:
        return dict(json.loads(self.fleet("service", "status", "-o", "json")))

    def job(self) -> dict[str, object]:
        rows = json.loads(self.fleet("ps", "-a", "-o", "json"))
        return dict((rows["jobs"] if isinstance(rows, dict) else rows)[0])

    def is_up(self) -> bool:
        found = find_daemon(self.home)
        return found is not None and found.pid == self.status()["pid"]

    def pid(self) -> int:
        found = find_daemon(self.home)
        assert found is not None
        return found.pid

    def close(self) -> None:
        self.inside("systemctl", "--user", "stop", "fleet-ledger.service")
        left = psutil.Process(self.manager.pid).children(recursive=True)  # its bus, for one
        self.manager.kill()
        self.manager.wait(timeout=60)
        for one in left:
            with contextlib.suppress(psutil.NoSuchProcess):
                one.kill()


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Box]:
    made = Box(tmp_path)
    try:
        answers = ("systemctl", "--user", "show-environment")
        wait_until(lambda: made.inside(*answers).code == 0, "systemd to answer")
        yield made
    finally:
        made.close()


@NEEDS_ROOT
@pytest.mark.slow
def test_a_daemon_lives_as_a_service_through_a_kill_and_ends_when_it_is_asked(box: Box) -> None:
    assert "no service is installed" in box.fleet("service", "status")
    box.env["FLEET_TAILSCALE_API_KEY"] = "tskey-secret"
    said = box.fleet("service", "install", "--now")
    del box.env["FLEET_TAILSCALE_API_KEY"]
    assert "FLEET_TAILSCALE_API_KEY is not told to the service" in " ".join(said.split())
    assert "loginctl enable-linger" in said
    assert "tskey-secret" not in box.unit.read_text()
    wait_until(box.is_up, "the daemon as the service's process")
    assert box.status()["current"] is True
    assert "fleet: ana is up" in box.fleet("logs", "--daemon")
    first = box.pid()
    assert "installed already" in box.fleet("service", "install", "--now")
    assert box.pid() == first, "nothing changed, so nothing was restarted"
    box.fleet("run", "--detach", "--", "sleep", "300")
    wait_until(lambda: box.job()["status"] == "running", "the job to run")
    os.kill(first, signal.SIGKILL)
    wait_until(lambda: box.is_up() and box.pid() != first, "another daemon after a kill")
    assert "restarted 1 times" in box.fleet("service", "status")
    assert box.job()["status"] == "running", "jobs outlive the daemon, whoever ends it"
    box.fleet("cancel", str(box.job()["job_id"]))
    wait_until(lambda: box.job()["status"] == "cancelled", "the job's end")
    second = box.pid()
    box.fleet("down")
    wait_until(lambda: not psutil.pid_exists(second), "the daemon's end")
    assert box.status()["pid"] == 0
    box.fleet("service", "install", "--now")
    wait_until(box.is_up, "the daemon after install --now again")
    box.fleet("service", "uninstall")
    assert not box.unit.exists()
    assert find_daemon(box.home) is None
    assert "no service is installed" in box.fleet("service", "uninstall")


@NEEDS_ROOT
@pytest.mark.slow
def test_settings_that_are_wrong_end_it_for_good_and_the_log_says_why(box: Box) -> None:
    (box.home / "fleet.toml").write_text("colour = 'red'\n")
    box.fleet("service", "install")
    box.inside("systemctl", "--user", "start", "fleet-ledger.service")
    wait_until(lambda: "failed" in str(box.status()["text"]), "the service to give up")
    assert "unknown setting 'colour'" in box.fleet("logs", "--daemon")


@NEEDS_ROOT
@pytest.mark.slow
def test_a_daemon_that_runs_already_is_not_doubled(box: Box) -> None:
    box.fleet("up", "--detach")
    refused = box.inside(sys.executable, "-m", "mesh", "service", "install", "--now")
    assert (refused.code, "runs already as process" in refused.err) == (3, True)
    assert not box.unit.exists()
    box.fleet("down")


def test_where_no_manager_answers_one_line_says_what_to_do_instead(tmp_path: Path) -> None:
    env = {key: os.environ[key] for key in ("PATH", "HOME") if key in os.environ}
    env |= {"FLEET_HOME": str(tmp_path / "home"), "PYTHONPATH": str(ROOT), "PYTHONSAFEPATH": "1"}
    env |= {"XDG_CONFIG_HOME": str(tmp_path / "config"), "XDG_RUNTIME_DIR": str(tmp_path)}
    for words in (["install", "--now"], ["status"]):
        done = subprocess.run(
            [sys.executable, "-m", "mesh", "service", *words],
            env=env, capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        assert (done.returncode, done.stdout) == (3, "")
        assert done.stderr.count("\n") == 1
        assert "systemd does not run for this user" in done.stderr
        assert "fleet up --detach" in done.stderr
    assert not (tmp_path / "config").exists()
    assert not (tmp_path / "home").exists()
