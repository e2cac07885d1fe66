"""An owner's leases: on the disk before the answer, for whoever holds the offer, for good."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from mesh.api.bodies import SALT_BYTES, Body, seal
from mesh.api.errors import RequestError
from mesh.api.wire.claims import Claim
from mesh.edge.disk import StoreError
from mesh.edge.dispatch.pursuit import NO_OFFER
from mesh.state.fold import apply
from mesh.state.state import State
from tests.edge.dispatch.stage import Stage, asks
from tests.state.job_story import ANA, BEN, event, owned, told

BODY, SALT = Body(command=("true",)), bytes(SALT_BYTES)
CAL = "c" * 64


def sent_to_ana() -> State:
    """Ben's job, which he dispatched to Ana's device."""
    sealed = seal(BODY, SALT)
    asked = {"body_hash": sealed.body_hash, "body_bytes": sealed.body_bytes, "kind": "command"}
    story = [
        event("job_submitted", 1, author=BEN, job_id="j", batch=1, **asked),
        event("job_dispatched", 2, author=BEN, device="d", job_id="j", attempt=1, owner=ANA),
    ]
    return told([*owned("d"), *story])


def claim(offer_id: str, body: Body = BODY) -> Claim:
    return Claim(offer_id=offer_id, job_id="j", attempt=1, body=body, salt=SALT.hex())


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path, sent_to_ana())


async def test_the_same_claim_gets_the_same_lease_also_without_its_offer(stage: Stage) -> None:
    owner = stage.dispatch.owner
    offer = await owner.offer(BEN, asks("j", "d"))
    first = await owner.claim(BEN, claim(offer.offer_id))
    assert await owner.claim(BEN, claim(NO_OFFER, Body())) == first
    assert [kind for kind, _, _ in stage.said] == ["job_accepted"]


async def test_without_an_offer_nothing_is_taken(stage: Stage) -> None:
    with pytest.raises(RequestError) as caught:
        await stage.dispatch.owner.claim(BEN, claim(NO_OFFER))
    assert caught.value.code == "HoldLapsed"
    assert stage.said == []


async def test_what_was_refused_once_is_not_taken_by_a_claim_that_comes_late(stage: Stage) -> None:
    """A home restarts, asks without its offer and hears no; then its earlier claim arrives."""
    owner = stage.dispatch.owner
    offer = await owner.offer(BEN, asks("j", "d"))
    for late in (claim(NO_OFFER, Body()), claim(offer.offer_id)):
        with pytest.raises(RequestError) as caught:
            await owner.claim(BEN, late)
        assert caught.value.code == "HoldLapsed"
    assert stage.said == []


async def test_a_full_disk_keeps_the_offer_for_the_same_claim_and_refuses_others_meanwhile(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def full(_: Sequence[object]) -> object:
        raise StoreError("no space left on device")

    owner = stage.dispatch.owner
    offer = await owner.offer(BEN, asks("j", "d"))
    with monkeypatch.context() as patched:
        patched.setattr(stage, "emit_all", full)
        with pytest.raises(StoreError):
            await owner.claim(BEN, claim(offer.offer_id))
    with pytest.raises(RequestError, match="takes nothing just now"):
        await owner.offer(BEN, asks("k", "d"))
    assert (await owner.claim(BEN, claim(offer.offer_id))).status == "queued"


async def test_once_a_job_was_adopted_its_old_home_gets_no_lease_and_no_last_word(
    stage: Stage,
) -> None:
    owner = stage.dispatch.owner
    offer = await owner.offer(BEN, asks("j", "d"))
    apply(stage.state, event("job_adopted", 3, author=CAL, device="none", job_id="j", epoch=1))
    with pytest.raises(RequestError) as old:
        await owner.claim(BEN, claim(offer.offer_id))
    assert old.value.code == "StaleView"
    with pytest.raises(RequestError) as new:
        await owner.claim(CAL, claim(NO_OFFER, Body()))
    assert new.value.code == "HoldLapsed"


async def test_who_adopted_a_job_learns_of_the_lease_that_its_old_home_got(stage: Stage) -> None:
    owner = stage.dispatch.owner
    offer = await owner.offer(BEN, asks("j", "d"))
    lease = await owner.claim(BEN, claim(offer.offer_id))
    apply(stage.state, event("job_adopted", 9, author=CAL, device="none", job_id="j", epoch=1))
    assert await owner.claim(CAL, claim(NO_OFFER, Body())) == lease
