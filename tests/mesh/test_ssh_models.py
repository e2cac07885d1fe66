"""Models and files on a host that has nothing but sshd and an engine: real llama.cpp."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.mesh.conftest import ROOT, Machine, Maker, up_all
from tests.support.sshd import Sshd
from tests.support.tiny_gguf import write_tiny_gguf
from tests.support.waiting import wait_until

SHORT = ("--context", 256, "--tokens", 8)
SECRET = "the s3cret; $(touch pwned)"


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


def newest(machine: Machine) -> Any:
    job_id = json.loads(machine.ok("ps", "-a", "-o", "json"))[0]["job_id"]
    return machine.get(f"/v1/jobs/{job_id}")


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
    here = ana.run("run", model, *SHORT, "--input", asked, "--on", "ana")
    assert here.code == 0, here.err
    assert sorted(there.out.splitlines()) == sorted(here.out.splitlines())
    assert len(there.out.splitlines()) == 3
    first = kept(sshd)
    said = json.loads(ana.ok("run", model, *SHORT, "--prompt", SECRET, "--on", "rig", "-o", "json"))
    assert said["device_id"].endswith("-rig-cpu")
    assert said["answer"].strip()
    assert (said["status"], said["tokens_generated"], said["exit_code"]) == ("succeeded", 8, 0)
    for figure in ("prompt_tokens", "throughput_mtps", "cost_nusd", "peak_memory_bytes"):
        assert said[figure] > 0, figure
    assert said["engine_memory"]["weights_bytes"] > 1_000_000
    ended = json.loads(ana.ok("events", "-n", 100, "-o", "json"))
    (fact,) = [one["payload"] for one in ended if is_end_of(one, said["job_id"])]
    assert (fact["energy_basis"], fact["energy_mj"] > 0) == ("estimated", True)
    assert kept(sshd) == first  # once sent, found
    (spec,) = sshd.home("rig").rglob(f"{said['job_id']}.1/launch.json")
    assert (SECRET in spec.read_text(), spec.stat().st_mode & 0o077) == (True, 0)
    assert SECRET not in (spec.parent / "cmd").read_text()
    erased = json.loads(ana.ok("forget", said["job_id"], "-o", "json"))
    assert (erased["kept"], erased["hosts"]) == ([], ["rig"])
    ana.post("/v1/ssh/rig/probe")
    assert not spec.parent.exists()
    assert [*sshd.folder.rglob("pwned")] == []


def test_a_server_is_not_started_where_nobody_could_ask_it(
    machines: Maker, sshd: Sshd, model: Path
) -> None:
    ana = adopted(machines, sshd)
    done = ana.run("serve", model, "--context", 256, "--on", "rig")
    assert done.code != 0
    assert "serves on its own loopback alone" in done.err


def is_end_of(event: dict[str, Any], job_id: str) -> bool:
    return event["event_type"] == "job_completed" and event["payload"]["job_id"] == job_id


def kept(sshd: Sshd) -> tuple[int, int]:
    """(inode, time) of the one model that was sent."""
    (path,) = sshd.home("rig").glob(".local/state/fleet-ledger/*/models/*/*.gguf")
    return path.stat().st_ino, path.stat().st_mtime_ns


def test_another_peers_model_goes_from_its_home_to_the_host_of_its_owner(
    machines: Maker, sshd: Sshd, model: Path
) -> None:
    ana, ben = up_all(machines, "ana ben")
    ben.join(ana)
    wait_until(ana.sees("ben", "online"), "ana linked with ben")
    ben.post("/v1/ssh", **with_engine(sshd, "rig"))
    wait_until(
        lambda: "rig" in {one["name"] for one in ana.get("/v1/devices")["devices"]}, "the host"
    )
    done = ana.run("run", model, *SHORT, "--prompt", "hello", "--on", "rig")
    assert done.code == 0, done.err
    assert "8 tokens" in done.err
    assert done.out.strip()
    job = newest(ana)
    assert job["device_id"].endswith("-rig-cpu")
    assert ana.ok("logs", "--answer", job["job_id"]) == done.out
    assert "load_tensors" in ana.ok("logs", job["job_id"])


def test_a_host_whose_python_is_too_old_says_so_in_plan_and_job(
    machines: Maker, sshd: Sshd, model: Path
) -> None:
    (ana,) = up_all(machines, "ana")
    host = sshd.account("rig")
    sshd.tool("rig", "ollama", "exit 1\n")
    sshd.tool("rig", "python3", "echo 3.8 /usr/bin/python3; exit 1\n")
    for newer in range(10, 15):
        sshd.tool("rig", f"python3.{newer}", "exit 127\n")
    ana.post("/v1/ssh", **msgspec.to_builtins(host))
    done = ana.run("run", model, *SHORT, "--prompt", "x", "--on", "rig")
    assert "needs Python 3.10 or later on rig to run an engine: it has 3.8" in done.err
    assert done.code == 104
    asked = ana.run("plan", model, "--context", 256, "--on", "rig")
    assert "needs Python 3.10 or later on rig" in asked.out + asked.err


SCRIPT = (
    "cat 'in/a b'; ./run.sh; printf \"$GREETING\" > out.txt; printf '\\0\\1' > 'in/new `x`.bin'; "
    "ln -s /etc/passwd link; mkdir sub; ln -s / sub/root; "
    "cat /proc/[0-9]*/cmdline >words 2>/dev/null; :"
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
    listed = json.loads(ana.ok("job", job_id, "--files", "-o", "json"))
    assert {"in/a b", "in/new `x`.bin", "out.txt", "run.sh", "words"} <= {
        one["path"] for one in listed["files"]
    }
    assert "link" not in [one["path"] for one in listed["files"]]
    assert ana.ok("job", job_id, "--get", "out.txt") == "$(touch pwned) s3cret"
    assert ana.ok("job", job_id, "--get", "$(touch pwned);'\n.txt") == "nasty\n"
    assert ana.ok("job", job_id, "--get", "in/new `x`.bin") == "\0\1"
    assert "s3cret" not in ana.ok("job", job_id, "--get", "words")
    for path in ("link", "sub/root/etc/passwd", "../cmd", "/etc/passwd", "nothing"):
        done = ana.run("job", job_id, "--get", path)
        assert done.code != 0, path
        assert "root:" not in done.out
    assert [*sshd.folder.rglob("pwned")] == []
    (kept,) = (sshd.home("rig") / ".local/state/fleet-ledger").glob("*/files")
    before = {path.name: path.stat().st_ino for path in kept.iterdir()}
    assert len(before) == 3
    assert ana.run(*words, "true").code == 0
    assert {path.name: path.stat().st_ino for path in kept.iterdir()} == before


def test_an_executable_of_the_host_is_held_by_the_hosts_own_python(
    machines: Maker, sshd: Sshd, model: Path
) -> None:
    (ana,) = up_all(machines, "ana")
    host = sshd.account("rig")
    words = f'exec {sys.executable} -m providers.engine_child.llama_server "$@"\n'
    sshd.tool("rig", "llama-server", f"PYTHONPATH={ROOT} {words}")
    row = ana.post("/v1/ssh", **msgspec.to_builtins(host))
    (engine,) = row["facts"]["engines"]
    assert engine["where"].endswith("/llama-server")
    done = ana.run("run", model, *SHORT, "--prompt", "hi", "--on", "rig")
    assert done.code == 0, done.err
    assert "8 tokens" in done.err
    sshd.tool("rig", "llama-server", "echo '0.00.001 E no such card' >&2; exit 1\n")
    done = ana.run("run", model, *SHORT, "--prompt", "hi", "--on", "rig", "--retries", 0)
    assert done.code == 100, done.err
    shown = ana.run("logs", newest(ana)["job_id"])
    assert "engine: llama.cpp ended before it could answer: no such card" in shown.out
