"""An attempt outlives whoever started it, runs once, and always says how it ended."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pytest

from providers import durable, local, process
from providers.base import Handle, Launch, ProviderError
from providers.engine import llamacpp
from providers.here import LocalAttempts
from tests.providers.conftest import ended, until

ROOT = Path(__file__).parents[2]
MIB = 1024 * 1024
WEIGHTS_FILE_BYTES = 1_719_744  # of tiny.gguf: the writer is deterministic


def command(*argv: str, job_id: str = "job-1", **env: str) -> Launch:
    return Launch(job_id=job_id, attempt=1, kind="command", argv=argv, env=env)


def python(code: str, job_id: str = "job-1") -> Launch:
    return command(sys.executable, "-c", code, job_id=job_id)


def run_tiny(
    model: Path, batch: int = 2, prompt: str = "hello", prompt_tokens: int = 0, kv_type: str = "f16"
) -> Launch:
    return llamacpp.launch(
        job_id="job-1",
        attempt=1,
        python=sys.executable,
        model_path=str(model),
        tokens=16,
        context=1024,
        batch=batch,
        prompt=prompt,
        prompt_tokens=prompt_tokens,
        kv_type=kv_type,
    )


def pid_in(path: Path) -> int:
    until(lambda: path.exists() and path.read_text().endswith("\n"), f"{path.name} written")
    return int(path.read_text())


def gone(pid: int) -> bool:
    return process.start_ticks(pid) == 0


async def test_a_real_model_runs_and_its_memory_is_what_its_shape_says(
    tiny: Path, jobs_dir: Path
) -> None:
    handle = await local.start(run_tiny(tiny), jobs_dir)
    outcome = await ended(handle.job_dir)
    assert (outcome.reason, outcome.exit_code, outcome.text) == ("ok", 0, "")
    assert outcome.tokens_generated == 2 * 16
    assert outcome.decode_mtps > 0
    assert outcome.prefill_mtps > 0
    # 2048 tokens in all * 4 layers * 2 KV heads * 16 numbers * (K and V) * 2 bytes
    assert outcome.engine_memory["kv_bytes"] == 2048 * 4 * 2 * 16 * 2 * 2 == MIB
    assert outcome.engine_memory["state_bytes"] == 0
    assert outcome.engine_memory["compute_bytes"] > 0
    weights = outcome.engine_memory["weights_bytes"]
    assert abs(weights - WEIGHTS_FILE_BYTES) < 20_000  # the rest of the file is its vocabulary
    assert outcome.peak_memory_bytes > weights + MIB
    assert outcome.ended_ms - outcome.started_ms == outcome.duration_ms > 0


async def test_a_quantised_cache_takes_34_64ths_of_the_bytes(wide: Path, jobs_dir: Path) -> None:
    handle = await local.start(run_tiny(wide, kv_type="q8_0"), jobs_dir)
    # a block of 32 numbers is 34 bytes: 2048 * 4 * 2 * 2 blocks are 1.0625 MiB, logged as 1.06
    assert (await ended(handle.job_dir)).engine_memory["kv_bytes"] == 106 * MIB // 100


async def test_a_cache_type_the_heads_are_too_narrow_for_is_refused(
    tiny: Path, jobs_dir: Path
) -> None:
    outcome = await ended((await local.start(run_tiny(tiny, kv_type="q8_0"), jobs_dir)).job_dir)
    assert (outcome.reason, outcome.exit_code) == ("setup", 78)
    assert "block size 32" in outcome.text


async def test_a_prompt_of_a_wanted_length_has_that_length(tiny: Path, jobs_dir: Path) -> None:
    handle = await local.start(run_tiny(tiny, batch=1, prompt="", prompt_tokens=200), jobs_dir)
    assert (await ended(handle.job_dir)).prompt_tokens == 200


async def test_a_torn_model_file_gives_one_clear_line(tmp_path: Path, jobs_dir: Path) -> None:
    pytest.importorskip("xllamacpp")
    torn = tmp_path / "torn.gguf"
    torn.write_bytes(b"GGUF\x03\x00\x00\x00" + b"\xff" * 500)
    outcome = await ended((await local.start(run_tiny(torn), jobs_dir)).job_dir)
    assert outcome.reason == "setup"
    assert "can't load" in outcome.text
    assert "torn.gguf" in outcome.text
    assert outcome.tokens_generated == 0


async def test_a_missing_model_is_named(jobs_dir: Path) -> None:
    outcome = await ended((await local.start(run_tiny(Path("/nowhere.gguf")), jobs_dir)).job_dir)
    assert (outcome.reason, outcome.text) == ("setup", "no model file at /nowhere.gguf")


STARTER = """
import asyncio, json, pathlib, signal, sys
from providers import local
from providers.base import Launch
async def main():
    launch = Launch(job_id="job-1", attempt=1, kind="command", argv=tuple(sys.argv[2:]))
    handle = await local.start(launch, pathlib.Path(sys.argv[1]))
    print(handle.job_dir, flush=True)
    await asyncio.Event().wait()
asyncio.run(main())
"""
COUNTED = """
import pathlib, sys, time
runs, go = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
runs.open("a").write("run\\n")
while not go.exists(): time.sleep(0.01)
"""


def kill_a_starter(jobs_dir: Path, argv: list[str]) -> Path:
    """Start an attempt from another process, kill -9 that process, return the job's folder."""
    starter = subprocess.Popen(
        [sys.executable, "-c", STARTER, str(jobs_dir), *argv], cwd=ROOT, stdout=subprocess.PIPE
    )
    assert starter.stdout is not None
    folder = Path(starter.stdout.readline().decode().strip())
    starter.kill()
    starter.wait()
    starter.stdout.close()
    return folder


async def test_killing_the_starter_leaves_the_attempt_to_be_adopted_and_run_once(
    jobs_dir: Path, tmp_path: Path
) -> None:
    runs, go = tmp_path / "runs", tmp_path / "go"
    argv = [sys.executable, "-c", COUNTED, str(runs), str(go)]
    folder = kill_a_starter(jobs_dir, argv)
    until(runs.exists, "the command runs")
    handle = local.adopt(folder)
    assert handle is not None
    assert local.poll(folder) is None
    assert await local.start(command(*argv), jobs_dir) == handle  # not started again
    go.touch()
    outcome = await ended(folder)
    assert (outcome.reason, outcome.exit_code) == ("ok", 0)
    assert local.poll(folder) == outcome
    assert local.adopt(folder) is None
    assert await local.start(command(*argv), jobs_dir) == handle  # nor after its end
    assert runs.read_text() == "run\n"


async def test_many_starts_at_once_start_one(jobs_dir: Path, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    code = f"import pathlib; pathlib.Path({str(runs)!r}).open('a').write('run\\n')"
    handles = await asyncio.gather(*(local.start(python(code), jobs_dir) for _ in range(5)))
    assert len(set(handles)) == 1
    assert (await ended(handles[0].job_dir)).reason == "ok"
    assert runs.read_text() == "run\n"


async def test_an_engine_that_aborts_hurts_only_its_own_attempt(jobs_dir: Path) -> None:
    abort = await local.start(python("import os; os.abort()", "job-a"), jobs_dir)
    other = await local.start(python("print('fine')", "job-b"), jobs_dir)
    outcome = await ended(abort.job_dir)
    assert (outcome.reason, outcome.exit_code) == ("signal", -signal.SIGABRT)
    assert "SIGABRT" in outcome.text
    assert (await ended(other.job_dir)).reason == "ok"


async def test_a_failing_command_says_its_last_words(jobs_dir: Path) -> None:
    handle = await local.start(python("import sys; print('hm'); sys.exit('no licence')"), jobs_dir)
    outcome = await ended(handle.job_dir)
    assert (outcome.reason, outcome.exit_code) == ("exit", 1)
    assert outcome.text == "exit code 1: no licence"


async def test_a_failed_allocation_is_out_of_memory(jobs_dir: Path) -> None:
    outcome = await ended((await local.start(python("bytearray(1 << 62)"), jobs_dir)).job_dir)
    assert (outcome.reason, outcome.exit_code) == ("oom", 1)
    assert "MemoryError" in outcome.text


async def test_a_missing_program_is_a_result_too(jobs_dir: Path) -> None:
    outcome = await ended((await local.start(command("no-such-program"), jobs_dir)).job_dir)
    assert (outcome.reason, outcome.exit_code) == ("setup", 127)
    assert "no-such-program" in outcome.text


async def test_the_environment_of_the_launch_reaches_the_child(jobs_dir: Path) -> None:
    code = "import os, sys; sys.exit(os.environ['FLEET_JOB_ID'] != 'j7')"
    launch = command(sys.executable, "-c", code, FLEET_JOB_ID="j7")
    assert (await ended((await local.start(launch, jobs_dir)).job_dir)).reason == "ok"


FAMILY = """
import os, pathlib, signal, subprocess, sys, time
folder, stubborn = pathlib.Path(sys.argv[1]), sys.argv[2]
if stubborn == "yes": signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
(folder / "child").write_text(f"{child.pid}\\n")
(folder / "parent").write_text(f"{os.getpid()}\\n")
time.sleep(600)
"""


FAMILY_LEAVES = """
import pathlib, subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
child.returncode = 0
(pathlib.Path(sys.argv[1]) / "child").write_text(f"{child.pid}\\n")
"""


async def test_cancel_ends_the_whole_group(jobs_dir: Path, tmp_path: Path) -> None:
    launch = command(sys.executable, "-c", FAMILY, str(tmp_path), "no")
    handle = await local.start(launch, jobs_dir)
    parent, child = pid_in(tmp_path / "parent"), pid_in(tmp_path / "child")
    assert await local.cancel(handle)
    outcome = await ended(handle.job_dir)
    assert (outcome.reason, outcome.exit_code) == ("cancelled", -signal.SIGTERM)
    until(lambda: gone(parent) and gone(child) and gone(handle.pid), "everyone gone")
    assert not await local.cancel(handle)


async def test_cancel_kills_what_ignores_it(jobs_dir: Path, tmp_path: Path) -> None:
    launch = command(sys.executable, "-c", FAMILY, str(tmp_path), "yes")
    handle = await local.start(launch, jobs_dir)
    parent, child = pid_in(tmp_path / "parent"), pid_in(tmp_path / "child")
    assert await local.cancel(handle)
    outcome = await ended(handle.job_dir)
    assert (outcome.reason, outcome.exit_code) == ("cancelled", -signal.SIGKILL)
    until(lambda: gone(parent) and gone(child), "everyone gone")


async def test_a_leader_that_exits_leaves_no_orphan(jobs_dir: Path, tmp_path: Path) -> None:
    launch = command(sys.executable, "-c", FAMILY_LEAVES, str(tmp_path))
    handle = await local.start(launch, jobs_dir)
    assert (await ended(handle.job_dir)).reason == "ok"
    until(lambda: gone(pid_in(tmp_path / "child")), "the left-behind child gone")


async def test_a_killed_runner_is_lost_and_its_child_does_not_linger(
    jobs_dir: Path, tmp_path: Path
) -> None:
    handle = await local.start(
        command(sys.executable, "-c", FAMILY, str(tmp_path), "yes"), jobs_dir
    )
    parent, child = pid_in(tmp_path / "parent"), pid_in(tmp_path / "child")
    os.kill(handle.pid, signal.SIGKILL)
    until(lambda: gone(handle.pid), "runner gone")
    assert local.adopt(Path(handle.job_dir)) is None
    outcome = await ended(handle.job_dir)
    assert (outcome.reason, outcome.exit_code) == ("lost", -1)
    until(lambda: gone(parent) and gone(child), "no orphan")


async def test_another_process_with_the_same_pid_is_neither_adopted_nor_signalled(
    jobs_dir: Path,
) -> None:
    handle = await local.start(python("pass"), jobs_dir)
    await ended(handle.job_dir)
    me, ticks, boot = os.getpid(), process.start_ticks(os.getpid()), process.boot_id()
    for wrong in ((me, ticks + 1, boot), (me, ticks, "another boot")):
        stranger = Handle(
            job_dir=handle.job_dir, pid=wrong[0], start_ticks=wrong[1], boot_id=wrong[2]
        )
        assert not await local.cancel(stranger)
    assert process.alive(me, ticks, boot)


async def test_after_a_restart_of_the_machine_an_attempt_is_lost(jobs_dir: Path) -> None:
    folder = local.job_dir(jobs_dir, "job-1", 1)
    folder.mkdir(parents=True)
    durable.write_json(folder / "launch.json", {})
    me = {"pid": os.getpid(), "start_ticks": process.start_ticks(os.getpid())}
    me["child_ticks"] = 0
    durable.write_json(folder / "runner.json", {**me, "boot_id": "before", "child_pid": 0})
    outcome = local.poll(folder)
    assert outcome is not None
    assert outcome.reason == "lost"
    assert "restart" in outcome.text


async def test_what_was_never_started_has_no_outcome(jobs_dir: Path) -> None:
    folder = local.job_dir(jobs_dir, "job-1", 1)
    assert local.poll(folder) is None
    assert local.adopt(folder) is None


@pytest.mark.parametrize("job_id", ["..", "a/b", "", ".hidden", "x" * 200])
async def test_a_job_id_never_leaves_its_folder(job_id: str, jobs_dir: Path) -> None:
    with pytest.raises(ProviderError, match="can't name a folder"):
        await local.start(command("true", job_id=job_id), jobs_dir)


async def test_what_was_launched_is_on_disk_for_its_owner_only(jobs_dir: Path) -> None:
    handle = await local.start(python("pass"), jobs_dir)
    launch = Path(handle.job_dir) / "launch.json"
    assert json.loads(launch.read_text())["job_id"] == "job-1"
    assert launch.stat().st_mode & 0o777 == 0o600
    await ended(handle.job_dir)


async def test_a_start_that_is_cancelled_before_its_runner_came_up_never_begins(
    jobs_dir: Path, tmp_path: Path
) -> None:
    here = LocalAttempts(jobs_dir)
    folder = local.job_dir(jobs_dir, "job-1", 1)
    folder.mkdir(parents=True)
    durable.write_json(folder / "launch.json", asdict(command("touch", str(tmp_path / "ran"))))
    await here.cancel("job-1", 1)
    late = [sys.executable, "-m", "providers.runner", str(folder)]
    assert await (await asyncio.create_subprocess_exec(*late, cwd=ROOT)).wait() == 3
    outcome = await here.poll("job-1", 1)
    assert outcome is not None
    assert (outcome.reason, outcome.duration_ms) == ("cancelled", 0)
    assert here.ran("job-1", 1)
    assert not (tmp_path / "ran").exists()


async def test_a_cancel_of_what_was_never_begun_leaves_nothing(jobs_dir: Path) -> None:
    here = LocalAttempts(jobs_dir)
    await here.cancel("job-1", 1)
    assert not here.ran("job-1", 1)
    assert not here.folder("job-1", 1).exists()
