"""Files of many requests, and servers, as their user meets them: real llama.cpp."""

import json
import urllib.request
from pathlib import Path

import psutil

from tests.end_to_end.conftest import Fleet
from tests.support.waiting import wait_until

SHORT = ("--context", 256, "--tokens", 8, "--batch", 2)


def rows(text: str) -> list[dict]:
    return [json.loads(line) for line in text.splitlines()]


def test_each_line_of_a_file_is_answered_and_a_refused_one_is_named(
    fleet: Fleet, tiny_model: Path, tmp_path: Path
) -> None:
    fleet.up()
    file = tmp_path / "asked.jsonl"
    asked = [{"id": f"q{i}", "prompt": f"say {i}"} for i in range(9)]
    file.write_text("".join(json.dumps(one) + "\n" for one in asked))
    done = fleet.run("run", tiny_model, *SHORT, "--input", file)
    assert done.code == 0, done.err
    found = rows(done.out)
    assert sorted(row["id"] for row in found) == [f"q{i}" for i in range(9)]
    assert {row["finish_reason"] for row in found} <= {"stop", "length"}
    assert "answered 9 of 9" in done.err
    job = fleet.job(fleet.newest_job())
    assert job["tokens_generated"] == sum(row["tokens"] for row in found)
    assert job["throughput_mtps"] > 0
    events = fleet.ok("events", "-n", 100, "-o", "json")
    assert "say 3" not in events
    assert '"lines": 9' in events or '"lines":9' in events
    # 100 brackets become tokens of their own in a chat: fits as text, not with its template.
    chat = {"messages": [{"role": "user", "content": "[" * 245}], "max_tokens": 8}
    file.write_text(json.dumps({"prompt": "a"}) + "\n\n" + json.dumps(chat))
    done = fleet.run("run", tiny_model, *SHORT, "--input", file)
    assert done.code == 100, done.err
    assert "1 of 2 lines were refused; line 3: " in done.err
    assert [row["line"] for row in rows(done.out) if "text" in row] == [1]


def test_a_bad_line_is_named_and_nothing_is_submitted(
    fleet: Fleet, tiny_model: Path, tmp_path: Path
) -> None:
    fleet.up()
    file = tmp_path / "asked.jsonl"
    file.write_text('{"prompt": "a"}\n{"promt": "b"}\n')
    done = fleet.run("run", tiny_model, *SHORT, "--input", file)
    assert done.code == 2, done.err
    assert "line 2: Object contains unknown field `promt`" in done.err
    file.write_text('{"prompt": "' + "x" * (1 << 20) + '"}')
    done = fleet.run("run", tiny_model, *SHORT, "--input", file)
    assert "one job takes a MiB" in done.err
    assert fleet.json("ps", "-a") == []


def test_a_server_serves_until_it_is_cancelled_also_past_its_daemon(
    fleet: Fleet, tiny_model: Path
) -> None:
    fleet.up()
    found = fleet.json("serve", tiny_model, "--context", 256, "--batch", 2)
    assert found["state"] == "serving"
    fleet.kill()
    fleet.up()
    (row,) = fleet.json("ps")
    assert (row["job_id"], row["status"]) == (found["job_id"], "running")
    assert row["server"]["url"] == found["url"]
    assert "key" not in row["server"]
    assert "serving" in fleet.ok("ps")
    assert found["url"] in fleet.ok("job", found["job_id"])
    body = json.dumps({"prompt": "hi", "max_tokens": 3}).encode()
    asked = urllib.request.Request(
        f"{found['url']}/v1/completions",
        body,
        {"Authorization": f"Bearer {found['key']}", "Content-Type": "application/json"},
    )
    with urllib.request.urlopen(asked, timeout=60) as answer:
        assert json.loads(answer.read())["usage"]["completion_tokens"] <= 3
    port = int(found["url"].rpartition(":")[2])
    fleet.ok("cancel", found["job_id"])
    assert fleet.ended(found["job_id"])["status"] == "cancelled"
    wait_until(lambda: port not in listening(), "the port to be free")
    assert "serving" not in fleet.ok("ps", "-a")


def listening() -> set[int]:
    found = psutil.net_connections("tcp")
    return {one.laddr.port for one in found if one.status == psutil.CONN_LISTEN}


def test_a_model_that_fits_nowhere_is_a_failed_job_with_its_reason(
    fleet: Fleet, tiny_model: Path
) -> None:
    fleet.up()
    done = fleet.run("serve", tiny_model, "--context", 256, "--kv-type", "q8_0")
    assert done.code == 104, (done.out, done.err)
    assert "q8_0 cache needs head size divisible by 32, not 16" in done.err
