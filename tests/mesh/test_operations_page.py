"""docs/how-to/operations.md as somebody types it: each of its commands, in its order, under a real
systemd of this user."""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from mesh.edge.home.daemon_log import KEPT, MAX_BYTES
from mesh.edge.starting.progress import Starting
from mesh.edge.store.care.lift import LIFTS
from providers.service.manager import RESTART_S
from tests.mesh.conftest import ROOT
from tests.mesh.test_service import NEEDS_ROOT, SETTINGS, Box
from tests.support.pages import typed as lines_to_type
from tests.support.waiting import wait_until

PAGE = (ROOT / "docs" / "how-to" / "operations.md").read_text()
ELSEWHERE = "on the new machine"


def typed() -> list[tuple[str, str]]:
    """(command, comment) of each line of the fenced blocks."""
    return [(one.text, one.said) for one in lines_to_type("docs/how-to/operations.md")]


def test_the_page_has_the_commands_that_there_are() -> None:
    words = [re.sub(r"^FLEET_HOME=\w+ ", "", line).split() for line, _ in typed()]
    assert {word for program, word, *_ in words if program == "fleet"} == {
        *("service", "logs", "doctor", "verify", "backup", "restore", "up", "down", "completion"),
        "status",
    }
    assert {program for program, *_ in words} == {"fleet", "pipx"}


def test_what_the_page_says_of_a_start_is_what_a_daemon_says() -> None:
    starting = Starting()
    starting.step(LIFTS)(40_000, 100_000)
    assert f"*{starting.text()}*" in " ".join(PAGE.split())


def test_the_numbers_of_the_page_are_the_programs() -> None:
    assert f"{RESTART_S} s after any failure" in PAGE
    assert f"turns at {MAX_BYTES >> 20} MiB and {('no', 'one', 'two', 'three')[KEPT]} older" in PAGE


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
def test_every_command_of_the_page_runs_in_its_order(box: Box, tmp_path: Path) -> None:
    folder = tmp_path / "desk"
    folder.mkdir()
    (tmp_path / "fleet").write_text(f'#!/bin/sh\nexec {sys.executable} -m mesh "$@"\n')
    (tmp_path / "fleet").chmod(0o755)
    # A stand-in: which installer it is, and what it downloads, is not ours.
    (tmp_path / "pipx").write_text('#!/bin/sh\necho "$@" >> "$(dirname "$0")/pipx.txt"\n')
    (tmp_path / "pipx").chmod(0o755)
    box.env["PATH"] = f"{tmp_path}:{box.env['PATH']}"
    old, new = box.home, tmp_path / "new home"
    for line, said in typed():
        box.home = new if ELSEWHERE in said else old
        done = box.inside("sh", "-c", f"set -e; cd '{folder}'; {line}")
        assert done.code == 0, f"{line}: {done.out}\n{done.err}"
        assert "Traceback" not in done.err
        if line == "fleet service install --now":
            wait_until(box.is_up, "the daemon as a service")
    assert (folder / "restored" / "ledger.db").is_file()
    assert (folder / "back" / "ledger.db").is_file()
    installs = (tmp_path / "pipx.txt").read_text().splitlines()
    assert installs == ["upgrade fleet-ledger", "install --force fleet-ledger==0.1.0"]
    assert (new / "fleet.toml").read_text() == SETTINGS
    assert (old / "identity.key").read_bytes() == (new / "identity.key").read_bytes()
    assert (folder / "fleet.tar.gz").read_bytes()[:2] == b"\x1f\x8b"
    assert (old / "identity.key").read_bytes() not in (folder / "shared.tar").read_bytes()
