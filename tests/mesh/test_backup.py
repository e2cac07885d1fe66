"""Backups of running daemons, put into other homes: the key goes on, and signs one history."""

import json
import shutil
from pathlib import Path

import pytest

from tests.mesh.conftest import Machine, Maker, up_all
from tests.mesh.test_restore import findable, level, may_sign
from tests.support.waiting import wait_until


def forks(*machines: Machine) -> list[object]:
    return [
        fork for one in machines for fork in json.loads(one.ok("status", "-o", "json"))["forks"]
    ]


@pytest.mark.slow
def test_a_machine_restored_from_an_old_backup_waits_for_a_member_and_does_not_fork(
    machines: Maker, tmp_path: Path
) -> None:
    ana, ben = findable(machines, "ana ben")
    ben.join(ana)
    ana.note("before")
    ana.ok("backup", tmp_path / "ana.tar")
    for text in ("after 1", "after 2"):
        ana.note(text)
    wait_until(ben.has("after 2"), "the notes at ben")
    wait_until(lambda: level(ana, ben), "all of ana's events at ben")
    ana.stop()
    ben.stop()
    shutil.rmtree(ana.home)
    ana.ok("restore", tmp_path / "ana.tar")
    refused = ana.run("note", "without a daemon")
    assert (refused.code, "restored from a backup" in refused.err) == (3, True)
    ana.up()
    assert "it was restored from a backup" in ana.get("/v1/status")["waiting_for"]
    assert "restored from a backup" in " ".join(ana.ok("status").split())
    ben.up()
    wait_until(lambda: may_sign(ana), "ana heard ben")
    ana.note("first words after the restore")
    wait_until(ben.has("first words after the restore"), "them at ben")
    assert ana.has("before", "after 1", "after 2")()
    assert forks(ana, ben) == []
    assert not (ana.home / "restored.json").exists()


@pytest.mark.slow
def test_alone_a_restored_machine_signs_only_once_a_person_says_that_it_is_alone(
    machines: Maker, tmp_path: Path
) -> None:
    (ana,) = up_all(machines, "ana")
    ana.note("before")
    ana.ok("backup", tmp_path / "ana.tar")
    ana.note("after")
    ana.stop()
    shutil.rmtree(ana.home)
    ana.ok("restore", tmp_path / "ana.tar")
    ana.start()
    ana.up()
    assert not may_sign(ana)
    refused = ana.run("note", "too early")
    assert "fleet up --alone" in refused.err
    ana.ok("down")
    ana.up()
    assert not may_sign(ana), "a daemon that signed nothing keeps the note"
    ana.ok("down")
    ana.ok("up", "--detach", "--alone")
    ana.note("alone")
    ana.ok("down")
    ana.up()
    assert may_sign(ana), "said once"
    assert ana.notes() == {"before", "alone"}


def test_a_backup_of_a_daemon_at_work_verifies_and_goes_through_a_pipe(
    machines: Maker, tmp_path: Path
) -> None:
    import subprocess
    import sys

    (ana,) = up_all(machines, "ana")
    ana.note("one")
    with (tmp_path / "piped.tar").open("wb") as out:
        words = [sys.executable, "-m", "mesh", "backup", "-"]
        done = subprocess.run(words, env=ana.env, stdout=out, stderr=subprocess.PIPE, check=True)
    assert b"holds this machine's key" in done.stderr
    full = subprocess.run(
        ["sh", "-c", f"{sys.executable} -m mesh backup - > /dev/full"],
        env=ana.env, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (full.returncode, full.stderr.count("\n")) == (3, 1)
    assert "No space left on device" in full.stderr
    assert not list(ana.home.glob(".backup-*"))
    other = machines("other")
    said = other.ok("restore", tmp_path / "piped.tar")
    assert "one key, one machine" in said
    assert "verified" in other.ok("verify")
    assert other.notes() == {"one"}
    twice = other.run("restore", tmp_path / "piped.tar")
    assert (twice.code, twice.err.count("\n")) == (3, 1)
    running = ana.run("restore", tmp_path / "piped.tar")
    assert (running.code, "has a ledger already" in running.err) == (3, True)
