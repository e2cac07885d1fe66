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
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

from providers import durable, hold, process, tree
from providers.base import Handle, Launch, Outcome, ProviderError
from providers.log import last_words
from providers.runner import JOB_DIR

# A cold interpreter on a loaded laptop disk takes seconds; more than this is broken.
START_LIMIT_S = 30.0
LOOK_EVERY_S = 0.01
# Names become folder names: nothing that climbs, hides or overflows a path.
JOB_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
RUNNER_ERRORS = "runner.err"  # empty unless the runner itself is broken
PACKAGE_PARENT = Path(__file__).parent.parent
# A runner that hears of it stops its tree in a few milliseconds; one that has not after this is
# busy, or of an earlier version, which knows no pause.
PAUSE_LIMIT_S = 1.5
# The claim of an attempt that was cancelled before its runner came up, and how it ended.
NO_RUNNER: dict[str, object] = {
    "pid": 0, "start_ticks": 0, "boot_id": "", "child_pid": 0, "child_ticks": 0, "void": True,
}  # fmt: skip
VOID: dict[str, object] = {"reason": "cancelled", "text": "cancelled before it began"}
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
    return handle if _alive(handle) else None


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
    if runner.get("void"):
        return _outcome(VOID, {})
    _kill_orphans(folder, runner)
    return _lost(folder, runner)


async def cancel(handle: Handle) -> bool:
    """Ask the attempt to end; its outcome becomes "cancelled". False: it had already ended."""
    if not _alive(handle):
        return False
    os.kill(handle.pid, signal.SIGTERM)
    return True


async def pause(handle: Handle) -> bool:
    """SIGSTOP the attempt's whole tree, until `resume`; its memory stays where it is.

    True once nothing of it runs, also when it was paused before. False: not possible, and then
    nothing is left stopped.
    """
    if not _alive(handle):
        return False
    folder = Path(handle.job_dir)
    try:
        (folder / hold.ASKED).touch(mode=0o600)
    except OSError:
        return False
    if await _comes(handle, held=True):
        return True
    await resume(handle)
    return False


async def resume(handle: Handle) -> bool:
    """SIGCONT the attempt's whole tree; True once it runs again, False if it has ended."""
    (Path(handle.job_dir) / hold.ASKED).unlink(missing_ok=True)
    return await _comes(handle, held=False)


def paused(folder: Path) -> bool:
    """Whether the attempt's tree stands still, whoever asked for it."""
    return (folder / hold.HELD).exists() and adopt(folder) is not None


async def _comes(handle: Handle, *, held: bool) -> bool:
    """Wake the runner, then wait until it says that its tree is held, or is not."""
    mark = Path(handle.job_dir) / hold.HELD
    deadline = time.monotonic() + PAUSE_LIMIT_S
    while _alive(handle):
        # Every runner wakes at this one and looks; one that knows no pause is not hurt by it.
        with suppress(ProcessLookupError):
            os.kill(handle.pid, signal.SIGCHLD)
        if mark.exists() == held:
            return True
        if time.monotonic() >= deadline:
            return False
        await asyncio.sleep(LOOK_EVERY_S)
    return False


def _alive(handle: Handle) -> bool:
    return process.alive(handle.pid, handle.start_ticks, handle.boot_id)


def void(folder: Path) -> bool:
    """See that an attempt that no runner has claimed never begins: who cancels claims it first.

    True where it was claimed so; its outcome is "cancelled", after no time at all.
    """
    if not (folder / "launch.json").exists():
        return False
    try:
        return durable.claim_json(folder / "runner.json", NO_RUNNER)
    except OSError as error:
        raise ProviderError(f"can't cancel {folder}: {error}", NO_DISK) from error


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


def _kill_orphans(folder: Path, runner: dict[str, object]) -> None:
    """A runner killed with -9 can't stop its tree: we do, if the pid is still that child.

    A paused one that left its session would stand still for ever: it is known by its variable.
    """
    child, ticks = _int(runner, "child_pid"), _int(runner, "child_ticks")
    if process.alive(child, ticks, str(runner.get("boot_id"))):
        os.killpg(child, signal.SIGKILL)
    tree.kill_marked(JOB_DIR, str(folder))


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
        paused_ms=_int(result, "paused_ms"),
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
