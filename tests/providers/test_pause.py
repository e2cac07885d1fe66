"""A paused attempt stands still with everything it started, and its pause is told apart."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers import durable, hold, local, process, tree
from providers.base import Launch
from tests.providers.conftest import ended, until

# A child that counts, and a grandchild in a session of its own whose parent has died; both append
# to their files, so that a file which grows shows a process that runs.
COUNTING = """
import os, pathlib, subprocess, sys, time
folder = pathlib.Path(sys.argv[1])
if sys.argv[2] == "parent":
    between = "import subprocess, sys; subprocess.Popen(sys.argv[1:], start_new_session=True)"
    me = [sys.executable, "-c", pathlib.Path(sys.argv[3]).read_text(), str(folder), "stray"]
    subprocess.run([sys.executable, "-c", between, *me])
(folder / (sys.argv[2] + ".pid")).write_text(f"{os.getpid()}\\n")
with (folder / sys.argv[2]).open("a") as out:
    while not (folder / "go").exists():
        out.write(".")
        out.flush()
        time.sleep(0.001)
"""


def counting(folder: Path) -> Launch:
    program = folder / "program"
    program.write_text(COUNTING)
    argv = (sys.executable, "-c", COUNTING, str(folder), "parent", str(program))
    return Launch(job_id="job-1", attempt=1, kind="command", argv=argv)


def both_run(folder: Path) -> None:
    """Both files grow from now on."""
    for name in ("parent", "stray"):
        path = folder / name
        until(path.exists, f"{name} runs")
        before = path.stat().st_size
        until(lambda path=path, before=before: path.stat().st_size > before, f"{name} goes on")


def sizes(folder: Path) -> list[int]:
    return [(folder / name).stat().st_size for name in ("parent", "stray")]


def pid_of(folder: Path, name: str) -> int:
    path = folder / f"{name}.pid"
    until(lambda: path.exists() and path.read_text().endswith("\n"), f"{name} says its pid")
    return int(path.read_text())


def stands(pid: int) -> bool:
    return process.stat_fields(pid)[:1] == ["T"]


pytestmark = pytest.mark.skipif(not process.LINUX, reason="reads /proc")


@pytest.fixture(autouse=True)
def nobody_is_left(tmp_path: Path) -> Iterator[None]:
    yield
    (tmp_path / "go").touch()
    for path in tmp_path.glob("*.pid"):
        pid = int(path.read_text())
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)
        until(lambda pid=pid: process.start_ticks(pid) == 0, f"{path.stem} is gone")


async def test_a_pause_stops_the_whole_tree_and_resume_lets_it_go_on(
    jobs_dir: Path, tmp_path: Path
) -> None:
    handle = await local.start(counting(tmp_path), jobs_dir)
    both_run(tmp_path)
    assert await local.pause(handle)
    assert local.paused(Path(handle.job_dir))
    assert stands(pid_of(tmp_path, "parent"))
    assert stands(pid_of(tmp_path, "stray"))
    before = sizes(tmp_path)
    assert await local.pause(handle)  # again: nothing new
    assert local.poll(Path(handle.job_dir)) is None
    assert sizes(tmp_path) == before
    assert await local.resume(handle)
    assert not local.paused(Path(handle.job_dir))
    both_run(tmp_path)
    (tmp_path / "go").touch()
    outcome = await ended(handle.job_dir)
    assert outcome.reason == "ok"
    assert 0 < outcome.paused_ms < outcome.duration_ms
    assert not await local.pause(handle)
    assert not await local.resume(handle)


async def test_what_was_never_paused_says_no_pause(jobs_dir: Path) -> None:
    launch = Launch(job_id="job-1", attempt=1, kind="command", argv=("true",))
    handle = await local.start(launch, jobs_dir)
    assert (await ended(handle.job_dir)).paused_ms == 0


async def test_a_result_of_an_earlier_version_has_no_pause(jobs_dir: Path) -> None:
    launch = Launch(job_id="job-1", attempt=1, kind="command", argv=("true",))
    handle = await local.start(launch, jobs_dir)
    await ended(handle.job_dir)
    path = Path(handle.job_dir) / "result.json"
    result = durable.read_json(path) or {}
    del result["paused_ms"]
    durable.write_json(path, result)
    assert (await ended(handle.job_dir)).paused_ms == 0


async def test_a_paused_attempt_is_cancelled_within_its_grace_by_its_own_handler(
    jobs_dir: Path, tmp_path: Path
) -> None:
    handle = await local.start(counting(tmp_path), jobs_dir)
    both_run(tmp_path)
    stray, parent = pid_of(tmp_path, "stray"), pid_of(tmp_path, "parent")
    assert await local.pause(handle)
    assert await local.cancel(handle)
    outcome = await ended(handle.job_dir)
    # TERM, not KILL: it was woken to hear it
    assert (outcome.reason, outcome.exit_code) == ("cancelled", -signal.SIGTERM)
    assert outcome.paused_ms > 0
    assert outcome.duration_ms < 10_000
    until(lambda: process.start_ticks(stray) == process.start_ticks(parent) == 0, "all gone")


PAUSER = """
import asyncio, pathlib, sys
from providers import local
handle = local.adopt(pathlib.Path(sys.argv[1]))
assert handle is not None
print(asyncio.run(local.pause(handle)))
"""


def pause_from_elsewhere(folder: str) -> str:
    """What another process says that pauses it, and then ends."""
    argv = [sys.executable, "-c", PAUSER, folder]
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout


async def test_a_pause_outlives_who_asked_and_any_other_daemon_can_end_it(
    jobs_dir: Path, tmp_path: Path
) -> None:
    handle = await local.start(counting(tmp_path), jobs_dir)
    both_run(tmp_path)
    assert pause_from_elsewhere(handle.job_dir) == "True\n"
    folder = Path(handle.job_dir)
    found = local.adopt(folder)
    assert found == handle
    assert local.paused(folder)
    assert stands(pid_of(tmp_path, "stray"))
    assert await local.resume(found)
    both_run(tmp_path)


async def test_a_pause_that_cannot_be_is_false_and_leaves_nothing_stopped(
    jobs_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    handle = await local.start(counting(tmp_path), jobs_dir)
    both_run(tmp_path)
    monkeypatch.setattr(hold, "ASKED", "nobody looks at this name")  # as of an earlier version
    monkeypatch.setattr(local, "PAUSE_LIMIT_S", 0.05)
    assert not await local.pause(handle)
    both_run(tmp_path)
    assert not (Path(handle.job_dir) / hold.ASKED).exists()


async def test_a_runner_killed_while_it_holds_leaves_nobody_standing_for_ever(
    jobs_dir: Path, tmp_path: Path
) -> None:
    handle = await local.start(counting(tmp_path), jobs_dir)
    both_run(tmp_path)
    stray, parent = pid_of(tmp_path, "stray"), pid_of(tmp_path, "parent")
    assert await local.pause(handle)
    os.kill(handle.pid, signal.SIGKILL)
    until(lambda: process.start_ticks(handle.pid) == 0, "runner gone")
    assert (await ended(handle.job_dir)).reason == "lost"
    assert not local.paused(Path(handle.job_dir))
    until(lambda: process.start_ticks(stray) == process.start_ticks(parent) == 0, "all gone")


async def test_who_left_the_session_dies_with_the_attempt(jobs_dir: Path, tmp_path: Path) -> None:
    handle = await local.start(counting(tmp_path), jobs_dir)
    both_run(tmp_path)
    stray = pid_of(tmp_path, "stray")
    os.kill(pid_of(tmp_path, "parent"), signal.SIGKILL)
    assert (await ended(handle.job_dir)).reason == "signal"
    until(lambda: process.start_ticks(stray) == 0, "the stray is gone")


def test_descendants_are_found_over_generations() -> None:
    assert tree.descendants({2: 1, 3: 2, 4: 3, 5: 1, 9: 8}, 2) == {3, 4}


@given(st.dictionaries(st.integers(1, 30), st.integers(1, 30)), st.integers(1, 30))
def test_any_table_of_parents_has_an_end_and_never_names_the_root(
    parents: dict[int, int], root: int
) -> None:
    found = tree.descendants(parents, root)
    assert root not in found
    assert all(parents[pid] in found | {root} for pid in found)
