"""What people ask of budgets: caps, grants, who may, and what is told at which level."""

from __future__ import annotations

from typing import Any

import pytest

from mesh.api.errors import RequestError
from mesh.edge.clouds.renting.budgets import Budgets as OfRentals
from mesh.edge.dispatch.home import Budgets as OfJobs
from mesh.state.budgets.budget import MAX_PERIOD
from mesh.state.members import ADMIN, MEMBER, RUNNER
from mesh.state.peer_id import peer_id
from tests.edge.budgets.stage import ANA, BEN, MONTHLY, Peer
from tests.state.held_budgets import NOV, USD
from tests.state.test_rentals import INTENT

DAY_MS = 86_400_000


async def refused(asked: Any) -> RequestError:
    with pytest.raises(RequestError) as caught:
        await asked
    return caught.value


async def test_a_cap_counts_from_this_period_on_and_the_later_word_takes_its_place() -> None:
    ana = Peer()
    first = await ana.cap("50", per="month")
    assert first == {
        "name": "fleet per month", "cap_nusd": 50 * USD, "was_nusd": 0, "lifted": False,
        "new": True, "others": 0, "note": "",
    }  # fmt: skip
    ana.clock += 40 * DAY_MS
    assert (await ana.cap("60"))["was_nusd"] == 50 * USD
    word = ana.state.budgets.word(ANA)
    assert list(word.caps[MONTHLY]) == [(NOV, MAX_PERIOD)], "said anew it takes no more room"
    assert ana.row["cap_nusd"] == 60 * USD


async def test_a_lifted_budget_limits_nothing_and_is_shown_no_more() -> None:
    ana = Peer()
    await ana.cap("0")
    assert await ana.rents("r", 1) != ""
    await ana.service.set({"lift": True}, ADMIN)
    assert await ana.rents("r", 1) == ""
    assert ana.service.rows()["budgets"] == []
    error = await refused(ana.service.set({"lift": True}, ADMIN))
    assert (error.code, error.text) == ("NotFound", "this peer set no budget fleet per month")
    await ana.cap("3")
    assert ana.row["cap_nusd"] == 3 * USD


async def test_where_one_budget_has_another_zone_it_need_not_be_named_again() -> None:
    ana = Peer()
    await ana.cap("5", per="day", tz="Europe/Berlin")
    await ana.cap("6", per="day")
    assert (ana.row["cap_nusd"], ana.row["tz"]) == (6 * USD, "Europe/Berlin")
    await ana.cap("7", per="day", tz="UTC")
    error = await refused(ana.cap("8", per="day"))
    assert (error.code, error.hint) == ("Ambiguous", "add --tz Europe/Berlin or UTC")


async def test_only_an_admin_caps_the_fleet_and_a_keys_maker_its_key() -> None:
    ana = Peer()
    for pick in ({}, {"user": peer_id(ANA)}, {"provider": "vastai"}, {"job": "theirs"}):
        error = await refused(ana.service.set({"amount": "1", **pick}, RUNNER))
        assert (error.code, error.status) == ("WrongRole", 403), pick
    ana.write("key_added", key_id="k-1", name="ci", hash="f" * 64)
    said = await ana.service.set({"amount": "1", "key": "ci"}, MEMBER)
    assert said["name"] == "key ci per month"
    ana.submit("mine")
    await ana.service.set({"amount": "1", "job": "mine", "per": "total"}, MEMBER)


async def test_a_users_budget_counts_what_that_peer_asks_for_and_refuses_by_its_name() -> None:
    ana = Peer()
    await ana.cap("1", user=peer_id(ANA))
    assert ana.row["of"] == peer_id(ANA)[:7]
    no = await ana.rents("r", 2)
    assert no.startswith(f"the budget user {peer_id(ANA)[:7]} per month has $1.00 left")


async def test_a_providers_budget_counts_what_is_rented_there_alone() -> None:
    ana = Peer()
    await ana.cap("1", provider="vastai")
    assert await ana.rents("r1", 2) != ""
    assert await ana.rents("r2", 2, "runpod") == ""


async def test_nested_budgets_must_all_have_room_and_nothing_is_held_where_one_has_none() -> None:
    ana = Peer()
    await ana.cap("10")
    await ana.cap("1", per="day")
    assert "fleet per day" in await ana.rents("r", 2)
    assert {row["held_nusd"] for row in ana.service.rows()["budgets"]} == {0}


async def test_what_is_granted_must_be_there() -> None:
    ana = Peer()
    error = await refused(ana.service.grant({"peer": peer_id(ANA), "amount": "1"}, ADMIN))
    assert error.text == "a budget's money is given to another peer"
    error = await refused(ana.service.grant({"peer": "ben", "amount": "1"}, ADMIN))
    assert (error.code, error.hint) == ("NotFound", "fleet peers lists them")
    vars(vars(ana.service)["_asking"])["_peer"] = lambda _: BEN
    error = await refused(ana.service.grant({"peer": "ben", "amount": "1"}, ADMIN))
    assert error.text == "this peer has nothing of a budget --per month"
    await ana.cap("3")
    error = await refused(ana.service.grant({"peer": "ben", "amount": "5"}, ADMIN))
    assert error.text == (
        "the budget fleet per month has $3.00 left in 2026-11 on this peer, and this gives $5.00:"
        " $2.00 are missing"
    )
    said = await ana.service.grant({"peer": "ben", "amount": "2", "periods": 3}, ADMIN)
    assert (said["from"], said["to"]) == ("2026-11", "2027-01")
    error = await refused(ana.service.grant({"peer": "ben", "amount": "2"}, RUNNER))
    assert error.code == "WrongRole"


async def test_a_cap_by_a_peer_that_made_neither_key_nor_job_is_shown_as_one_that_counts_nowhere(
) -> None:  # fmt: skip
    ana = Peer()
    ana.submit("mine")
    await ana.cap("1", job="mine", per="total")
    assert ana.row["counts"]
    await ana.cap("1", job="nobodys", per="total")
    rows = {row["of"]: row["counts"] for row in ana.service.rows()["budgets"]}
    assert rows == {"mine": True, "nobodys": True}, "alone, whoever says so is an admin"


async def test_a_provider_is_signed_by_its_own_name_and_one_that_nobody_knows_is_refused() -> None:
    ana = Peer()
    await ana.cap("5", provider="Vast")
    assert (ana.row["of"], await ana.rents("r", 6) != "") == ("vastai", True)
    error = await refused(ana.cap("5", provider="vastia"))
    assert (error.code, error.status) == ("NotFound", 404)
    assert error.text == (
        "provider: nobody rents at 'vastia'; there are lambdalabs, runpod, vastai"
    )
    assert len(ana.service.rows()["budgets"]) == 1


async def test_a_provider_that_a_newer_peer_rents_at_is_one() -> None:
    ana = Peer()
    ana.write("account_taken", provider="newcloud", account="main", epoch=1, peer=ANA)
    named = {"rental_id": "r1x1x1xabc", "turn": 1, "at_ms": ana.clock}
    ana.write("rental_intended", provider="newcloud", account="main", **named, **INTENT)
    await ana.cap("5", provider="newcloud")
    assert ana.row["counts"]


async def test_a_budget_of_a_provider_that_never_was_counts_nowhere_and_can_be_lifted() -> None:
    ana = Peer()
    vast = {"owner": ANA, "scope": "provider", "of": "vast", "per": "month", "zone": ""}
    ana.write("budget_cap_set", budget=vast, cap_nusd=USD, first=NOV, last=MAX_PERIOD, owned="")
    assert (ana.row["of"], ana.row["counts"]) == ("vast", False)
    await ana.service.set({"lift": True, "provider": "vast"}, ADMIN)
    assert ana.service.rows()["budgets"] == []


async def test_a_key_that_works_no_more_is_not_limited_and_its_budget_can_be_lifted() -> None:
    ana = Peer()
    ana.write("key_added", key_id="k-1", name="ci", hash="f" * 64)
    await ana.cap("5", key="ci")
    ana.write("key_revoked", key_id="k-1")
    for name in ("ci", "k-1"):
        error = await refused(ana.cap("6", key=name))
        assert (error.code, error.text) == (
            "KeyRevoked", "the key ci works no more: there is nothing to limit",
        )  # fmt: skip
    assert (await refused(ana.cap("6", key="cd"))).code == "NotFound"
    assert (await refused(ana.cap("6", user="zoe"))).code == "NotFound"
    await ana.service.set({"lift": True, "key": "ci"}, ADMIN)
    assert ana.service.rows()["budgets"] == []


async def test_of_a_job_that_is_not_there_it_is_said_that_nothing_is_limited_yet() -> None:
    ana = Peer()
    said = await ana.cap("1", job="j", per="total")
    assert said["note"] == "there is no job j yet: until there is one, the budget limits nothing"
    ana.submit()
    assert (await ana.cap("2", job="j", per="total"))["note"] == ""
    ana.write("job_dispatched", "d", job_id="j", attempt=1)
    ana.write("job_completed", "d", job_id="j", attempt=1)
    said = await ana.cap("3", job="j", per="total")
    assert said["note"] == "the job j has ended: the budget limits nothing"


async def test_a_raised_cap_is_watched_from_its_first_level_on() -> None:
    ana = Peer()
    await ana.cap("5", per="total")
    for n, (dollars, cap) in enumerate(((4.5, "50"), (40, "50"), (5, "50"))):
        await ana.rents(f"r{n}", dollars)
        await ana.service.step()
        await ana.cap(cap, per="total")
        await ana.service.step()
    texts = [row["text"] for row in ana.service.rows()["alarms"]]
    assert [one.partition(": ")[2] for one in texts] == [
        f"{level} % of {cap} is spent or held" for level, cap in ((80, "$5.00"), (80, "$50.00"))
    ]
    await ana.rents("r9", 0.5)
    await ana.service.step()
    assert ana.service.rows()["alarms"][-1]["level"] == 100


async def test_each_level_is_told_once(capsys: pytest.CaptureFixture[str]) -> None:
    ana = Peer()
    await ana.cap("10")
    for n, dollars in enumerate((4.9, 0.1, 3, 1, 1)):
        await ana.rents(f"r{n}", dollars)
        await ana.service.step()
        await ana.service.step()
    told = [row["level"] for row in ana.service.rows()["alarms"]]
    assert told == [50, 80, 100]
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        f"fleet: the budget fleet per month: {level} % of $10.00 is spent or held in 2026-11"
        for level in (50, 80, 100)
    ]


async def test_a_pace_that_ends_above_the_cap_is_told_before_the_cap_is_reached() -> None:
    ana = Peer()
    await ana.cap("10")
    await ana.rents("r1x1x1xabc", 2)
    ana.rental("account_taken", epoch=1, peer=ANA)
    ana.rental("rental_intended", **INTENT)
    ana.clock += 3 * DAY_MS
    await ana.service.step()
    (alarm,) = ana.service.rows()["alarms"]
    assert alarm["text"] == (
        "the budget fleet per month: at the pace so far $20.00 will be spent in 2026-11, of $10.00"
    )


async def test_a_rental_that_could_not_be_paid_is_refused_before_it_is_asked_for() -> None:
    ana = Peer()
    await ana.cap("3")
    await ana.service.rentals.demand(ANA, "vastai", "", 3 * USD)
    assert ana.row["held_nusd"] == 0, "to ask holds nothing"
    error = await refused(ana.service.rentals.demand(ANA, "vastai", "", 5 * USD))
    assert (error.code, error.status) == ("OverBudget", 409)
    assert "$2.00 are missing" in error.text
    assert "fleet budget show" in error.hint


def test_the_service_is_what_rentals_and_jobs_ask() -> None:
    service = Peer().service
    rentals: OfRentals = service.rentals
    jobs: OfJobs = service.jobs
    assert rentals is service.rentals
    assert jobs is service.jobs
