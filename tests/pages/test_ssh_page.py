"""docs/how-to/ssh.md as somebody types it, with a real sshd and real llama.cpp on the host."""

import getpass
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.mesh.conftest import Machine, Maker, up_all
from tests.mesh.conftest import machines as machines
from tests.support.pages import typed
from tests.support.sshd import Sshd
from tests.support.tiny_gguf import write_tiny_gguf
from tests.support.typist import Typist

PAGE = "docs/how-to/ssh.md"
CONFIG = """Host rig
  HostName {address}
  Port {port}
  IdentityFile {key}
  UserKnownHostsFile {folder}/known_hosts
"""


@pytest.fixture
def sshd(tmp_path: Path) -> Iterator[Sshd]:
    server = Sshd(tmp_path / "sshd")
    server.start()
    server.account("rig")
    (server.home("rig") / "venv").symlink_to(sys.prefix)
    yield server
    server.stop()


@pytest.fixture
def desk(machines: Maker, sshd: Sshd, tmp_path: Path) -> Iterator[tuple[Machine, Typist]]:
    """A peer whose `ssh` has an entry for rig: ssh reads a home folder that no variable names, so
    the `ssh` here is one that is told its config."""
    (one,) = up_all(machines, "desk")
    typist = Typist(tmp_path / "work", one.env)
    key = sshd.folder / "key-rig"
    config = tmp_path / "config"
    config.write_text(CONFIG.format(address=sshd.address, port=sshd.port, key=key, folder=tmp_path))
    program = typist.folder / ".tools" / "ssh"
    program.write_text(f'#!/bin/sh\nexec {shutil.which("ssh")} -F {config} "$@"\n')
    program.chmod(0o755)
    write_tiny_gguf(typist.folder / "model.gguf")
    yield one, typist
    typist.close()


def test_every_command_of_the_page_runs_in_its_order(
    desk: tuple[Machine, Typist], sshd: Sshd
) -> None:
    one, typist = desk
    for command in typed(PAGE):
        line = command.text.replace("me@rig", f"{getpass.getuser()}@rig")
        done = typist.ok(f"{line} --tokens 8" if "--prompt" in line else line)
        if line.startswith("fleet ssh add"):
            assert "shows a key nobody here knows" in done.err
            assert "llama.cpp" in done.out
    assert one.get("/v1/ssh")["hosts"] == []
    assert [*sshd.home("rig").glob(".local/state/fleet-ledger/*/models/*/*.gguf")]
