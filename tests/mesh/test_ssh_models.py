"""Models and files on a host that has nothing but sshd and an engine: real llama.cpp."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.mesh.conftest import Machine, Maker, up_all
from tests.support.sshd import Sshd
from tests.support.tiny_gguf import write_tiny_gguf

SHORT = ("--context", 256, "--tokens", 8)


@pytest.fixture
def sshd(tmp_path: Path) -> Iterator[Sshd]:
    server = Sshd(tmp_path / "sshd")
    server.start()
    yield server
    server.stop()


def with_engine(sshd: Sshd, name: str) -> Any:
    """An account with llama.cpp's wheel in an environment of its own, as people have them."""
    host = sshd.account(name)
    (sshd.home(name) / "venv").symlink_to(sys.prefix)
    return msgspec.to_builtins(host)


def adopted(machines: Maker, sshd: Sshd) -> Machine:
    (ana,) = up_all(machines, "ana")
    row = ana.post("/v1/ssh", **with_engine(sshd, "rig"))
    assert row["status"] == "ready", row
    return ana


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "here" / "it's $(touch pwned) `id`.gguf"
    path.parent.mkdir()
    return write_tiny_gguf(path)


def test_a_model_answers_on_a_host_of_ssh_as_it_does_here(
    machines: Maker, sshd: Sshd, model: Path, tmp_path: Path
) -> None:
    ana = adopted(machines, sshd)
    asked = tmp_path / "asked.jsonl"
    rows = [{"id": i, "prompt": f"say {i}; $(touch pwned)", "temperature": 0} for i in range(3)]
    asked.write_text("".join(json.dumps(row) + "\n" for row in rows))
    there = ana.run("run", model, *SHORT, "--input", asked, "--on", "rig")
    assert there.code == 0, there.err
    here = ana.run("run", model, *SHORT, "--input", asked)
    assert here.code == 0, here.err
    assert sorted(there.out.splitlines()) == sorted(here.out.splitlines())
    assert len(there.out.splitlines()) == 3


SCRIPT = (
    "cat 'in/a b'; ./run.sh; printf \"$GREETING\" > out.txt; printf '\\0\\1' > 'in/new `x`.bin'; "
    "ln -s /etc/passwd link; mkdir sub; ln -s / sub/root; tr '\\0' '\\n' </proc/self/environ >env"
)


def test_a_commands_files_go_to_a_host_and_what_it_left_comes_back(
    machines: Maker, sshd: Sshd, tmp_path: Path
) -> None:
    ana = adopted(machines, sshd)
    source = tmp_path / "source"
    (source / "in").mkdir(parents=True)
    (source / "in" / "a b").write_text("given\n")
    (source / "$(touch pwned);'\n.txt").write_text("nasty\n")
    (source / "run.sh").write_text("#!/bin/sh\necho ran\n")
    (source / "run.sh").chmod(0o755)
    env_file = tmp_path / "env"
    env_file.write_text('GREETING="$(touch pwned) s3cret"\n')
    words = ("run", "--on", "rig", "--workdir", source, "--env-file", env_file, "--")
    done = ana.run(*words, "sh", "-c", SCRIPT)
    assert done.code == 0, done.err
    assert done.out == "given\nran\n"
    job_id = json.loads(ana.ok("ps", "-a", "-o", "json"))[0]["job_id"]
    assert ana.ok("job", job_id, "--get", "out.txt") == "$(touch pwned) s3cret"
    assert ana.ok("job", job_id, "--get", "$(touch pwned);'\n.txt") == "nasty\n"
    assert ana.ok("job", job_id, "--get", "in/new `x`.bin") == "\0\1"
    for path in ("link", "sub/root/etc/passwd", "../cmd", "/etc/passwd", "nothing"):
        done = ana.run("job", job_id, "--get", path)
        assert done.code != 0, path
        assert "root:" not in done.out
    assert [*sshd.folder.rglob("pwned")] == []
    (kept,) = (sshd.home("rig") / ".local/state/fleet-ledger").glob("*/files")
    before = {path.name: path.stat().st_ctime_ns for path in kept.iterdir()}
    assert len(before) == 3
    assert ana.run(*words, "true").code == 0
    assert {path.name for path in kept.iterdir()} == set(before)
