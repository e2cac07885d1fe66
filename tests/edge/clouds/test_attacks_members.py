"""What a member gone bad can make of this peer's account by what it writes: it spends no money of
ours, ends no machine that is not ours, and its removal restores all."""

import copy

import pytest

from mesh.policy.rentals.values import Shares
from tests.edge.clouds.attacked import CROOK, ME, T0, Attacked

USD = 10**9
HUGE = {"request_id": "evil", "life_ms": 300 * 86_400_000, "cap_nusd": 1 << 52}


async def test_who_says_of_itself_that_it_had_the_account_has_nothing_rented() -> None:
    peer = Attacked(Shares(day_nusd=10**6 * USD))
    await peer.steps(20)
    peer.write("account_taken", epoch=1, peer=CROOK)
    assert peer.actor.owns, "an older turn changes nothing"
    peer.write("rental_requested", **HUGE)
    await peer.steps(30)
    assert (peer.cloud.made, peer.actor.reasons) == ([], {"evil": "not_allowed"})


async def test_whom_this_peer_gave_the_account_may_have_machines_rented() -> None:
    peer = Attacked()
    await peer.steps(20)
    peer.write("account_taken", ME, epoch=2, peer="B")
    peer.write("account_taken", ME, epoch=3, peer=ME)
    peer.write("rental_requested", "B", **{**HUGE, "life_ms": 3_600_000})
    await peer.steps(30)
    assert len(peer.cloud.made) == 1


async def test_no_machine_of_a_persons_own_ends_by_another_members_word() -> None:
    peer = Attacked()
    rental_id = await peer.rented()
    peer.cloud.rows.append(peer.row("777", "my training run"))
    await peer.steps(20)
    peer.write("account_taken", epoch=1, peer=CROOK)
    named = {"rental_id": rental_id, "turn": T0 + 10**9, "at_ms": T0 + 10**6}
    peer.write("instance_found", instance_id="777", why="x", begun_ms=T0, **named)
    peer.write("return_decided", why="x", **named)
    await peer.steps(120)
    assert "777" not in peer.cloud.ended
    told = [of for of, why in peer.alarms if why == "not_ours"]
    assert len(told) == len(set(told)) > 0, "once of each"


async def test_a_forged_rental_of_a_foreign_machine_is_spared_and_told() -> None:
    peer = Attacked()
    await peer.steps(20)
    peer.cloud.rows = [peer.row("777", "my training run")]
    await peer.steps(10)
    peer.write("account_taken", epoch=1, peer=CROOK)
    found = {"label": "fl-m1-x-6a8f0000", "instance_id": "777", "rate_nusd": 1, "since_ms": T0}
    named = {"rental_id": "x", "turn": T0, "at_ms": T0}
    peer.write("duplicate_found", expires_ms=T0, **found, **named)
    await peer.steps(60)
    assert peer.cloud.ended == []
    assert ("x", "not_ours") in peer.alarms


async def test_what_this_peer_made_ends_though_a_person_renamed_it() -> None:
    peer = Attacked()
    rental_id = await peer.rented()
    one = peer.actor.rental(rental_id)
    assert one is not None
    peer.cloud.rows = [peer.row(one.instance_id, "renamed")]
    await peer.actor.give_back(rental_id, "cancelled")
    await peer.steps(20)
    assert one.instance_id in peer.cloud.ended


async def test_removing_the_member_restores_what_it_turned_upside_down() -> None:
    peer = Attacked()
    rental_id = await peer.rented()
    before = copy.deepcopy(peer.state.rentals.believed())
    peer.write("account_taken", epoch=99_999, peer=CROOK)
    named = {"rental_id": rental_id, "turn": T0, "at_ms": T0}
    proof = {"end_ms": T0, "last_ms": T0, "proved_ms": T0}
    peer.write("absence_confirmed", why="x", **proof, **named)
    peer.write("rental_invoiced", amount_nusd=1 << 52, step_nusd=1, **named)
    peer.write("request_ended", request_id="r1", why="x")
    assert not peer.actor.owns
    assert peer.state.rentals.believed() != before
    peer.state.rentals.drop(CROOK)
    assert peer.actor.owns
    assert peer.state.rentals.believed() == before


@pytest.mark.parametrize(("crook", "taken"), [("0", True), ("Z", False)])
async def test_that_an_account_could_not_be_taken_back_is_said(crook: str, *, taken: bool) -> None:
    peer = Attacked()
    await peer.steps(20)
    peer.write("account_taken", crook, epoch=99_999, peer=crook)
    assert not peer.actor.owns
    assert await peer.actor.take() is taken
    peer.state.rentals.drop(crook)
    assert peer.actor.owns


async def test_a_turn_of_the_year_9999_keeps_no_event_of_ours_out() -> None:
    peer = Attacked()
    rental_id = await peer.rented()
    peer.write("account_taken", epoch=1, peer=CROOK)
    last = 253_402_300_799_999
    peer.write("alarm_raised", why="x", rental_id=rental_id, turn=last, at_ms=last)
    await peer.actor.give_back(rental_id, "cancelled")
    await peer.steps(10)
    one = peer.actor.rental(rental_id)
    assert one is not None
    assert (one.over, peer.cloud.ended[:1]) == ("cancelled", [one.instance_id])


async def test_a_full_disk_is_told_once_and_the_machine_is_returned_when_it_has_room(
    capfd: pytest.CaptureFixture[str],
) -> None:
    peer = Attacked()
    rental_id = await peer.rented()
    peer.full = True
    peer.write("request_ended", ME, request_id="r1", why="cancelled")
    for _ in range(20):
        try:
            await peer.actor._step()
        except OSError as error:
            peer.actor._report(error)
    assert capfd.readouterr().err.count("\nOSError: ") == 1
    peer.full = False
    await peer.steps(10)
    one = peer.actor.rental(rental_id)
    assert one is not None
    assert peer.cloud.ended[:1] == [one.instance_id]


async def test_whom_a_person_wants_ended_is_ended_though_the_disk_is_full() -> None:
    peer = Attacked()
    rental_id = await peer.rented()
    one = peer.actor.rental(rental_id)
    assert one is not None
    peer.full = True
    taken, unwritten = await peer.actor.end_machine(one.instance_id)
    assert (taken, peer.cloud.ended) == (True, [one.instance_id])
    assert "No space left on device" in unwritten
    assert one.wanted, "nothing says that it is over: who asked is told so"
    peer.full = False
    assert await peer.actor.end_machine(one.instance_id) == (True, "")
    after = peer.actor.rental(rental_id)
    assert after is not None
    assert after.over == "orphan"
