"""Jobs as their owner sees them: the answer, the log, the row, the reason, and the exit code."""

import json
import re
from pathlib import Path

import psutil
import pytest

from tests.end_to_end.conftest import Fleet
from tests.support.waiting import wait_until

SHORT = ("--context", 512, "--tokens", 8)
SUMMARY = re.compile(
    r"8 tokens, [\d.]+ tok/s \(predicted [\d.]+–[\d.]+\), [\d.]+ m?s, \$[\d.]+"
    r"(, the machine was busy: 1 of \d+ cores idle)? · fleet job (j-\w{10}-\w+)\n"
)


def waiting_script(go: Path) -> str:
    return f"while [ ! -e {go} ]; do read -t 0.05 _ < <(:) || :; done"


def test_a_models_answer_alone_is_printed_and_its_log_and_speed_stand_elsewhere(
    fleet: Fleet, tiny_model: Path
) -> None:
    fleet.up()
    done = fleet.run("run", tiny_model, *SHORT, "--prompt", "hello")
    assert done.code == 0, done.err
    head, *_, line = done.err.splitlines(keepends=True)  # between them: where it is, if that lasts
    assert "on this peer's devices" in head
    found = SUMMARY.fullmatch(line)
    assert found, line
    job_id = found[2]
    assert done.out.strip()
    assert "llama" not in done.out
    assert fleet.ok("logs", "--answer", job_id) == done.out
    log = fleet.ok("logs", job_id)
    assert "load_tensors" in log
    assert done.out.strip() not in log
    assert fleet.json("job", job_id)["prompt_tokens"] > 0


def test_a_prompt_comes_from_a_pipe_and_the_answer_as_json(fleet: Fleet, tiny_model: Path) -> None:
    fleet.up()
    given = ("-o", "json", "run", tiny_model, *SHORT)
    for words in (given, (*given, "--prompt", "-")):
        done = fleet.run(*words, said="the answer is")
        found = json.loads(done.out)
        assert (found["status"], found["tokens_generated"]) == ("succeeded", 8)
        assert found["answer"].strip()
        assert found["throughput_mtps"] > 0
        assert found["cost_nusd"] > 0
    assert fleet.run(*given, said="").code == 2


def test_a_prompt_is_counted_before_the_job_is_and_must_leave_room_for_the_answer(
    fleet: Fleet, tiny_model: Path
) -> None:
    fleet.up()
    letters = "q" * 600  # no piece of the vocabulary but single letters
    done = fleet.run("run", tiny_model, *SHORT, "--prompt", letters)
    assert done.code == 2
    assert "602 tokens (counted with the model's vocabulary) and the answer 8" in done.err
    long = fleet.run("run", tiny_model, *SHORT, said="q" * 40_000)  # longer than an event may be
    assert (long.code, "40002 tokens" in long.err) == (2, True)
    (hint,) = re.findall(r"--context (\d+)", done.err)
    assert fleet.json("ps", "-a") == []
    job_id = fleet.ok(
        "run", tiny_model, "--tokens", 8, "--context", hint, "--prompt", letters, "-d"
    ).strip()
    job = fleet.ended(job_id)
    assert (job["status"], job["prompt_tokens"]) == ("succeeded", 602)
    assert job["plan"]["run"]["prompt"] == 602


ENDINGS = {
    "running": (("bash", "-c", "while :; do read -t 1 _ < <(sleep 1) || :; done"), ""),
    "succeeded": (("bash", "-c", "echo fine"), ""),
    "failed": (("bash", "-c", "exit 7"), "exit code 7"),
    "cancelled": (("sleep", "600"), ""),
}


@pytest.mark.parametrize("ending", ENDINGS)
def test_every_job_is_shown_with_the_daemon_up_and_down(fleet: Fleet, ending: str) -> None:
    fleet.up()
    command, says = ENDINGS[ending]
    job_id = fleet.ok("run", "-d", "--", *command).strip()
    if ending in ("running", "cancelled"):
        wait_until(lambda: fleet.job(job_id)["status"] == "running", "the job to run")
    if ending == "cancelled":
        fleet.ok("cancel", job_id)
    if ending != "running":
        fleet.ended(job_id)
    device = fleet.json("devices")[0]["name"]
    for _ in ("up", "down"):
        shown = fleet.ok("job", job_id)
        assert shown.startswith(f"{job_id}  {ending}  {' '.join(command)[:60]}")
        facts = dict(line.split(None, 1) for line in shown.splitlines()[1:])
        assert facts["device"] == device
        assert facts["submitted"].startswith("20")
        assert "time" in facts
        assert ("cost" in facts) == (ending != "running")
        assert says in facts.get("says", "")
        assert fleet.json("job", job_id)["status"] == ending
        fleet.ok("down")


def test_a_command_that_fails_ends_with_the_jobs_code_and_names_its_own(fleet: Fleet) -> None:
    fleet.up()
    done = fleet.run("run", "--", "bash", "-c", "exit 7")
    assert done.code == 100
    assert "failed: exit code 7" in done.err


def test_a_job_that_fits_nowhere_ends_as_a_plan_that_fits_nowhere(
    fleet: Fleet, tiny_model: Path
) -> None:
    fleet.up()
    question = (tiny_model, "--context", 8192)  # its training ended at 4096
    done = fleet.run("run", *question, "--prompt", "x")
    assert (done.code, fleet.run("plan", *question).code) == (104, 104)
    assert "4096" in done.err


def test_what_waits_says_for_what_and_what_has_ended_is_not_cancelled(fleet: Fleet) -> None:
    fleet.up()
    go = fleet.home / "go"
    first = fleet.ok("run", "-d", "--", "bash", "-c", waiting_script(go)).strip()
    wait_until(lambda: fleet.job(first)["status"] == "running", "the first job")
    second = fleet.ok("run", "-d", "--", "true").strip()
    where = fleet.json("devices")[0]["name"]
    wanted = f"Busy: {first} runs on {where}; no other may run beside"
    wait_until(lambda: fleet.job(second)["waiting"] == wanted, "the second in line")
    assert wanted in fleet.ok("ps")
    assert wanted in fleet.ok("job", second)
    fleet.ok("down")
    assert "waiting for the daemon" in fleet.ok("job", second)
    fleet.up()
    go.touch()
    assert fleet.ended(second)["waiting"] == ""
    done = fleet.run("cancel", first)
    assert done.code == 3
    assert f"job {first} has already ended: succeeded" in done.err
    assert fleet.run("cancel", "j-nosuch").code == 102


def test_a_job_that_never_reached_a_device_is_no_row_of_the_bill(
    fleet: Fleet, tiny_model: Path
) -> None:
    fleet.up()
    assert fleet.run("run", tiny_model, "--context", 8192, "--prompt", "x").code == 104
    report = fleet.json("cost", "--by", "job")
    assert [row["job"] for row in report["groups"] if row["job"] != "(idle)"] == []
    assert (report["jobs"], report["total_cost_nusd"]) == (0, 0)


def test_a_model_that_is_not_there_is_said_before_anything_is_measured(fleet: Fleet) -> None:
    fleet.up()
    events = fleet.json("status")["events"]
    for name, code in (("nosuch.gguf", 102), ("llama-2-7b", 2)):
        done = fleet.run("calibrate", name)
        assert (done.code, done.out) == (code, "")
        assert name in done.err
    assert fleet.json("status")["events"] == events


def test_a_bench_runs_the_lengths_a_plan_assumes(fleet: Fleet, tiny_model: Path) -> None:
    fleet.up()
    query = fleet.json("plan", tiny_model)["query"]
    (job,) = fleet.json("bench", tiny_model, "--repeat", 1)
    assert (job["prompt_tokens"], job["tokens_generated"]) == (
        query["prompt_tokens"],
        query["tokens"],
    )
    shown = fleet.run("bench", tiny_model, "--repeat", 1, "--tokens", 8, "--prompt-tokens", 16)
    assert "DECODE TOK/S" in shown.out


def test_up_says_every_address_it_listens_on(fleet: Fleet) -> None:
    said = fleet.ok("up", "--detach")
    ports = {int(port) for port in re.findall(r":(\d+)", said)}
    open_ports = {
        one.laddr.port
        for one in psutil.Process(fleet.pid).net_connections("tcp")
        if one.status == psutil.CONN_LISTEN
    }
    assert ports == open_ports
    assert len(ports) == 4


@pytest.mark.parametrize("what", ["command", "model", "dispatch"])
def test_a_described_device_is_refused_at_once(fleet: Fleet, tiny_model: Path, what: str) -> None:
    fleet.up()
    fleet.ok("devices", "add", "rig", "--gpu", "RTX 4090")
    own = fleet.json("status")["devices"]
    name = next(row["name"] for row in own if row["state"] != "described")
    jobs = {
        "command": ("run", "--on", "rig", "--", "true"),
        "model": ("run", tiny_model, "--on", "rig", "--prompt", "x"),
    }
    if what == "dispatch":
        (rig,) = [row["device_id"] for row in own if row["name"] == "rig"]
        text = fleet.dispatch({"job_id": "d1", "device_id": rig, "model": str(tiny_model)})
    else:
        done = fleet.run(*jobs[what])
        assert done.code == 2
        assert name in done.err.partition("try:")[2]
        text = done.err
    assert "rig is described by hand" in text
    assert fleet.json("ps", "-a") == []
