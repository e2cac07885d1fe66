"""Run attempts on this machine, each under a runner that outlives us.

Layout: JOBS/job_id/attempt/{launch,runner,result,engine}.json and log.txt. Whoever holds the
folder can pick the attempt up again; nothing about it lives only in memory.
"""

import asyncio
import os
import re
import signal
import sys
import time
from dataclasses import asdict
from pathlib import Path

from providers import durable, process
from providers.base import Handle, Launch, Outcome, ProviderError
from providers.log import last_words

# A cold interpreter on a loaded laptop disk takes seconds; more than this is broken.
START_LIMIT_S = 30.0
LOOK_EVERY_S = 0.01
# Names become folder names: nothing that climbs, hides or overflows a path.
JOB_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
RUNNER_ERRORS = "runner.err"  # empty unless the runner itself is broken
PACKAGE_PARENT = Path(__file__).parent.parent
NO_DISK = "free some space or choose another FLEET_HOME"


def job_dir(jobs_dir: Path, job_id: str, attempt: int) -> Path:
    """The folder of one attempt."""
    if not JOB_ID.fullmatch(job_id) or attempt < 0:
        raise ProviderError(f"job id {job_id!r} can't name a folder", "use letters, digits, - _ .")
    return jobs_dir.absolute() / job_id / str(attempt)


async def start(launch: Launch, jobs_dir: Path) -> Handle:
    """Start the attempt, or find it already started: at most one runner ever, whoever asks.

    Returns once the child runs or has already ended. ProviderError if no runner comes up.
    """
    folder = job_dir(jobs_dir, launch.job_id, launch.attempt)
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not (folder / "launch.json").exists():
            durable.write_json(folder / "launch.json", asdict(launch))
        if not (folder / "runner.json").exists():
            with os.fdopen(durable.private_file(folder / RUNNER_ERRORS, os.O_APPEND)) as errors:
                await _spawn_runner(folder, errors.fileno())
    except OSError as error:
        raise ProviderError(f"can't start {launch.job_id}: {error}", NO_DISK) from error
    return await _claimed(folder)


def adopt(folder: Path) -> Handle | None:
    """The living runner of an attempt; None when there is none (ask `poll` how it ended)."""
    runner = durable.read_json(folder / "runner.json")
    if runner is None or (folder / "result.json").exists():
        return None
    handle = _handle(folder, runner)
    return handle if process.alive(handle.pid, handle.start_ticks, handle.boot_id) else None


def poll(folder: Path) -> Outcome | None:
    """How the attempt ended; None while it runs or before it was started.

    A runner that vanished gives "lost", once whatever it left running is killed.
    """
    if not (folder / "runner.json").exists():
        return None
    living = adopt(folder)
    result = durable.read_json(folder / "result.json")
    if result is not None:
        return _outcome(result, durable.read_json(folder / "engine.json") or {})
    if living is not None:
        return None
    runner = durable.read_json(folder / "runner.json") or {}
    _kill_orphans(runner)
    return _lost(folder, runner)


async def cancel(handle: Handle) -> bool:
    """Ask the attempt to end; its outcome becomes "cancelled". False: it had already ended."""
    if not process.alive(handle.pid, handle.start_ticks, handle.boot_id):
        return False
    os.kill(handle.pid, signal.SIGTERM)
    return True


async def _spawn_runner(folder: Path, errors: int) -> None:
    """Start a detached runner; should two come up, the claim lets one go on."""
    program = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "providers.runner",
        "--detach",
        str(folder),
        cwd=PACKAGE_PARENT,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=errors,
        start_new_session=True,
    )
    await program.wait()


async def _claimed(folder: Path) -> Handle:
    deadline = time.monotonic() + START_LIMIT_S
    while time.monotonic() < deadline:
        runner = durable.read_json(folder / "runner.json")
        if runner is not None and (runner["child_pid"] or poll(folder) is not None):
            return _handle(folder, runner)
        if runner is None and (folder / RUNNER_ERRORS).stat().st_size:
            break
        await asyncio.sleep(LOOK_EVERY_S)
    raise ProviderError(
        "no runner came up: " + last_words((folder / RUNNER_ERRORS).read_text(errors="replace")),
        f"try by hand: python -m providers.runner {folder}",
    )


def _kill_orphans(runner: dict[str, object]) -> None:
    """A runner killed with -9 can't stop its child: we do, if the pid is still that child."""
    child, ticks = _int(runner, "child_pid"), _int(runner, "child_ticks")
    if process.alive(child, ticks, str(runner.get("boot_id"))):
        os.killpg(child, signal.SIGKILL)


def _handle(folder: Path, runner: dict[str, object]) -> Handle:
    return Handle(
        job_dir=str(folder),
        pid=_int(runner, "pid"),
        start_ticks=_int(runner, "start_ticks"),
        boot_id=str(runner.get("boot_id")),
    )


def _outcome(result: dict[str, object], engine: dict[str, object]) -> Outcome:
    memory = engine.get("memory")
    return Outcome(
        exit_code=_int(result, "exit_code"),
        started_ms=_int(result, "started_ms"),
        ended_ms=_int(result, "ended_ms"),
        duration_ms=_int(result, "duration_ms"),
        peak_memory_bytes=_int(result, "peak_memory_bytes"),
        tokens_generated=_int(engine, "tokens_generated"),
        prompt_tokens=_int(engine, "prompt_tokens"),
        decode_mtps=_int(engine, "decode_mtps"),
        prefill_mtps=_int(engine, "prefill_mtps"),
        engine_memory=memory if isinstance(memory, dict) else {},
        reason=str(result["reason"]),
        text=str(result["text"]),
    )


def _lost(folder: Path, runner: dict[str, object]) -> Outcome:
    """The last sign of life is the best known end."""
    log = folder / "log.txt"
    started_ms = (folder / "launch.json").stat().st_mtime_ns // 1_000_000
    last_ms = (log if log.exists() else folder / "runner.json").stat().st_mtime_ns // 1_000_000
    ended_ms = max(started_ms, last_ms)
    same_boot = runner.get("boot_id") == process.boot_id()
    why = "was killed" if same_boot else "ended with the machine's restart"
    return _outcome(
        {
            "exit_code": -1,
            "started_ms": started_ms,
            "ended_ms": ended_ms,
            "duration_ms": ended_ms - started_ms,
            "peak_memory_bytes": 0,
            "reason": "lost",
            "text": f"the runner {why} before it could write a result",
        },
        {},
    )


def _int(source: dict[str, object], key: str) -> int:
    value = source.get(key)
    return value if isinstance(value, int) else 0
