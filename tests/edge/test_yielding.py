"""The watcher has work give way, real processes included, and only what may."""

import asyncio
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from mesh.edge.yielding import YieldWatcher
from mesh.policy.yield_settings import REASONS, YieldPolicies, YieldPolicy
from mesh.policy.yielding import CALM_MS, DeviceFacts, RunningAttempt
from providers import durable, local, process
from providers.base import Handle, Launch
from providers.presence import logind
from providers.presence.facts import Power, by_idle
from providers.presence.reading import PresenceReader
from tests.support.local_yields import LocalYields, StandInSenses, kill_attempts

GPU = "dev-ab12-gpu0"
POLICIES = YieldPolicies(machine=YieldPolicy(when=REASONS))
COOL = DeviceFacts(temperature_c=50, foreign_need_bytes=0)
DEADLINE_S = 60.0  # a busy machine's; `scripts/bench yielding` measures the 2 s


def job(name: str = "a", **changes: object) -> RunningAttempt:
    given = RunningAttempt(job_id=name, attempt=1, devices=(GPU,), preemptible=True)
    return replace(given, **changes)  # type: ignore[arg-type]


class Recorded:
    """Stands in for who runs attempts: does nothing, and says what it was asked."""

    def __init__(self, *attempts: RunningAttempt, waiting: frozenset[str] = frozenset()) -> None:
        self.attempts = list(attempts)
        self.devices = waiting
        self.asked: list[tuple[str, str, str]] = []
        self.can_pause = True
        self.broken = ""

    def running(self) -> list[RunningAttempt]:
        return self.attempts

    def waiting(self) -> frozenset[str]:
        return self.devices

    async def pause(self, job_id: str, attempt: int, code: str, text: str) -> bool:
        if job_id == self.broken:
            raise OSError("the disk is gone")
        self.asked.append(("pause", job_id, code))
        return self.can_pause

    async def resume(self, job_id: str, attempt: int, code: str, text: str) -> bool:
        self.asked.append(("resume", job_id, code))
        return True

    async def stop(self, job_id: str, attempt: int, code: str, text: str) -> None:
        self.asked.append(("stop", job_id, code))


def watcher(
    yields: Recorded | LocalYields,
    senses: StandInSenses | PresenceReader,
    clock: Callable[[], float] = time.monotonic,
    policies: YieldPolicies = POLICIES,
) -> YieldWatcher:
    return YieldWatcher(yields, senses, lambda _: COOL, policies, clock)


async def test_nothing_is_read_while_nothing_preemptible_is_there() -> None:
    senses = StandInSenses(present=True)
    yields = Recorded(job(preemptible=False))
    await watcher(yields, senses).look()
    assert senses.reads == 0
    assert yields.asked == []


async def test_work_that_waits_is_told_why() -> None:
    senses, yields = StandInSenses(present=True), Recorded(waiting=frozenset({GPU}))
    watching = watcher(yields, senses)
    assert watching.hold(GPU) is None
    await watching.look()
    hold = watching.hold(GPU)
    assert hold is not None
    assert hold.code == "OwnerPresent"
    yields.devices = frozenset()
    await watching.look()
    assert watching.hold(GPU) is None


async def test_what_cannot_be_paused_is_stopped() -> None:
    yields = Recorded(job("a"), job("kept", preemptible=False))
    yields.can_pause = False
    await watcher(yields, StandInSenses(present=True)).look()
    assert yields.asked == [("pause", "a", "OwnerPresent"), ("stop", "a", "OwnerPresent")]


async def test_one_attempt_that_fails_to_give_way_holds_up_no_other(
    caplog: pytest.LogCaptureFixture,
) -> None:
    yields = Recorded(job("a"), job("b"))
    yields.broken = "a"
    await watcher(yields, StandInSenses(present=True)).look()
    assert yields.asked == [("pause", "b", "OwnerPresent")]
    assert "the disk is gone" in caplog.text


async def test_work_goes_on_when_the_person_has_gone() -> None:
    now = 0.0
    senses = StandInSenses(present=False)
    yields = Recorded(job(state="paused", paused_for="OwnerPresent"))
    watching = watcher(yields, senses, lambda: now)
    await watching.look()
    assert yields.asked == []
    now = CALM_MS["person"] / 1000
    await watching.look()
    assert yields.asked == [("resume", "a", "OwnerPresent")]


async def test_a_desktop_between_two_sessions_is_still_one() -> None:
    senses = StandInSenses(present=True)
    yields = Recorded(job())
    watching = watcher(yields, senses, policies=YieldPolicies())
    await watching.look()
    senses.presence, senses.power = logind.HEADLESS, Power(on_mains=False, percent=9)
    yields.attempts = [job("b")]
    await watching.look()
    assert [name for _, name, _ in yields.asked] == ["a", "b"]


async def test_a_machine_that_never_had_a_session_gives_way_to_nothing_unasked() -> None:
    senses = StandInSenses(present=False)
    senses.presence, senses.power = logind.HEADLESS, Power(on_mains=False, percent=9)
    yields = Recorded(job())
    await watcher(yields, senses, policies=YieldPolicies()).look()
    assert yields.asked == []


# ---- real processes ------------------------------------------------------------------------------


@pytest.fixture
def jobs_dir(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "jobs"
    kill_attempts(tmp_path / "jobs")


def child_of(handle: Handle) -> int:
    return int(str((durable.read_json(Path(handle.job_dir) / "runner.json") or {})["child_pid"]))


def stands(handle: Handle) -> bool:
    return process.stat_fields(child_of(handle))[:1] == ["T"]


SPIN = (sys.executable, "-c", "while True: pass")


async def condition(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while not holds():  # noqa: ASYNC110
            await asyncio.sleep(0.005)


@pytest.mark.skipif(not process.LINUX, reason="reads /proc")
async def test_a_real_process_stands_still_after_a_persons_return(
    jobs_dir: Path,
) -> None:
    handle = await local.start(Launch(job_id="a", attempt=1, kind="command", argv=SPIN), jobs_dir)
    senses = StandInSenses(present=False)
    yields = LocalYields({"a": handle})
    watching = asyncio.create_task(watcher(yields, senses).run())
    try:
        await condition(lambda: senses.reads > 0)
        assert not stands(handle)
        senses.presence = by_idle("stand-in", 0)
        await condition(lambda: stands(handle))
        await condition(lambda: yields.paused_for == {"a": "OwnerPresent"})
    finally:
        watching.cancel()
    assert await local.resume(handle)
    assert not stands(handle)


@pytest.mark.skipif(
    shutil.which("Xvfb") is None or shutil.which("xdotool") is None, reason="no X server here"
)
async def test_a_real_mouse_stops_a_real_process(
    jobs_dir: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    read, write = os.pipe()
    server = subprocess.Popen(  # noqa: ASYNC220
        ["Xvfb", "-displayfd", str(write), "-noreset"],
        pass_fds=[write],
        stderr=subprocess.DEVNULL,
    )
    os.close(write)
    with os.fdopen(read) as said:
        display = f":{said.readline().strip()}"
    monkeypatch.setattr(logind, "is_running", lambda: False)
    monkeypatch.setenv("DISPLAY", display)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    policies = YieldPolicies(machine=YieldPolicy(when=("person",), idle_ms=1_000))
    reader = PresenceReader("linux")
    try:
        found = await reader.read_presence()
        assert found.source == f"X server {display}"
        while (found.idle_ms or 0) < 1_000:
            found = await reader.read_presence()
        handle = await local.start(
            Launch(job_id="a", attempt=1, kind="command", argv=SPIN), jobs_dir
        )
        watching = watcher(LocalYields({"a": handle}), reader, policies=policies)
        await watching.look()
        assert not stands(handle)
        move = ["xdotool", "mousemove", "30", "40"]
        subprocess.run(move, env={**os.environ, "DISPLAY": display}, check=True)  # noqa: ASYNC221
        await watching.look()
        assert stands(handle)
    finally:
        server.terminate()
        server.wait()


def test_the_stand_in_says_what_a_real_source_would() -> None:
    senses = StandInSenses(present=False)
    assert asyncio.run(senses.read_presence()) == by_idle("stand-in", 3_600_000)
