"""Jobs on the fleet's own devices: what counts, what stops, and what an attempt holds."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from mathcore.price import cost_nusd
from mesh.api.wire.claims import Ask
from mesh.edge.budgets.paying import UNKNOWN_MS
from mesh.edge.budgets.service import WHOLE_MS
from mesh.edge.dispatch.candidates import Candidate
from mesh.state.facts.fact import encode
from mesh.state.facts.money import DeviceRateSet
from mesh.state.fleet import rate
from mesh.state.fold import fold
from mesh.state.state import State
from tests.edge.budgets.stage import ANA, Peer
from tests.state.test_rentals import INTENT

HOURLY = 480_000_000
HELD = ("", "")


def with_device(peer: Peer, device_id: str = "d", **facts: Any) -> None:
    known = {"name": device_id, "kind": "gpu", "count": 1, "hourly_nusd": HOURLY, **facts}
    peer.write("device_registered", device_id, **known)


def candidate(
    job_id: str = "j", device_id: str = "d", plan: Any = None, attempt: int = 1
) -> Candidate:
    ask = Ask(job_id=job_id, attempt=attempt, device_id=device_id, kind="command")
    return Candidate(
        device_id=device_id, name=device_id, owner=ANA, ask=ask, considered=1, plan=plan
    )


async def owned_peer(dollars: str, owned: str) -> Peer:
    ana = Peer()
    with_device(ana)
    await ana.cap(dollars, owned=owned)
    ana.submit()
    return ana


async def dispatch(peer: Peer, attempt: int = 1) -> tuple[str, str]:
    job = peer.state.jobs["j"]
    return await peer.service.jobs.hold(job, candidate(attempt=attempt))


async def test_owned_work_goes_on_when_the_clouds_money_is_gone() -> None:
    ana = await owned_peer("1", "cloud")
    assert await ana.rents("r", 1) == ""
    assert await dispatch(ana) == HELD
    assert ana.kinds().count("budget_held") == 1, "it counts nothing"


async def test_owned_work_stops_with_the_money_where_the_budget_says_so() -> None:
    ana = await owned_peer("1", "stop")
    assert await dispatch(ana) == HELD
    await ana.rents("r", 1)
    code, text = await dispatch(ana)
    assert code == "OverBudget"
    assert text.startswith("the budget fleet per month is used up in 2026-11: $1.00 of $1.00")
    await ana.cap("1.01")
    assert await dispatch(ana) == HELD, "what was said of owned devices stays as it was"
    assert ana.row["owned"] == "stop"


async def test_where_all_counts_a_command_holds_a_day_of_its_device_and_a_model_its_p90() -> None:
    ana = await owned_peer("20", "all")
    day = cost_nusd(rate(ana.state.devices["d"]), UNKNOWN_MS)
    assert day == 24 * HOURLY
    assert await dispatch(ana) == HELD
    assert ana.row["held_nusd"] == day
    band = {"p10": 1, "p50": 2, "p90": 3_000_000}
    job = ana.submit("k")
    assert await ana.service.jobs.hold(job, candidate("k", plan=plan(band))) == HELD
    assert ana.row["held_nusd"] == day + 3_000_000
    code, text = await ana.service.jobs.hold(ana.submit("m"), candidate("m"))
    assert code == "OverBudget"
    assert "$3.04 are missing" in text


def plan(cost: dict[str, int]) -> dict[str, object]:
    return {"cost_nusd": cost}


async def test_an_attempt_is_settled_at_its_cost_when_it_ends() -> None:
    ana = await owned_peer("20", "all")
    await dispatch(ana)
    ana.write("job_dispatched", "d", job_id="j", attempt=1)
    await ana.service.step()
    assert ana.row["open_holds"] == 1
    ana.write("job_started", "d", job_id="j", attempt=1, pid=9)
    done = {"actual_cost_nusd": 77, "actual_duration_ms": 60_000}
    ana.write("job_completed", "d", job_id="j", attempt=1, **done)
    await ana.begin().step()
    assert (ana.row["open_holds"], ana.row["spent_nusd"]) == (0, 77)


async def test_an_attempt_that_was_never_dispatched_is_not_held_for_twice() -> None:
    ana = await owned_peer("20", "all")
    await dispatch(ana)
    ana.begin()  # the process died before the dispatch was written
    assert await dispatch(ana) == HELD, "what was held for it is free again"
    assert (ana.row["open_holds"], ana.row["held_nusd"]) == (1, 24 * HOURLY)
    ana.write("job_dispatched", "d", job_id="j", attempt=1)
    ana.write("job_returned", "d", job_id="j", attempt=1, reason="Cancelled")
    await ana.service.step()
    assert (ana.row["held_nusd"], ana.row["spent_nusd"]) == (0, 0)


async def test_an_attempt_that_may_go_on_stays_held_whatever_the_clock_says() -> None:
    ana = await owned_peer("20", "all")
    await dispatch(ana)
    ana.write("job_dispatched", "d", job_id="j", attempt=1)
    ana.clock += 20 * 86_400_000
    await ana.begin().step()
    assert ana.row["open_holds"] == 1


async def with_rented(owned: str) -> Peer:
    """A peer that rented a machine, for $15 of its budget of $20."""
    ana = await owned_peer("20", owned)
    rented = {"location": "cloud", "provider": "vastai", "host": "vast-r1"}
    with_device(ana, "v", **rented)
    await ana.rents("r1x1x1xabc", 15)
    ana.rental("account_taken", epoch=1, peer=ANA)
    ana.rental("rental_intended", **INTENT)
    return ana


@pytest.mark.parametrize("owned", ["cloud", "stop", "all"])
async def test_a_job_on_a_rented_machine_is_paid_for_by_the_rental(owned: str) -> None:
    ana = await with_rented(owned)
    job = ana.state.jobs["j"]
    assert await ana.service.jobs.hold(job, candidate(device_id="v")) == HELD
    assert ana.row["open_holds"] == 1


@pytest.mark.parametrize(("owned", "holds"), [("cloud", 0), ("all", 1)])
async def test_of_a_budget_in_which_its_rental_holds_nothing_a_job_there_counts_as_owned_work(
    owned: str, holds: int
) -> None:
    ana = await with_rented("cloud")
    await ana.cap("12", job="j", per="total", owned=owned)
    job = ana.state.jobs["j"]
    assert await ana.service.jobs.hold(job, candidate(device_id="v")) == HELD
    rows = {row["scope"]: row["open_holds"] for row in ana.service.rows()["budgets"]}
    assert rows == {"fleet": 1, "job": holds}


async def test_a_job_that_left_memory_is_looked_up_in_the_whole_ledger_and_not_at_every_step(
) -> None:  # fmt: skip
    ana = await owned_peer("20", "all")
    await dispatch(ana)
    ana.write("job_dispatched", "d", job_id="j", attempt=1)
    whole, looks = ana.state, list[int]()

    def every_job() -> State:
        looks.append(ana.clock)
        return whole

    vars(ana)["every_job"] = every_job
    ana.state = fold(ana.disk, keep_ended=0)
    ana.state.jobs.pop("j")
    ana.state.retired.add("j", "failed", ANA, (0, 0, 0), set())
    for _ in range(3):
        ana.clock += 60_000
        await ana.service.step()
    assert len(looks) == 1, "it goes on there"
    done = {"actual_cost_nusd": 77, "actual_duration_ms": 60_000}
    whole = fold(
        [*ana.disk, replace(ana.disk[-1], event_type="job_completed", payload={
            "job_id": "j", "attempt": 1, **done})]
    )  # fmt: skip
    ana.clock += WHOLE_MS
    await ana.service.step()
    assert ana.row["spent_nusd"] == 77


async def test_a_job_on_a_machine_that_nothing_is_held_for_holds_for_itself() -> None:
    ana = await owned_peer("20", "cloud")
    with_device(ana, "v", location="cloud", provider="vastai", host="elsewhere")
    job = ana.state.jobs["j"]
    assert await ana.service.jobs.hold(job, candidate(device_id="v")) == HELD
    assert ana.row["held_nusd"] == 24 * HOURLY
    await ana.cap("1", job="j", per="total")
    again = await ana.service.jobs.hold(ana.submit("k"), candidate("k", "v"))
    assert "fleet per month" in again[1]


async def test_a_job_holds_what_its_devices_owner_said_it_costs_not_what_was_registered() -> None:
    ana = Peer()
    facts = {"hourly_nusd": 0, "price_nusd": 100 * 10**9, "lifetime_months": 60, "watts": 0}
    with_device(ana, **facts)
    price = {"price_micro": 100_000 * 10**6, "life_months": 60, "currency": "USD"}
    said = DeviceRateSet(from_ms=ana.clock, count=1, bought_ms=ana.clock, **price)  # type: ignore[arg-type]
    ana.write("device_rate_set", "d", **encode(said))
    await ana.cap("1000", owned="all")
    ana.submit()
    assert await dispatch(ana) == HELD
    assert ana.row["held_nusd"] == 54_794_520_548  # 24 of 60 x 730 hours of $100,000
