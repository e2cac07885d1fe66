"""Routes about budgets: who may, and how each refusal looks."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import pytest
from aiohttp.test_utils import TestClient, TestServer

from mesh.api.budgets.asked import parse_cap, parse_grant
from mesh.edge.budgets.routes import budget_routes
from mesh.edge.http.app import make_app, make_mesh_app
from mesh.state.members import ADMIN, MEMBER, RUNNER, VIEWER
from tests.edge.http.fake_node import AUTH, TOKEN, FakeNode
from tests.edge.http.test_rentals import said
from tests.edge.http.test_roles import KEY, NOBODY, FakeMesh

SET, GRANT = "POST /v1/budgets", "POST /v1/budgets/grants"
CAP = {"amount": "50"}
GIFT = {"peer": "ben", "amount": "10"}


class FakeBudgets:
    """A test double: reads a body as the real one does, and notes by which role."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []

    def rows(self) -> dict[str, Any]:
        return {"budgets": [], "alarms": []}

    async def set(self, body: Mapping[str, object], role: str) -> Mapping[str, object]:
        parse_cap(body)
        self.asked.append(("set", role))
        return {"name": "fleet per month"}

    async def grant(self, body: Mapping[str, object], role: str) -> Mapping[str, object]:
        parse_grant(body)
        self.asked.append(("grant", role))
        return {"peer": "ben"}


def asking(folder: Path, budgets: FakeBudgets, role: str) -> TestClient[Any, Any]:
    mesh = cast(Any, FakeMesh(role))
    app = make_app(FakeNode(folder), TOKEN, mesh, budget_routes(budgets))
    return TestClient(TestServer(app), headers=AUTH)


@pytest.mark.parametrize("role", [NOBODY, VIEWER, MEMBER, RUNNER, ADMIN])
async def test_whoever_may_read_reads_and_members_ask_with_their_role(
    tmp_path: Path, role: str
) -> None:
    budgets = FakeBudgets()
    async with asking(tmp_path, budgets, role) as client:
        assert await said(client, "GET /v1/budgets") == (200, {"budgets": [], "alarms": []})
        for route, body in ((SET, CAP), (GRANT, GIFT)):
            status, answer = await said(client, route, body)
            may = role in (MEMBER, RUNNER, ADMIN)
            assert (status, bool(answer.get("hint"))) == ((201, False) if may else (403, True))
    roles = {role} if role in (MEMBER, RUNNER, ADMIN) else set()
    assert {one for _, one in budgets.asked} == roles


@pytest.mark.parametrize(
    ("route", "body", "names"),
    [
        (SET, {}, "amount"),
        (SET, {"amount": "lots"}, "amount"),
        (SET, {**CAP, "per": "year"}, "per"),
        (SET, {**CAP, "color": "red"}, "color"),
        (GRANT, {"peer": "ben"}, "amount"),
        (GRANT, {**GIFT, "periods": 0}, "periods"),
        (SET, b"[1]", "JSON"),
        (SET, b"{", "JSON"),
    ],
)
async def test_a_bad_body_is_refused_with_the_field_and_what_would_do(
    tmp_path: Path, route: str, body: Any, names: str
) -> None:
    budgets = FakeBudgets()
    async with asking(tmp_path, budgets, ADMIN) as client:
        status, answer = await said(client, route, body)
    assert status == 400
    assert names in answer["text"]
    assert budgets.asked == []


async def test_between_peers_there_is_no_such_route(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mesh.edge.http.roles.key_behind", lambda _: KEY)
    app = make_mesh_app(FakeNode(tmp_path), cast(Any, FakeMesh(ADMIN)), [])
    async with TestClient(TestServer(app)) as client:
        for route in ("GET /v1/budgets", SET, GRANT):
            assert (await said(client, route, CAP))[0] == 404
