"""What people type for a job stays in a file of its home, and goes when they say so."""

import json
from collections.abc import Iterator
from contextlib import closing
from http.client import HTTPSConnection
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from mesh.edge.identity import load_or_create
from mesh.edge.jobs.private import REQUEST_FILE
from mesh.edge.transport.link import Contexts, own_anchor
from tests.end_to_end.conftest import Fleet
from tests.end_to_end.test_jobs import waiting_script
from tests.mesh.conftest import Machine
from tests.support.waiting import wait_until

SECRET = "sk-12345"
PROMPT = "my doctor says that"


def holding(home: Path, text: str) -> set[str]:
    """The files under a home that hold the text, databases and their logs included."""
    found = (path for path in home.rglob("*") if path.is_file())
    return {str(path.relative_to(home)) for path in found if text.encode() in path.read_bytes()}


def asked_over_tls(who: Machine, whom: Machine, path: str) -> SimpleNamespace:
    """What one member's daemon answers another's key on its mesh port."""
    host, _, port = json.loads((whom.home / "daemon.json").read_text())["peers"].rpartition(":")
    anchor = own_anchor(load_or_create(whom.home))
    context = Contexts(load_or_create(who.home), who.home).client([anchor])
    with closing(HTTPSConnection(host, int(port), context=context, timeout=30)) as connection:
        connection.request("GET", path)
        answer = connection.getresponse()
        return SimpleNamespace(status=answer.status, body=answer.read())


@pytest.fixture
def two(tmp_path: Path) -> Iterator[tuple[Machine, Machine]]:
    """Ana and ben, who share a ledger; both are stopped by pid."""
    made = [Machine(tmp_path / name, name) for name in ("ana", "ben")]
    for one in made:
        one.start()
    ana, ben = (one.up() for one in made)
    ben.join(ana, "admin")
    yield ana, ben
    for one in made:
        one.stop()


def test_a_secret_in_a_command_is_in_its_homes_file_alone_and_after_forget_nowhere(
    two: tuple[Machine, Machine], tmp_path: Path
) -> None:
    ana, ben = two
    done = ana.run("run", "--", "env", f"API_KEY={SECRET}", "true")
    assert done.code == 0, done.err
    (row,) = json.loads(ana.ok("ps", "-a", "-o", "json"))
    job_id = row["job_id"]
    wait_until(
        lambda: any(job["status"] == "succeeded" for job in ben.get("/v1/jobs")["jobs"]),
        "the job's end at ben",
    )
    attempt = f"jobs/{job_id}/1"
    assert holding(ana.home, SECRET) == {f"jobs/{job_id}/request.json", f"{attempt}/launch.json"}
    assert holding(ben.home, SECRET) == set()
    for one in two:
        assert SECRET not in one.ok("events", "-o", "json")
        one.ok("export", tmp_path / "ledger.jsonl")
        assert SECRET not in (tmp_path / "ledger.jsonl").read_text()
    assert f"env API_KEY={SECRET} true" in ana.ok("job", job_id)
    assert f"env API_KEY={SECRET} true" in ana.ok("ps", "-a")
    shown = ben.ok("job", job_id)
    assert shown.startswith(f"{job_id}  succeeded  env\n")
    assert "request      not on this machine" in shown
    assert ben.get(f"/v1/jobs/{job_id}")["request"] is None
    for path, status in (("", 200), ("/logs", 404), ("/answer", 404)):
        said = asked_over_tls(ben, ana, f"/v1/jobs/{job_id}{path}")
        assert (said.status, SECRET.encode() in said.body) == (status, False)

    refused = ben.run("forget", job_id)
    assert (refused.code, "belongs to peer ana" in refused.err) == (3, True)
    said = ana.ok("forget", job_id)
    assert said.startswith(f"forgot {job_id}: log, request, runner's files")
    assert holding(ana.home, SECRET) == set()
    assert not (ana.home / "jobs" / job_id).exists()
    assert "not on this machine" in ana.ok("job", job_id)
    assert ana.ok("forget", job_id) == f"nothing of {job_id} is left on this machine\n"
    assert ana.ok("verify").startswith("ledger verified")


def test_a_prompt_is_in_no_event_no_process_list_and_no_folder_others_can_read(
    fleet: Fleet, tiny_model: Path
) -> None:
    fleet.up()
    asked = ("run", tiny_model, "--context", 4096, "--tokens", 1500, "-d")
    job_id = fleet.run(*asked, said=PROMPT).out.strip()
    folder = fleet.home / "jobs" / job_id

    def engine() -> list[psutil.Process]:
        runner = json.loads((folder / "1" / "runner.json").read_text())
        return [psutil.Process(runner["pid"]), psutil.Process(runner["child_pid"])]

    wait_until(lambda: (folder / "1" / "answer.txt").exists(), "the engine to run")
    lines = [" ".join(one.cmdline()) for one in engine()]
    assert any("engine_child" in line for line in lines)
    for line in lines:
        assert PROMPT not in line
        assert str(tiny_model) not in line
    assert fleet.ended(job_id)["status"] == "succeeded"
    for path in [fleet.home / "jobs", folder, *folder.rglob("*")]:
        assert path.stat().st_mode & 0o077 == 0, path
    events = fleet.ok("events", "-o", "json")
    assert PROMPT not in events
    assert str(tiny_model.parent) not in events
    assert tiny_model.name in events
    assert fleet.job(job_id)["request"] == {"model": str(tiny_model), "prompt": PROMPT}


def test_a_failures_words_are_shown_at_its_home_and_signed_nowhere(
    fleet: Fleet, tiny_model: Path
) -> None:
    fleet.up()
    done = fleet.run("run", "--", "bash", "-c", f"echo token {SECRET} is wrong >&2; exit 7")
    assert done.code == 100
    assert f"exit code 7: token {SECRET} is wrong" in done.err
    job_id = fleet.newest_job()
    assert SECRET in fleet.job(job_id)["text"]
    (failed,) = [e for e in fleet.json("events") if e["event_type"] == "job_failed"]
    assert failed["payload"]["text"] == "exit code 7"
    assert fleet.run("run", "--", f"no-such-program {SECRET}").code == 100
    torn = fleet.home / "torn.gguf"
    torn.write_bytes(tiny_model.read_bytes()[:-4096])
    assert fleet.run("run", torn, "--prompt", PROMPT, "--context", 512).code != 0
    events = fleet.ok("events", "-o", "json")
    for typed in (SECRET, PROMPT, str(fleet.home)):
        assert typed not in events
    assert holding(fleet.home, SECRET) == {
        f"jobs/{folder.name}/{name}"
        for folder in (fleet.home / "jobs").iterdir()
        for name in ("request.json", "1/launch.json", "1/log.txt", "1/result.json")
        if folder.joinpath(name).exists() and SECRET.encode() in folder.joinpath(name).read_bytes()
    }


def test_a_job_whose_request_is_gone_fails_and_says_so(fleet: Fleet) -> None:
    fleet.up()
    go = fleet.home / "go"
    first = fleet.ok("run", "-d", "--", "bash", "-c", waiting_script(go)).strip()
    wait_until(lambda: fleet.job(first)["status"] == "running", "the first job")
    second = fleet.ok("run", "-d", "--", "true").strip()
    (fleet.home / "jobs" / second / REQUEST_FILE).unlink()
    busy = fleet.run("forget", first)
    assert (busy.code, f"fleet cancel {first}, then forget it" in busy.err) == (3, True)
    go.touch()
    job = fleet.ended(second)
    assert (job["status"], job["text"]) == ("failed", "its request is gone from this machine")
    fleet.ended(first)
    fleet.ok("down")
    assert fleet.json("forget", first)["erased"] == ["log", "request", "runner's files"]


def test_all_old_jobs_are_forgotten_at_once_and_no_running_one(fleet: Fleet) -> None:
    fleet.up()
    ended = [fleet.ok("run", "-d", "--", "true").strip() for _ in range(2)]
    for job_id in ended:
        fleet.ended(job_id)
    go = fleet.home / "go"
    running = fleet.ok("run", "-d", "--", "bash", "-c", waiting_script(go)).strip()
    assert fleet.json("forget", "--older", "1d") == []
    found = fleet.json("forget", "--all-ended")
    assert sorted(one["job_id"] for one in found) == sorted(ended)
    assert [path.name for path in (fleet.home / "jobs").iterdir()] == [running]
    assert fleet.run("forget").code == 2
    go.touch()
    fleet.ended(running)


def test_a_body_that_no_event_names_is_gone_after_the_next_start(fleet: Fleet) -> None:
    """What a crash leaves between the file and the event."""
    fleet.up()
    job_id = fleet.ok("run", "-d", "--", "true").strip()
    fleet.ended(job_id)
    fleet.kill()
    orphan = fleet.home / "jobs" / "j-orphan"
    orphan.mkdir()
    for name in (REQUEST_FILE, f".{REQUEST_FILE}.0011"):
        (orphan / name).write_text(json.dumps({"body": {"prompt": PROMPT}, "salt": "00" * 16}))
    fleet.up()
    wait_until(lambda: not orphan.exists(), "the orphan's end")
    assert (fleet.home / "jobs" / job_id / REQUEST_FILE).exists()


def test_a_named_value_reaches_the_command_and_neither_its_words_nor_the_ledger(
    fleet: Fleet,
) -> None:
    fleet.up()
    words = ("run", "-e", "API_KEY", "-e", "MODE=fast", "--label", "nightly", "--", "bash", "-c")
    done = fleet.run(*words, 'echo "$API_KEY $MODE"', API_KEY=SECRET)
    assert done.out == f"{SECRET} fast\n"
    job_id = fleet.newest_job()
    assert fleet.job(job_id)["label"] == "nightly"
    assert fleet.ok("ps", "-a").splitlines()[1].split()[2] == "nightly"
    shown = fleet.ok("job", job_id)
    assert "API_KEY MODE" in shown
    assert SECRET not in shown
    assert SECRET not in fleet.ok("events", "-o", "json")
