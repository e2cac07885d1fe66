"""One machine end to end, as its user sees it: plan, run, crash, adopt, bill, verify."""

import json
import sqlite3
from pathlib import Path

import pytest

from tests.end_to_end.conftest import Fleet
from tests.support.waiting import wait_until


def test_a_model_runs_on_real_llamacpp_and_its_memory_is_what_was_planned(
    fleet: Fleet, tiny_model: Path
) -> None:
    fleet.up()
    plan = fleet.json("plan", tiny_model, "--context", 1024, "--tokens", 16)
    fleet.ok("run", tiny_model, "--context", 1024, "--tokens", 16, "--prompt", "hello", "-d")
    job = fleet.ended(fleet.newest_job())
    assert job["status"] == "succeeded", job
    said = plan["placements"][0]["footprint"]
    assert job["engine_memory"]["kv_bytes"] == said["kv_bytes"]
    assert job["tokens_generated"] == 16
    assert job["throughput_mtps"] > 0
    assert job["cost_nusd"] > 0
    report = fleet.json("cost", "--by", "job")
    assert is_that(report["total_cost_nusd"], job["cost_nusd"])
    types = [e["event_type"] for e in fleet.json("events", "-n", 50)]
    story = ["job_submitted", "job_dispatched", "job_started", "job_completed"]
    assert [t for t in types if t.startswith("job_")] == story
    assert fleet.run("verify").code == 0


def test_a_job_survives_kill_9_of_its_daemon_and_is_billed_once(fleet: Fleet) -> None:
    fleet.up()
    go = fleet.home / "go"
    script = f"while [ ! -e {go} ]; do read -t 0.05 _ < <(:) || :; done; echo finished"
    fleet.ok("run", "-d", "--", "bash", "-c", script)
    job_id = fleet.newest_job()
    wait_until(lambda: fleet.job(job_id)["status"] == "running", "the job to run")
    pid = started_pid(fleet)
    acknowledged = fleet.ok("note", "before the crash").strip()
    fleet.kill()
    fleet.up()
    assert fleet.job(job_id)["status"] == "running"
    assert started_pid(fleet) == pid
    go.touch()
    job = fleet.ended(job_id)
    assert job["status"] == "succeeded"
    events = fleet.json("events", "-n", 100)
    ends = [e for e in events if e["event_type"] == "job_completed"]
    assert len(ends) == 1
    assert acknowledged in [e["id"] for e in events]
    assert is_that(fleet.json("cost", "--by", "job")["total_cost_nusd"], job["cost_nusd"])
    assert "finished" in fleet.ok("logs", job_id)
    assert fleet.run("verify").code == 0


def is_that(billed_nusd: int, told_nusd: int) -> bool:
    """Whether a bill is what a job's owner told: a job's cost is rounded once, and that of each
    quarter-hour of a bill down, as the difference of two running totals."""
    return abs(billed_nusd - told_nusd) <= 2


def started_pid(fleet: Fleet) -> int:
    events = fleet.json("events", "-n", 100)
    (started,) = [e for e in events if e["event_type"] == "job_started"]
    return started["payload"]["pid"]


def test_an_engine_that_aborts_fails_its_job_and_leaves_the_daemon_alive(fleet: Fleet) -> None:
    fleet.up()
    before = fleet.pid
    fleet.ok("run", "-d", "--", "bash", "-c", "kill -ABRT $$")
    job = fleet.ended(fleet.newest_job())
    assert (job["status"], job["reason"]) == ("failed", "signal")
    assert fleet.json("status")["daemon"] is True
    assert fleet.pid == before


def test_a_cancelled_job_ends_with_its_whole_process_group(fleet: Fleet) -> None:
    fleet.up()
    fleet.ok("run", "-d", "--", "bash", "-c", "sleep 600 & wait")
    job_id = fleet.newest_job()
    wait_until(lambda: fleet.job(job_id)["status"] == "running", "the job to run")
    fleet.ok("cancel", job_id)
    assert fleet.ended(job_id)["status"] == "cancelled"


def test_two_jobs_never_hold_one_device_at_once(fleet: Fleet) -> None:
    fleet.up()
    go = fleet.home / "go"
    script = f"while [ ! -e {go} ]; do read -t 0.05 _ < <(:) || :; done"
    first = fleet.ok("run", "-d", "--", "bash", "-c", script).strip()
    wait_until(lambda: fleet.job(first)["status"] == "running", "the first job")
    second = fleet.ok("run", "-d", "--", "true").strip()
    fleet.ok("note", "the loop has turned since")
    held = f"{first} runs"
    wait_until(lambda: held in fleet.job(second)["waiting"], "the second in line")
    assert fleet.job(second)["status"] == "queued"
    go.touch()
    one, two = fleet.ended(first), fleet.ended(second)
    assert two["started_ms"] >= one["ended_ms"]


@pytest.mark.parametrize("column", ["body", "sig"])
def test_a_flipped_byte_in_the_store_is_named_with_author_and_seq(
    fleet: Fleet, column: str
) -> None:
    for text in ("one", "two", "three"):
        fleet.ok("note", text)
    author = fleet.json("events")[0]["author"]
    path = ledger_file(fleet)
    with sqlite3.connect(path) as db:
        where = "where cursor = (select cursor from events where seq = 2)"
        (value,) = db.execute(f"select {column} from open_bodies {where}").fetchone()
        bad = bytearray(value)
        bad[len(bad) // 2] ^= 1
        db.execute(f"update open_bodies set {column} = ? {where}", (bytes(bad),))
    db.close()
    done = fleet.run("verify")
    assert done.code != 0
    assert author[:8] in done.out + done.err
    assert "2" in done.out + done.err
    assert "Traceback" not in done.err


def ledger_file(fleet: Fleet) -> Path:
    """Where the events are kept."""
    return fleet.home / "ledger.db"


def test_a_ledger_travels_by_file_and_arrives_verified(fleet: Fleet, tmp_path: Path) -> None:
    for text in ("one", "two"):
        fleet.ok("note", text)
    fleet.ok("export", tmp_path / "ledger.jsonl")
    other = Fleet(tmp_path / "other")
    other.ok("import", tmp_path / "ledger.jsonl")
    notes = [e["payload"]["text"] for e in other.json("events") if e["event_type"] == "note_added"]
    assert notes == ["one", "two"]
    assert other.run("verify").code == 0


def test_a_catalogue_name_is_planned_for_but_not_run(fleet: Fleet) -> None:
    fleet.up()
    done = fleet.run("run", "llama-2-7b", "--prompt", "hi")
    assert done.code == 2
    assert "not a file with weights" in done.err
    assert fleet.json("ps", "-a") == []
    assert fleet.json("plan", "llama-2-7b")["query"]["model"] == "llama-2-7b"


def test_the_seventy_b_of_the_seed_fits_where_it_really_fits(fleet: Fleet) -> None:
    fleet.ok("devices", "add", "rig", "--gpu", "RTX 4090", "--memory", "24GiB")
    fleet.ok("devices", "add", "lab", "--gpu", "A100 80GB", "--memory", "74GiB")
    seed = ("llama-2-70b", "--batch", 8, "--context", 4096)
    q4 = fleet.json("plan", *seed, "--quant", "Q4_K_M")
    assert [p["device"] for p in q4["placements"]] == ["lab"]
    assert q4["placements"][0]["footprint"]["kv_bytes"] == 10_737_418_240
    alone = fleet.run("plan", *seed, "--quant", "Q8_0", "--no-sets", "-o", "json")
    assert alone.code == 104
    refusals = {r["device"]: r for r in json.loads(alone.out)["refusals"]}
    assert refusals["rig"]["code"] == refusals["lab"]["code"] == "NoFit(mem)"
    assert refusals["rig"]["missing_bytes"] > refusals["lab"]["missing_bytes"] > 0
    (both,) = fleet.json("plan", *seed, "--quant", "Q8_0")["placements"]
    assert both["device"] == "lab + rig"
    assert sum(m["need_bytes"] for m in both["members"]) == both["footprint"]["total_bytes"]
