"""A machine is asked for once its money is held, not before; without money its request waits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mathcore.units import NUSD
from mesh.api.errors import RequestError
from mesh.policy.rentals.caps import reserve_nusd
from mesh.policy.rentals.timers import UNPAID_MS
from mesh.state.rentals.terms import HOUR_MS
from tests.edge.clouds.attacked import ME, Attacked
from tests.edge.clouds.test_service import BODY, NAME, Desk, quote

NO = "the budget fleet per month has $0.0100 left: $1.00 are missing"


class Purse:
    """A test double: says what it is told to, and notes what it is asked."""

    def __init__(self, *, no: str = "", begins: bool = True) -> None:
        self.no, self.begins = no, begins
        self.asked: list[tuple[str, int]] = []
        self.begun: list[str] = []

    async def hold(self, request: Any, rental_id: str, most_nusd: int) -> str:
        self.asked.append((rental_id, most_nusd))
        return self.no

    def begin(self, rental_id: str) -> bool:
        self.begun.append(rental_id)
        return self.begins

    async def demand(self, author: str, provider: str, job_id: str, most_nusd: int) -> None:
        self.asked.append((provider, most_nusd))
        if self.no:
            raise RequestError("OverBudget", self.no, "fleet budget show", 409)


def with_purse(purse: Purse) -> Attacked:
    peer = Attacked()
    vars(peer.actor)["_budgets"] = purse
    asked = {"request_id": "r1", "life_ms": HOUR_MS, "cap_nusd": 100 * NUSD}
    peer.write("rental_requested", ME, **asked)
    return peer


async def test_what_it_may_cost_is_held_before_it_is_intended_and_begun_before_it_is_called() -> (
    None
):
    purse = Purse()
    peer = with_purse(purse)
    await peer.steps(40)
    (one,) = peer.actor.view.rentals.values()
    assert purse.asked == [(one.rental_id, one.reserved_nusd)]
    assert purse.begun == [one.rental_id]
    assert len(peer.cloud.made) == 1


async def test_a_request_without_money_waits_with_the_budgets_own_words_then_goes_on() -> None:
    purse = Purse(no=NO)
    peer = with_purse(purse)
    await peer.steps(40)
    assert peer.actor.reasons == {"r1": NO}
    assert peer.cloud.made == []
    assert not any("rental" in kind for kind in peer.said)
    assert 1 <= len(purse.asked) <= 1 + 40_000 // UNPAID_MS, "not at every step"
    purse.no = ""
    await peer.steps(60)
    assert len(peer.cloud.made) == 1
    assert peer.actor.reasons == {}


async def test_a_machine_whose_money_was_let_go_is_never_asked_for() -> None:
    peer = with_purse(Purse(begins=False))
    await peer.steps(12)
    assert peer.cloud.made == []
    ended = [one for one in peer.actor.view.rentals.values() if not one.is_open]
    assert ended
    assert {one.why for one in ended} == {"never_called"}


async def test_a_rental_that_no_budget_has_the_money_for_is_refused_at_once(tmp_path: Path) -> None:
    desk, purse = Desk(tmp_path, offers=[quote(0.4)]), Purse(no=NO)
    vars(vars(desk.clouds)["_asking"])["_budgets"] = purse
    error = await desk.refused()
    assert (error.code, error.text, error.status) == ("OverBudget", NO, 409)
    assert purse.asked == [(NAME[0], reserve_nusd(420_000_000, 2 * HOUR_MS))]
    assert desk.node.emitted == [], "nothing was asked for"
    desk.accounts[NAME].owns = False
    assert (await desk.clouds.rent(BODY))["provider"] == NAME[0], "its owner has the money"


async def test_of_a_machine_without_a_known_price_anything_that_is_left_will_do(
    tmp_path: Path,
) -> None:
    desk, purse = Desk(tmp_path), Purse()
    vars(vars(desk.clouds)["_asking"])["_budgets"] = purse
    await desk.clouds.rent({**BODY, "cap": "5"})
    assert purse.asked == [(NAME[0], 1)]
    await desk.clouds.rent({**BODY, "cap": "0.5", "max_price": "9"})
    assert purse.asked[1:] == [(NAME[0], 1)]


@pytest.mark.parametrize("cap", ["0.1"])
async def test_no_more_is_asked_for_than_the_request_may_cost(tmp_path: Path, cap: str) -> None:
    desk, purse = Desk(tmp_path, offers=[quote(0.4)]), Purse()
    vars(vars(desk.clouds)["_asking"])["_budgets"] = purse
    await desk.clouds.rent({**BODY, "cap": cap})
    assert purse.asked == [(NAME[0], NUSD // 10)]
