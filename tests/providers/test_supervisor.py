"""Engines' servers held for a job: real llama.cpp, asked, cut, stopped, and asked again."""

import asyncio
import json
import os
import signal
import sys
import urllib.error
import urllib.request
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from providers import durable, local
from providers.base import Launch, Outcome
from providers.engine.setup import Setup, launch
from tests.providers.conftest import ended, until

SETUP = Setup(engine="llama.cpp", model_path="", context=256, parallel=2, threads=1)


def job(tiny: Path, task: str, job_id: str = "j", attempt: int = 1, **work: object) -> Launch:
    return launch(
        replace(SETUP, model_path=str(tiny)),
        job_id=job_id,
        attempt=attempt,
        python=sys.executable,
        task=task,  # type: ignore[arg-type]
        work={"tokens": 8, **work},
    )


async def run(one: Launch, jobs_dir: Path) -> tuple[Outcome, Path]:
    await local.start(one, jobs_dir)
    folder = local.job_dir(jobs_dir, one.job_id, one.attempt)
    return await ended(folder), folder


def rows(folder: Path) -> list[dict]:
    text = (folder / "answer.txt").read_text() if (folder / "answer.txt").exists() else ""
    return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]


async def test_one_prompt_is_answered_by_a_server_and_measured(tiny: Path, jobs_dir: Path) -> None:
    outcome, folder = await run(job(tiny, "prompt", prompt="hello"), jobs_dir)
    assert outcome.reason == "ok", outcome.text
    assert outcome.tokens_generated == 16  # two sequences of eight
    assert outcome.prompt_tokens > 0
    assert outcome.decode_mtps > 0
    assert outcome.engine_memory["kv_bytes"] == 512 * 4 * 2 * 2 * 16 * 2  # cells of both slots
    assert outcome.engine_memory["weights_bytes"] > 1 << 20
    assert (folder / "answer.txt").read_text().strip()


async def test_a_prompt_to_be_measured_has_exactly_the_wanted_length(
    tiny: Path, jobs_dir: Path
) -> None:
    outcome, _ = await run(job(tiny, "prompt", prompt="", prompt_tokens=100), jobs_dir)
    assert outcome.prompt_tokens == 200


async def test_every_line_gets_one_answer_with_its_own_id_and_limits(
    tiny: Path, jobs_dir: Path
) -> None:
    lines = [
        {"id": "a", "prompt": "one"},
        {"prompt": "two", "max_tokens": 3, "sampling": {"temperature": 0, "seed": 1}},
        {"id": 7, "messages": [{"role": "user", "content": "three"}]},
        {"id": "long", "prompt": "q" * 600},
    ]
    outcome, folder = await run(job(tiny, "lines", lines=lines), jobs_dir)
    assert outcome.reason == "ok", outcome.text
    found = {row["id"]: row for row in rows(folder)}
    assert set(found) == {"a", 2, 7, "long"}
    assert found[2]["tokens"] <= 3
    assert found["a"]["finish_reason"] in ("stop", "length")
    assert "text" in found[7]
    assert "error" in found["long"]  # 600 letters are more than its context
    engine = durable.read_json(folder / "engine.json") or {}
    assert (engine["lines"], engine["lines_failed"]) == (4, 1)
    assert "answered 4 of 4, 1 refused" in (folder / "log.txt").read_text()


async def test_lines_that_an_attempt_answered_are_not_asked_again_by_the_next(
    tiny: Path, jobs_dir: Path
) -> None:
    lines = [{"id": f"l{i}", "prompt": f"say {i}"} for i in range(40)]
    first = job(tiny, "lines", lines=lines, tokens=64)
    handle = await local.start(first, jobs_dir)
    folder = Path(handle.job_dir)
    until(lambda: len(rows(folder)) >= 3, "three answers")
    os.kill(handle.pid, signal.SIGKILL)  # the runner; whoever looks next ends what it left
    assert (await ended(folder)).reason == "lost"
    kept = {row["line"]: row["text"] for row in rows(folder)}
    outcome, second = await run(job(tiny, "lines", attempt=2, lines=lines, tokens=64), jobs_dir)
    assert outcome.reason == "ok", outcome.text
    after = {row["line"]: row["text"] for row in rows(second)}
    assert sorted(after) == list(range(1, 41))
    assert {number: after[number] for number in kept} == kept
    assert f"{len(kept)} of 40 lines kept" in (second / "log.txt").read_text()


async def test_an_engine_that_dies_is_started_anew_for_what_is_left(
    tiny: Path, jobs_dir: Path
) -> None:
    lines = [{"prompt": f"say {i}"} for i in range(40)]
    handle = await local.start(job(tiny, "lines", lines=lines, tokens=64), jobs_dir)
    folder = Path(handle.job_dir)
    until(lambda: len(rows(folder)) >= 2, "two answers")
    runner = durable.read_json(folder / "runner.json") or {}
    (engine,) = psutil.Process(int(str(runner["child_pid"]))).children()
    engine.kill()
    outcome = await ended(folder)
    assert outcome.reason == "ok", outcome.text
    assert sorted(row["line"] for row in rows(folder)) == list(range(1, 41))


async def test_a_server_serves_who_shows_its_key_until_it_is_cancelled(
    tiny: Path, jobs_dir: Path
) -> None:
    handle = await local.start(job(tiny, "serve"), jobs_dir)
    folder = Path(handle.job_dir)
    until(lambda: bool(rows(folder)), "the server to serve")
    (row,) = rows(folder)
    assert (row["state"], row["slots"], row["context"]) == ("serving", 2, 256)
    body = json.dumps({"model": "model", "prompt": "hi", "max_tokens": 4}).encode()

    def ask(key: str) -> int:
        headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
        asked = urllib.request.Request(f"{row['url']}/v1/completions", body, headers)
        try:
            with urllib.request.urlopen(asked, timeout=30) as answer:
                return answer.status
        except urllib.error.HTTPError as error:
            with error:
                return error.code

    assert await asyncio.to_thread(ask, row["key"]) == 200
    assert await asyncio.to_thread(ask, "wrong") == 401
    tree = psutil.Process(handle.pid).children(recursive=True)
    assert row["key"] not in " ".join(word for one in tree for word in one.cmdline())
    await local.cancel(handle)
    assert (await ended(folder)).reason == "cancelled"
    assert rows(folder)[-1]["state"] == "stopped"
    assert not any(one.is_running() and one.status() != "zombie" for one in tree)


@pytest.mark.parametrize(
    ("setup", "why"),
    [
        (replace(SETUP, model_path="/no/such.gguf"), "ended before it could answer: "),
        # Heads of 16 numbers do not fill a block of 32, which llama.cpp says as it starts.
        (replace(SETUP, model_path="tiny", kv_type="q8_0"), "ended before it could answer: "),
        (
            replace(SETUP, engine="ollama", model_path="x"),
            "ollama is not installed here: no ollama",
        ),
        (replace(SETUP, engine="sglang", model_path="x"), "'sglang' is no engine that jobs run by"),
        (replace(SETUP, engine="vllm", model_path="x", kv_type="q4_0"), "vLLM has no cache type"),
    ],
)
async def test_what_cant_run_here_is_said_in_one_line(
    setup: Setup, why: str, tiny: Path, jobs_dir: Path
) -> None:
    if setup.model_path == "tiny":
        setup = replace(setup, model_path=str(tiny))
    made = launch(
        setup, job_id="j", attempt=1, python=sys.executable, task="prompt", work={"tokens": 1}
    )
    outcome, _ = await run(made, jobs_dir)
    assert outcome.reason == "setup"
    assert why in outcome.text
