"""Jobs on other peers' devices, between real daemons on loopback."""

import json
from pathlib import Path
from typing import Any

import msgspec

from tests.mesh.conftest import Machine, Maker, up_all
from tests.support.sshd import Sshd
from tests.support.tiny_gguf import write_tiny_gguf
from tests.support.waiting import wait_until


def pair(machines: Maker) -> tuple[Machine, Machine]:
    ana, ben = up_all(machines, "ana ben")
    ben.join(ana)
    wait_until(ana.sees("ben", "online"), "ana linked with ben")
    wait_until(
        lambda: "ben" in {one["name"] for one in ana.get("/v1/devices")["devices"]}, "ben's device"
    )
    return ana, ben


def job(machine: Machine, job_id: str) -> dict[str, Any]:
    found = machine.get(f"/v1/jobs/{job_id}")
    assert isinstance(found, dict)
    return found


def test_a_command_runs_on_another_peer_and_its_output_comes_home(machines: Maker) -> None:
    ana, ben = pair(machines)
    done = ana.run(
        "run", "--on", "ben", "-o", "json", "--", "sh", "-c", "echo from $FLEET_JOB_ID; pwd"
    )
    assert done.code == 0, done.err
    said = json.loads(done.out)
    assert said["status"] == "succeeded"
    assert f"from {said['job_id']}" in said["output"]
    assert said["device_id"].startswith("dev-")
    wait_until(lambda: job(ben, said["job_id"])["status"] == "succeeded", "ben knows")
    events = [e["event_type"] for e in json.loads(ben.ok("events", "-o", "json"))]
    assert "job_accepted" in events


def test_a_running_job_is_cancelled_from_its_home(machines: Maker) -> None:
    ana, ben = pair(machines)
    job_id = ana.post("/v1/jobs", command=["sleep", "600"], on="ben")["job_id"]
    wait_until(lambda: job(ana, job_id)["status"] == "running", "it runs on ben")
    ana.post(f"/v1/jobs/{job_id}/cancel")
    wait_until(lambda: job(ana, job_id)["status"] == "cancelled", "it is cancelled")


def test_a_model_job_runs_on_another_peer_which_fetches_the_model_first(
    machines: Maker, tmp_path: Path
) -> None:
    ana, ben = pair(machines)
    model = tmp_path / "only-at-ana" / "tiny.gguf"
    model.parent.mkdir()
    write_tiny_gguf(model)
    done = ana.run("run", model, "--on", "ben", "--prompt", "hello", "--tokens", "8", "-o", "json")
    assert done.code == 0, done.err
    said = json.loads(done.out)
    assert said["status"] == "succeeded"
    assert said["tokens_generated"] == 8
    assert said["answer"]
    assert "ben" in ana.ok("models", "--where", "tiny.gguf")


def test_a_command_runs_on_a_host_that_has_only_ssh(machines: Maker, tmp_path: Path) -> None:
    sshd = Sshd(tmp_path / "sshd")
    sshd.start()
    try:
        (ana,) = up_all(machines, "ana")
        ana.post("/v1/ssh", **msgspec.to_builtins(sshd.account("rig")))
        names = {one["name"] for one in ana.get("/v1/devices")["devices"]}
        (device,) = [name for name in names if name.startswith("rig")]
        command = ("sh", "-c", "echo from $FLEET_JOB_ID; echo $HOME")
        done = ana.run("run", "--on", device, "-o", "json", "--", *command)
        assert done.code == 0, done.err
        said = json.loads(done.out)
        assert f"from {said['job_id']}" in said["output"]
        assert str(sshd.home("rig")) in said["output"]
        job_id = ana.post("/v1/jobs", command=["sleep", "600"], on=device)["job_id"]
        wait_until(lambda: job(ana, job_id)["status"] == "running", "it runs on the host")
        ana.post(f"/v1/jobs/{job_id}/cancel")
        wait_until(lambda: job(ana, job_id)["status"] == "cancelled", "it is cancelled")
    finally:
        sshd.stop()


def test_two_peers_that_reach_one_host_never_run_there_at_once(
    machines: Maker, tmp_path: Path
) -> None:
    """The host's own lock decides: whoever comes second waits, says so, and fails nothing."""
    sshd = Sshd(tmp_path / "sshd")
    sshd.start()
    try:
        ana, ben = pair(machines)
        jobs = {}
        for one in (ana, ben):
            one.post("/v1/ssh", **msgspec.to_builtins(sshd.account(f"rig-{one.name}")))
        log = tmp_path / "log"
        script = f"echo in >> {log}; sleep 1; echo out >> {log}"
        for one in (ana, ben):
            device = next(
                row["name"]
                for row in one.get("/v1/devices")["devices"]
                if row["name"].startswith(f"rig-{one.name}")
            )
            jobs[one] = one.post("/v1/jobs", command=["sh", "-c", script], on=device)["job_id"]
        late = wait_until(
            lambda: next((o for o in jobs if job(o, jobs[o])["waiting_code"] == "Busy"), None),
            "the second to wait",
        )
        assert "taken" in job(late, jobs[late])["waiting"]
        for one, job_id in jobs.items():
            wait_until(lambda one=one, j=job_id: job(one, j)["status"] == "succeeded", "its end")
            assert len(job(one, job_id)["devices"]) == 1
        assert log.read_text().split() == ["in", "out"] * 2
    finally:
        sshd.stop()
