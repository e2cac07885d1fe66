"""The script a machine runs first does what it says, and the same when it runs again."""

import os
import subprocess
from pathlib import Path

import pytest

from providers.rental.boot import CONTACT_FILE, PID_FILE, script
from tests.providers.lambdalabs.replies import KEY, order

SSHD_CONFIG = """\
Include /etc/ssh/sshd_config.d/*.conf
HostKey /etc/ssh/ssh_host_rsa_key
PasswordAuthentication yes
KbdInteractiveAuthentication yes
UsePAM yes
"""


class Machine:
    """Folders in place of a system's, and programs that write down what they are told."""

    def __init__(self, root: Path, *, systemd: bool) -> None:
        self.root, self.log = root, root / "log"
        for folder in ("etc/ssh", "home/ubuntu", "root", "bin", "run", "tmp"):
            (root / folder).mkdir(parents=True)
        if systemd:
            (root / "run/systemd/system").mkdir(parents=True)
        self.config.write_text(SSHD_CONFIG)
        for name in ("chown", "systemctl", "pkill", "apt-get", "sleep"):
            self._program(name, f'echo {name} "$@" >> {self.log}')
        # Ours: it goes to the background and writes its number where it is told.
        pid_file = f"{root}{PID_FILE}"
        self._program("sshd", f'echo sshd "$@" >> {self.log}; echo $PPID > {pid_file}')
        self._program("getent", f"echo ubuntu:x:1000:1000::{root}/home/ubuntu:/bin/bash")

    @property
    def config(self) -> Path:
        return self.root / "etc/ssh/sshd_config"

    def _program(self, name: str, line: str) -> None:
        path = self.root / "bin" / name
        path.write_text(f"#!/bin/sh\n{line}\n")
        path.chmod(0o755)

    def runs(self, text: str) -> None:
        for folder in ("/etc/ssh", "/root", "/run/"):
            text = text.replace(folder, f"{self.root}{folder}")
        text = text.replace(CONTACT_FILE, f"{self.root}{CONTACT_FILE}")
        env = {"PATH": f"{self.root}/bin{os.pathsep}{os.environ['PATH']}"}
        done = subprocess.run(["sh"], input=text, text=True, env=env, capture_output=True)
        assert (done.returncode, done.stderr) == (0, "")

    def told(self) -> list[str]:
        return self.log.read_text().splitlines()


@pytest.mark.parametrize("times", [1, 2])
def test_on_a_virtual_machine_sshd_is_told_our_key_and_comes_back_with_it(
    tmp_path: Path, times: int
) -> None:
    machine = Machine(tmp_path, systemd=True)
    for _ in range(times):
        machine.runs(script(order(), None, user="ubuntu"))
    ssh = tmp_path / "home/ubuntu/.ssh"
    assert (ssh / "authorized_keys").read_text() == KEY + "\n"
    assert (ssh / "authorized_keys").stat().st_mode & 0o777 == 0o600
    host_key = tmp_path / "etc/ssh/fleet_host_key"
    assert host_key.read_text() == order().host_private_key
    assert host_key.stat().st_mode & 0o077 == 0
    assert machine.config.read_text().splitlines() == [
        f"HostKey {host_key}",
        "PasswordAuthentication no",
        "KbdInteractiveAuthentication no",
        "Include /etc/ssh/sshd_config.d/*.conf",
        "UsePAM yes",
    ]
    contact = f"chown ubuntu: {tmp_path}{CONTACT_FILE}"
    once = [f"chown -R ubuntu: {ssh}", contact, "systemctl restart ssh"]
    assert machine.told() == once * times
    assert int((tmp_path / CONTACT_FILE[1:]).read_text()) > 0


def test_in_a_container_our_sshd_takes_the_place_of_the_one_that_is_there(tmp_path: Path) -> None:
    machine = Machine(tmp_path, systemd=False)
    machine.runs(script(order(), None))
    assert (tmp_path / "root/.ssh/authorized_keys").read_text() == KEY + "\n"
    assert machine.config.read_text() == SSHD_CONFIG
    killed, slept, started = machine.told()
    assert (killed, slept) == ("pkill -x sshd", "sleep 1")
    assert started.startswith(f"sshd -p 22 -h {tmp_path}/etc/ssh/fleet_host_key -o HostKey=")
