"""A cancel while a start is on its way: what comes too late never runs, what was heard ends."""

import asyncio
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from mesh.edge.ssh.work import HostAttempts
from providers.base import ProviderError, Unheard
from providers.ssh.attempts import SshAttempts
from providers.ssh.bring import tries
from providers.ssh.client import Unreached
from providers.ssh.framing import Answer
from providers.ssh.pool import Reach
from tests.providers.ssh.conftest import Reaches
from tests.providers.ssh.test_attempts import WAYS, ended, jobs_folder, launch, sleepers, until
from tests.support.sshd import Sshd


class Line:
    """A link that may hold a start back, lose it, or lose its answer."""

    def __init__(self, reach: Reach) -> None:
        self.reach = reach
        self.does = ""
        self.held, self.let = asyncio.Event(), asyncio.Event()

    async def run(self, script: str, limit_s: float, **more: object) -> Answer:
        starts = ' "$H" start ' in script
        if starts and self.does == "hold":
            self.held.set()
            await self.let.wait()
        if starts and self.does == "lose it":
            raise Unreached("the link broke")
        answer = await self.reach.run(script, limit_s, **more)  # type: ignore[arg-type]
        if starts and self.does == "lose its answer":
            raise Unreached("the link broke")
        return answer

    async def feed(self, script: str, pieces: Iterator[bytes], limit_s: float) -> Answer:
        return await self.reach.feed(script, pieces, limit_s)


@pytest.mark.parametrize("way", sorted(WAYS))
async def test_a_start_that_comes_after_its_cancel_does_not_run(
    sshd: Sshd, reaches: Reaches, way: str
) -> None:
    host = sshd.account(f"late-{way}")
    line = Line(reaches.to(host))
    line.does = "hold"
    slow = SshAttempts(line, **WAYS[way])  # type: ignore[arg-type]
    starting = asyncio.create_task(slow.start(launch("late", "sh", "-c", "echo ran >>../ran")))
    await line.held.wait()
    quick = SshAttempts(reaches.to(host), **WAYS[way])  # type: ignore[arg-type]
    await quick.cancel("late", 0)
    assert (await ended(quick, "late")).reason == "cancelled"
    line.let.set()
    await starting
    outcome = await ended(slow, "late")
    assert (outcome.reason, outcome.duration_ms) == ("cancelled", 0)
    assert not (jobs_folder(sshd, host.name) / "late.0" / "ran").exists()


@pytest.mark.parametrize("way", ["python", "shell"])
async def test_a_cancel_that_meets_a_start_on_its_way_is_never_missed(
    sshd: Sshd, reaches: Reaches, way: str
) -> None:
    host = sshd.account(f"meets-{way}")
    starter, canceller = (
        SshAttempts(reaches.to(host), grace_s=1, **WAYS[way])  # type: ignore[arg-type]
        for _ in range(2)
    )
    await starter.start(launch("warm", "true"))
    by_chance = random.Random(7)
    for number in range(20):
        job = launch(f"m{number}", "sleep", "7771")
        starting = asyncio.create_task(starter.start(job))
        await asyncio.sleep(by_chance.uniform(0, 0.12))
        await canceller.cancel(job.job_id, 0)
        assert (await ended(canceller, job.job_id)).reason == "cancelled"
        await starting
    assert sleepers("7771") == []


@pytest.mark.parametrize("lost", ["lose it", "lose its answer"])
async def test_a_start_nobody_knows_of_is_asked_for_again_or_cancelled_for_good(
    sshd: Sshd, reaches: Reaches, tmp_path: Path, lost: str
) -> None:
    line = Line(reaches.to(sshd.account(f"lost-{lost[-1]}")))
    attempts = HostAttempts(
        SshAttempts(line, grace_s=1), lambda job, number: tmp_path / job / str(number)
    )
    await attempts.start(launch("warm", "true"))
    await attempts.give("given", 0, [])
    assert not attempts.begun("given", 0)  # something of it lies there, and nothing was started
    for job in ("again", "never"):
        line.does = lost
        with pytest.raises(Unheard):
            await attempts.start(launch(job, "sleep", "7772"))
        assert attempts.begun(job, 0)
        assert not attempts.ran(job, 0)
        line.does = ""
    await attempts.start(launch("again", "sleep", "7772"))
    assert await attempts.poll("again", 0) is None
    for job in ("again", "never"):
        await attempts.cancel(job, 0)
        assert attempts.ran(job, 0)  # the host will say how it went
        outcome = await until(lambda job=job: attempts.poll(job, 0))
        assert outcome.reason == "cancelled"  # type: ignore[attr-defined]
        assert lost != "lose it" or job == "again" or outcome.duration_ms == 0  # type: ignore[attr-defined]
    assert sleepers("7772") == []
    with pytest.raises(ProviderError, match="holds nothing"):
        await attempts.poll("other", 0)
    await attempts.cancel("other", 0)  # never begun: there is nothing to tell the host
    with pytest.raises(ProviderError, match="holds nothing"):
        await attempts.poll("other", 0)


async def test_what_an_attempt_is_brought_comes_over_a_link_that_breaks(
    sshd: Sshd, reaches: Reaches, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tries, "FIRST_PAUSE_S", 0.01)
    host = SshAttempts(reaches.to(sshd.account("breaks")))
    attempts = HostAttempts(host, lambda job, number: tmp_path / job / str(number))
    given, left = host.give, [1, 2, 3]

    async def broken(*args: object) -> None:
        if left:
            left.pop()
            raise Unreached("the link broke")
        await given(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(host, "give", broken)
    await attempts.give("j", 1, [])
    left += range(tries.TRIES)
    with pytest.raises(Unreached):
        await attempts.give("k", 1, [])
    assert not attempts.begun("k", 1)
