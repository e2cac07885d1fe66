"""POST /v1/plan: hardware travels with the question, and the daemon answers others meanwhile."""

import asyncio
import threading
from collections.abc import Mapping
from typing import cast

import pytest
from aiohttp.test_utils import TestClient, TestServer

from mesh.api.errors import RequestError
from mesh.api.requests import MAX_FLEET
from mesh.edge.http.app import make_app
from mesh.edge.http.ports import ServedNode
from mesh.edge.planning import plan_query
from mesh.state.state import State

AUTH = {"Authorization": "Bearer t"}
RIG = {"name": "rig", "gpu": "RTX 4090"}


class Slow:
    """A node whose plans take until `gate` opens."""

    ready = True

    def __init__(self) -> None:
        self.gate = threading.Event()

    def plan(self, query: Mapping[str, object]) -> dict[str, object]:
        return {"asked": dict(query), "opened": self.gate.wait(5)}


async def test_a_long_plan_holds_up_nobody() -> None:
    node = Slow()
    app = make_app(cast(ServedNode, node), "t")
    async with TestClient(TestServer(app, host="127.0.0.1")) as client:
        asked = asyncio.create_task(client.post("/v1/plan", json={"fleet": [RIG]}, headers=AUTH))
        async with client.get("/healthz") as health:
            assert health.status == 200
        node.gate.set()
        async with await asked as answer:
            assert await answer.json() == {"asked": {"fleet": [RIG]}, "opened": True}


def test_hardware_in_the_question_is_planned_for_instead_of_the_fleet_s() -> None:
    found = plan_query(State(), {"model": "llama-3-8b", "fleet": [RIG], "what_if": ["RTX 5090"]})
    placements = cast(list[dict[str, object]], found["placements"])
    assert {row["device"] for row in placements} >= {"rig", "RTX 5090"}


@pytest.mark.parametrize(
    ("fleet", "says"),
    [
        ([RIG, {"name": "b", "gpu": "Q"}], "device 2 ('b')"),
        ([{**RIG, "count": 0}], "count"),
        ([{"gpu": "RTX 4090"}], "name"),
        ([1], "fleet"),
        ([RIG] * (MAX_FLEET + 1), "4096"),
        ([RIG, RIG], "twice"),
        ([{"name": "\x1b[31m", "gpu": "RTX 4090"}], "name"),
    ],
)
def test_wrong_hardware_in_a_question_names_its_entry(fleet: list[object], says: str) -> None:
    with pytest.raises(RequestError) as error:
        plan_query(State(), {"model": "llama-3-8b", "fleet": fleet})
    assert says in error.value.text
    assert error.value.text.isprintable()
