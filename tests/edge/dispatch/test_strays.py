"""What runs here though no lease that counts tells of it: it is booked, said again or ended."""

import asyncio
import sys
from pathlib import Path

import pytest

from mesh.api.bodies import SALT_BYTES, Body
from mesh.api.wire.claims import Claim
from mesh.edge.dispatch.pursuit import NO_OFFER
from mesh.edge.jobs import strays as strays_module
from mesh.policy.commands import EndStray
from mesh.state.fold import fold
from providers.base import Launch, Outcome
from providers.here import LocalAttempts
from tests.edge.dispatch.stage import Stage
from tests.edge.dispatch.test_leases import sent_to_ana
from tests.state.job_story import BEN, event, owned, told

SLEEPS = Launch(
    job_id="j",
    attempt=1,
    kind="command",
    argv=(sys.executable, "-c", "import time; time.sleep(60)"),
)
NO_SALT = bytes(SALT_BYTES).hex()


async def runs(stage: Stage) -> None:
    """The attempt was begun by a lease of which nobody knows any more."""
    await LocalAttempts(stage.folder / "jobs").start(SLEEPS)


async def outcome(stage: Stage) -> Outcome:
    here = LocalAttempts(stage.folder / "jobs")
    async with asyncio.timeout(20):
        while True:
            found = await here.poll("j", 1)
            if found is not None:
                return found


async def test_an_owner_that_is_let_in_again_bills_what_ran_when_its_home_withdraws(
    tmp_path: Path,
) -> None:
    stage = Stage(tmp_path, sent_to_ana())
    await runs(stage)
    owner = stage.dispatch.owner
    lease = await owner.withdraw(BEN, "j", 1)
    ended = await outcome(stage)
    async with asyncio.timeout(20):
        while not stage.state.jobs["j"].attempts[0].ended:
            lease = await owner.withdraw(BEN, "j", 1)
    said = [kind for kind, _, _ in stage.said]
    assert (said[0], said[-1], lease.status) == ("job_accepted", "job_failed", "failed")
    assert stage.said[-1][2]["actual_duration_ms"] == ended.duration_ms > 0


async def test_an_owner_that_is_let_in_again_says_a_lease_again_and_goes_on(tmp_path: Path) -> None:
    """Its home claims what it dispatched, and has no offer any more."""
    stage = Stage(tmp_path, sent_to_ana())
    await runs(stage)
    claim = Claim(offer_id=NO_OFFER, job_id="j", attempt=1, body=Body(), salt=NO_SALT)
    lease = await stage.dispatch.owner.claim(BEN, claim)
    assert (lease.status, [kind for kind, _, _ in stage.said]) == ("queued", ["job_accepted"])
    await LocalAttempts(stage.folder / "jobs").cancel("j", 1)
    await outcome(stage)


async def test_a_stray_has_its_device_and_is_ended_once_nobody_claims_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ana restarts; the job that runs here is not in her ledger any more, and another one waits."""
    waits = [
        event("job_submitted", 1, job_id="k", kind="command", batch=1, command=["true"]),
        event("job_dispatched", 2, job_id="k", device="d"),
    ]
    stage = Stage(tmp_path, told([*owned("d"), *waits]))
    await runs(stage)
    stage.effects.look(LocalAttempts(tmp_path / "jobs").running())
    assert stage.effects.begun == {("j", 1): ("d",)}
    line = stage.dispatch.line
    await line._look()
    stage.effects.settle(acts=True)
    assert line.decide(stage.effects.begun, lambda: None).start == ()
    assert stage.effects.strays.due() == frozenset()
    monkeypatch.setattr(strays_module, "GRACE_S", 0.0)
    stage.effects.settle(acts=True)
    assert stage.effects.strays.due() == {("j", 1)}
    async with asyncio.timeout(20):
        while stage.effects.begun:
            await stage.effects.run(EndStray("j", 1))
    assert (await outcome(stage)).reason == "cancelled"
    stage.effects.settle(acts=True)
    assert line.decide(stage.effects.begun, lambda: None).start == (("k", 1),)


async def test_whose_own_chain_is_not_here_yet_ends_no_stray(tmp_path: Path) -> None:
    """After the restore of an older copy its leases are at its neighbours."""
    stage = Stage(tmp_path, fold(owned("d")))
    stage.effects.begun = {("j", 1): ("d",)}
    stage.effects.settle(acts=False)
    assert ("j", 1) not in stage.effects.strays
    assert stage.effects.begun == {("j", 1): ("d",)}
