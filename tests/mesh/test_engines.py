"""Files, lines and servers on another peer's device, between real daemons on loopback."""

import json
from pathlib import Path

import pytest

from tests.mesh.conftest import Maker
from tests.mesh.test_dispatch import job, pair
from tests.support.tiny_gguf import write_tiny_gguf
from tests.support.waiting import wait_until

SCRIPT = "cat data.bin | wc -c; printf made > out.txt"


def test_a_folder_goes_to_the_peer_that_runs_it_and_what_it_left_comes_back(
    machines: Maker, tmp_path: Path
) -> None:
    ana, ben = pair(machines)
    source = tmp_path / "source"
    source.mkdir()
    (source / "data.bin").write_bytes(bytes(2_500_000))
    words = ("run", "--on", "ben", "--workdir", source, "-o", "json")
    done = ana.run(*words, "--", "sh", "-c", SCRIPT)
    assert done.code == 0, done.err
    said = json.loads(done.out)
    assert said["output"].strip() == "2500000"
    assert not (ana.home / "jobs" / said["job_id"] / "1" / "work").exists()
    assert (ben.home / "jobs" / said["job_id"] / "1" / "work" / "out.txt").exists()
    listed = ana.ok("job", said["job_id"], "--files")
    assert [line.split() for line in listed.splitlines()[1:]] == [
        ["data.bin", "2.4", "MiB"],
        ["out.txt", "4", "B"],
    ]
    assert ana.ok("job", said["job_id"], "--get", "out.txt") == "made"
    assert ben.run("job", said["job_id"], "--get", "nothing").code != 0


def test_lines_are_answered_and_a_model_served_on_another_peer(
    machines: Maker, tmp_path: Path
) -> None:
    pytest.importorskip("xllamacpp")
    ana, ben = pair(machines)
    model = write_tiny_gguf(tmp_path / "tiny.gguf")
    file = tmp_path / "asked.jsonl"
    file.write_text("".join(json.dumps({"prompt": f"say {i}"}) + "\n" for i in range(5)))
    words = ("--on", "ben", "--context", 256, "--tokens", 4)
    done = ana.run("run", model, *words, "--batch", 2, "--input", file)
    assert done.code == 0, done.err
    assert sorted(json.loads(one)["line"] for one in done.out.splitlines()) == [1, 2, 3, 4, 5]
    found = json.loads(ana.ok("serve", model, "--on", "ben", "--context", 256, "-o", "json"))
    assert found["state"] == "serving"
    for one in (ana, ben):
        wait_until(lambda one=one: "serving" in one.ok("ps"), f"{one.name} knows that it serves")
    ana.ok("cancel", found["job_id"])
    wait_until(lambda: job(ana, found["job_id"])["status"] == "cancelled", "it is cancelled")
