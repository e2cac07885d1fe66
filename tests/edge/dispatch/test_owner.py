"""What an owner answers to the homes of jobs: once, durably, and to nobody else."""

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import pytest

from mesh.api.bodies import Body, seal
from mesh.api.errors import RequestError
from mesh.api.wire.claims import Claim, Lease
from mesh.edge.dispatch import holds, owner
from mesh.policy.commands import StartJob
from mesh.state.fold import apply
from mesh.state.members import Members
from tests.edge.dispatch.stage import Stage, asks
from tests.state.job_story import ANA, BEN, event, told

CID = "c" * 64
SALT = bytes(16)
BODY = Body(command=("true",))


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    """Ana's peer with one device, and a job of Ben's that he dispatched there."""
    facts = {"name": "rig", "kind": "cpu", "described_by": "probe", "memory_bytes": 1 << 34}
    facts |= {"free_bytes": 1 << 34, "ram_free_bytes": 1 << 34}
    made = Stage(tmp_path, told([event("device_registered", 0, device="dev", **facts)]))
    submit(made, "b1")
    return made


async def test_an_offer_counts_the_time_a_model_takes_to_its_host(stage: Stage) -> None:
    made = owner.LocalOwner(
        stage.folder,
        stage,
        stage.dispatch.line,
        stage.effects,
        stage,
        lambda device_id, size: size // 1000 if device_id == "dev" else 0,
    )
    told_of = {"model_hash": "a" * 32, "model_bytes": 40_000}
    for kind, wanted in (("model", 40), ("command", 0)):
        asked = msgspec.structs.replace(asks("a1", "dev", **told_of), kind=kind)
        assert (await made.offer(ANA, asked)).fetch_ms == wanted


def submit(stage: Stage, job_id: str, home: str = BEN) -> None:
    sealed = seal(BODY, SALT)
    body = {"body_hash": sealed.body_hash, "body_bytes": sealed.body_bytes}
    asked = {"job_id": job_id, "kind": "command", **body}
    apply(stage.state, event("job_submitted", 5, author=home, **asked))


def dispatch(stage: Stage, job_id: str, attempt: int = 1, home: str = BEN) -> None:
    named = {"job_id": job_id, "attempt": attempt, "owner": ANA}
    apply(stage.state, event("job_dispatched", 6, author=home, device="dev", **named))


async def offered(stage: Stage, job_id: str = "b1", attempt: int = 1, home: str = BEN) -> str:
    return (await stage.dispatch.owner.offer(home, asks(job_id, "dev", attempt))).offer_id


def claim(offer_id: str, job_id: str = "b1", attempt: int = 1, body: Body = BODY) -> Claim:
    return Claim(offer_id=offer_id, job_id=job_id, attempt=attempt, body=body, salt=SALT.hex())


async def refused(asked: Any) -> str:
    with pytest.raises(RequestError) as caught:
        await asked
    return caught.value.code


async def test_the_same_claim_gets_the_same_lease_and_one_event(stage: Stage) -> None:
    offer = await offered(stage)
    dispatch(stage, "b1")
    taken = await asyncio.gather(
        *(stage.dispatch.owner.claim(BEN, claim(offer)) for _ in range(8)), return_exceptions=True
    )
    assert {type(one) for one in taken} == {Lease}
    assert len(set(map(repr, taken))) == 1
    assert [kind for kind, _, _ in stage.said] == ["job_accepted"]
    assert (stage.folder / "jobs" / "b1" / "request.json").exists()


async def test_a_lease_is_durable_before_it_is_answered(stage: Stage) -> None:
    offer = await offered(stage)
    dispatch(stage, "b1")

    async def full(facts: object) -> list[Any]:
        raise OSError("no space")

    stage.emit_all = full  # type: ignore[method-assign]
    with pytest.raises(OSError, match="no space"):
        await stage.dispatch.owner.claim(BEN, claim(offer))
    assert stage.state.jobs["b1"].status == "dispatched"


async def test_a_claim_counts_only_while_its_offer_is_held(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    dispatch(stage, "b1")
    assert await refused(stage.dispatch.owner.claim(BEN, claim("0" * 32))) == "HoldLapsed"
    monkeypatch.setattr(holds, "HOLD_S", 0.0)
    offer = await offered(stage)
    assert await refused(stage.dispatch.owner.claim(BEN, claim(offer))) == "HoldLapsed"


async def test_an_offer_is_for_one_home_one_job_and_one_attempt(stage: Stage) -> None:
    offer = await offered(stage)
    dispatch(stage, "b1")
    dispatch(stage, "b1", 2)
    submit(stage, "c1", CID)
    dispatch(stage, "c1", home=CID)
    for home, asked in ((BEN, claim(offer, attempt=2)), (CID, claim(offer, "c1"))):
        assert await refused(stage.dispatch.owner.claim(home, asked)) == "HoldLapsed"


async def test_another_home_gets_neither_an_offer_nor_a_lease_nor_the_output(stage: Stage) -> None:
    offer = await offered(stage)
    dispatch(stage, "b1")
    await stage.dispatch.owner.claim(BEN, claim(offer))
    assert await refused(stage.dispatch.owner.offer(CID, asks("b1", "dev"))) == "StaleView"
    assert await refused(stage.dispatch.owner.claim(CID, claim(offer))) == "StaleView"
    asked = stage.dispatch.owner.output(CID, "b1", 1, "log.txt", 0, 0.0)
    assert await refused(asked) == "NotTrusted"
    asked = stage.dispatch.owner.output(BEN, "b1", 1, "../request.json", 0, 0.0)
    assert await refused(asked) == "NotTrusted"


async def test_what_is_not_what_was_signed_is_not_taken(stage: Stage) -> None:
    offer = await offered(stage)
    dispatch(stage, "b1")
    other = claim(offer, body=Body(command=("rm", "-rf", "/")))
    assert await refused(stage.dispatch.owner.claim(BEN, other)) == "BadBody"
    assert stage.said == []
    assert not (stage.folder / "jobs" / "b1").exists()


async def test_a_job_whose_facts_have_not_come_is_asked_for_again(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(owner, "FACTS_S", 0.0)
    assert await refused(stage.dispatch.owner.claim(BEN, claim("0" * 32, "b9"))) == "StaleView"


async def test_an_id_that_names_another_home_is_refused(stage: Stage) -> None:
    taken = asks("j-aaaaaaaaaa-1", "dev")
    assert await refused(stage.dispatch.owner.offer(BEN, taken)) == "NotTrusted"


async def test_a_peer_without_the_runner_role_gets_no_place_and_no_lease(stage: Stage) -> None:
    stage.state.members = Members(root=ANA)
    for asked in (
        stage.dispatch.owner.offer(BEN, asks("b1", "dev")),
        stage.dispatch.owner.claim(BEN, claim("0" * 32)),
    ):
        assert await refused(asked) == "NotTrusted"
    assert stage.said == []


async def test_a_home_that_is_no_runner_any_more_learns_of_its_lease_and_may_end_it(
    stage: Stage,
) -> None:
    """What it has there waits in the queue, and may run for whoever adopts the job."""
    offer = await offered(stage)
    dispatch(stage, "b1")
    lease = await stage.dispatch.owner.claim(BEN, claim(offer))
    stage.state.members = Members(root=ANA)
    assert await stage.dispatch.owner.claim(BEN, claim("0" * 32)) == lease
    assert await stage.dispatch.owner.status(BEN, "b1", 1) == lease
    await stage.dispatch.line._look()
    found = stage.dispatch.line.decide(frozenset(), lambda: None)
    assert (found.start, found.reasons["b1", 1].code) == ((), "NotTrusted")
    assert not stage.dispatch.line.open_to(*stage.dispatch.owner._attempt("b1", 1))
    assert (await stage.dispatch.owner.withdraw(BEN, "b1", 1)).status == "cancelled"


async def test_an_owner_whose_word_does_not_count_takes_nothing_and_does_nothing(
    stage: Stage,
) -> None:
    """It would sign the same end for ever, and nobody would believe it."""
    offer = await offered(stage)
    dispatch(stage, "b1")
    stage.state.members = Members(root=BEN)
    assert await refused(stage.dispatch.owner.offer(BEN, asks("b1", "dev", 2))) == "StaleView"
    assert await refused(stage.dispatch.owner.claim(BEN, claim(offer))) == "StaleView"
    stage.dispatch.dispatcher.carry_out([StartJob("b1")])
    assert stage.dispatch.dispatcher._tasks == {}
    stage.state.members = Members()
    assert (await stage.dispatch.owner.claim(BEN, claim(offer))).status == "queued"


async def test_a_withdrawn_attempt_never_begins(stage: Stage) -> None:
    offer = await offered(stage)
    dispatch(stage, "b1")
    assert (await stage.dispatch.owner.withdraw(BEN, "b1", 1)).status == "cancelled"
    assert (await stage.dispatch.owner.claim(BEN, claim(offer))).status == "cancelled"
    assert [kind for kind, _, _ in stage.said] == ["job_cancelled"]


async def test_a_home_that_asks_for_everything_is_given_a_bounded_part(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(holds, "MAX_HOLDS_PER_HOME", 3)
    for number in range(3):
        submit(stage, f"n{number}")
        await offered(stage, f"n{number}")
    submit(stage, "n9")
    assert await refused(stage.dispatch.owner.offer(BEN, asks("n9", "dev"))) == "Busy"
    submit(stage, "c1", CID)
    assert await offered(stage, "c1", home=CID)


async def test_a_device_too_small_says_so(stage: Stage) -> None:
    asked = asks("b1", "dev", memory_bytes=1 << 40)
    assert await refused(stage.dispatch.owner.offer(BEN, asked)) == "NoFit"


async def test_an_offer_says_when_the_attempt_would_start_and_end(stage: Stage) -> None:
    offer = await stage.dispatch.owner.offer(BEN, asks("b1", "dev", p50_ms=5000, p90_ms=9000))
    said = offer.standing
    assert (said.start_p50_ms, said.end_p50_ms, said.end_p90_ms) == (0, 5000, 9000)
    assert (said.p_ppm, said.code) == (None, "")


async def test_a_home_hears_why_its_jobs_wait_and_nobody_elses(stage: Stage) -> None:
    offer = await offered(stage)
    dispatch(stage, "b1")
    await stage.dispatch.owner.claim(BEN, claim(offer))
    apply(stage.state, event("device_drained", 7, device="dev", reason_code="upgrade"))
    await stage.dispatch.line._look()
    stage.dispatch.line.decide(frozenset(), lambda: None)
    (lease,) = (await stage.dispatch.owner.waiting(BEN)).leases
    assert (lease.job_id, lease.status, lease.standing.code) == ("b1", "queued", "Drained")
    assert "upgrade" in lease.standing.text
    assert (await stage.dispatch.owner.waiting(CID)).leases == []
