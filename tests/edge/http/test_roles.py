"""Which route answers whom: every role against every route, between peers and on loopback."""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from mesh.api.bills.asked import BillAsked
from mesh.edge.bills.routes import bill_routes, rate_routes
from mesh.edge.http import roles
from mesh.edge.http.app import make_app, make_mesh_app
from mesh.edge.http.keys import key_routes
from mesh.edge.http.telemetry import routes
from mesh.edge.http.upkeep import peer_upkeep_routes, upkeep_routes
from mesh.edge.metrics.routes import metric_routes
from mesh.edge.openapi.routes import openapi_routes
from mesh.state.members import ADMIN, FORMER, MEMBER, ROLES, RUNNER, VIEWER
from tests.edge.http.fake_node import AUTH, TOKEN, FakeNode

KEY = bytes(32)
NOBODY = ""
ANY = (NOBODY, *ROLES)
VIEWERS, MEMBERS, RUNNERS, ADMINS = ROLES, ROLES[1:], ROLES[2:], ROLES[3:]
# What a member reaches of another peer, by its role there. Nothing here writes but what is done to
# the peer's own devices, and nothing here reads a job's request or output: those are in no event,
# and belong to the user of the job's home.
BETWEEN_PEERS: dict[str, tuple[str, ...]] = {
    "GET /v1/status": VIEWERS,
    "GET /v1/devices": VIEWERS,
    "GET /v1/jobs": VIEWERS,
    "GET /v1/jobs/{id}": VIEWERS,
    "GET /v1/events": VIEWERS,
    "GET /v1/telemetry": VIEWERS,  # of its own devices alone: there is no relay of a relay
    "GET /v1/cost": VIEWERS,
    "GET /v1/cost/focus": VIEWERS,
    "POST /v1/plan": VIEWERS,
    # Its owner asks for more than the role: only its own user or an admin (mesh/edge/upkeep.py).
    "POST /v1/devices/{id}/drain": RUNNERS,
    "POST /v1/devices/{id}/resume": RUNNERS,
    "POST /v1/devices/{id}/reserve": RUNNERS,
    "POST /v1/devices/{id}/unreserve": RUNNERS,
    "POST /v1/offers": RUNNERS,  # jobs of others start here by these alone
    "POST /v1/offers/{id}/release": RUNNERS,
    # A home that was demoted asks for its own attempts still: the owner starts nothing for it
    # (mesh/edge/dispatch/owner.py), and ends, shows and explains what it has.
    "POST /v1/claims": VIEWERS,
    "GET /v1/claims": VIEWERS,
    "GET /v1/claims/{id}/{attempt}": VIEWERS,
    "POST /v1/claims/{id}/{attempt}/withdraw": VIEWERS,
    "GET /v1/claims/{id}/{attempt}/output/{name}": VIEWERS,
    "GET /v1/claims/{id}/{attempt}/files": RUNNERS,
    "GET /v1/claims/{id}/{attempt}/listing": RUNNERS,
    "GET /v1/jobs/{id}/files/{hash}": RUNNERS,  # to the owner that has the job alone
    "GET /v1/peers": VIEWERS,
    "GET /v1/sync/status": VIEWERS,
    "GET /v1/sync": (FORMER, *VIEWERS),  # a key that was put out is heard there, quietly
}
# What the token opens on loopback, by this peer's own role; one that has none reads its own ledger.
ON_LOOPBACK: dict[str, tuple[str, ...]] = {
    "GET /healthz": ANY,
    "GET /readyz": ANY,
    "GET /metrics": ANY,
    "GET /v1/openapi.json": ANY,
    "GET /dashboard/": ANY,
    "GET /dashboard/{file}": ANY,
    "POST /dashboard/session": ANY,
    "POST /v1/dashboard/codes": ANY,
    "POST /v1/dashboard/end": ANY,
    "GET /v1/dashboard/events": ANY,
    "GET /v1/dashboard/models": ANY,
    "GET /v1/status": ANY,
    "GET /v1/devices": ANY,
    "GET /v1/jobs": ANY,
    "GET /v1/jobs/{id}": ANY,
    "GET /v1/jobs/{id}/logs": ANY,
    "GET /v1/jobs/{id}/answer": ANY,
    "GET /v1/jobs/{id}/file": ANY,
    "GET /v1/jobs/{id}/files": ANY,
    "GET /v1/events": ANY,
    "GET /v1/telemetry": ANY,
    "GET /v1/cost": ANY,
    "GET /v1/cost/focus": ANY,
    "GET /v1/rates": ANY,
    "POST /v1/rates/{what}": RUNNERS,
    "GET /v1/verify": ANY,
    "GET /v1/export": ANY,
    "GET /v1/peers": ANY,
    "GET /v1/peers/pending": ANY,
    "GET /v1/sync/status": ANY,
    "GET /v1/doctor": ANY,
    "POST /v1/plan": ANY,
    "POST /v1/capacity": ANY,
    "POST /v1/sweep": ANY,
    "POST /v1/jobs": MEMBERS,
    "POST /v1/jobs/{id}/cancel": MEMBERS,
    "POST /v1/jobs/{id}/adopt": ADMINS,
    "POST /v1/jobs/{id}/forget": ANY,
    "POST /v1/notes": MEMBERS,
    "POST /v1/devices": RUNNERS,
    "POST /v1/devices/{id}/remove": RUNNERS,
    "POST /v1/devices/{id}/drain": RUNNERS,
    "POST /v1/devices/{id}/resume": RUNNERS,
    "POST /v1/devices/{id}/reserve": RUNNERS,
    "POST /v1/devices/{id}/unreserve": RUNNERS,
    "GET /v1/keys": ANY,
    "GET /v1/usage": ANY,
    "POST /v1/keys": MEMBERS,
    "POST /v1/keys/{id}/revoke": MEMBERS,  # of another peer's key: only as an admin
    "POST /v1/import": ANY,
    "POST /v1/calibrate": ANY,
    "POST /v1/shutdown": ANY,
    "POST /v1/invites": ANY,  # who may not is told who can
    "POST /v1/join": ANY,
    "POST /v1/peers/addresses": ANY,
    "POST /v1/peers/{id}/accept": ANY,
    "POST /v1/peers/{id}/ignore": ADMINS,
    "POST /v1/peers/{id}/remove": ANY,
    "POST /v1/peers/{id}/role": ANY,
    "POST /v1/recovery": ANY,
    "POST /v1/peers/{id}/rename": ANY,
    "POST /dispatch": MEMBERS,
}
# A path that answers another method is no route either.
REFUSALS = {
    "WrongRole": "WrongRole",
    "NotAMember": "NotAMember",
    "NoRoute": "NoRoute",
    "MethodNotAllowed": "NoRoute",
}
EVERY = sorted(BETWEEN_PEERS.keys() | ON_LOOPBACK.keys())


class FakeMesh:
    """A test double: a fleet in which whoever asks has one role, and nothing else happens."""

    def __init__(self, role: str) -> None:
        self.role = role

    def own_role(self) -> str:
        return self.role

    def role_of(self, key: bytes) -> str:
        return self.role

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name in ("peers", "pending"):
            return lambda: []
        if name == "founded":
            return lambda: True
        if name in ("report", "sync_status", "ignore", "add_address"):
            return lambda *_: {}

        async def later(*_: object) -> dict[str, object]:
            return {}

        return later


class FakeTelemetry:
    """A test double: streams that end at once."""

    async def own(self) -> AsyncIterator[object]:
        for nothing in ():
            yield nothing


class FakeUpkeep:
    """A test double: whoever gets here may do it."""

    async def ask(self, *_: object) -> dict[str, object]:
        return {}

    async def serve(self, *_: object) -> dict[str, object]:
        return {}


class FakeKeys:
    """A test double: there are no keys, and whoever gets here may make one."""

    def rows(self) -> list[dict[str, object]]:
        return []

    def usage(self, *_: object) -> dict[str, object]:
        return {}

    async def add(self, *_: object) -> dict[str, object]:
        return {}

    async def revoke(self, *_: object) -> dict[str, object]:
        return {}


class FakeBills:
    """Answers that nothing was spent."""

    async def ask(self, asked: BillAsked) -> dict[str, object]:
        return {"by": asked.by}

    async def focus(self, asked: BillAsked) -> str:
        return ""


class FakeRates:
    """Takes any word on what things cost."""

    async def say(self, what: str, body: Mapping[str, object]) -> dict[str, object]:
        return {"seq": 1}

    def rows(self) -> dict[str, object]:
        return {}


class FakeMetrics:
    """Has nothing to tell."""

    async def text(self) -> str:
        return ""


def app_of(where: str, role: str, folder: Path) -> web.Application:
    node, mesh = FakeNode(folder), FakeMesh(role)
    node.record("job_submitted", "d1", {"job_id": "j1", "kind": "command", "command": ["true"]})
    node.record("job_cancelled", "d1", {"job_id": "j1"})
    double, telemetry = cast(Any, mesh), cast(Any, FakeTelemetry())
    if where == "peers":
        more = [*routes(telemetry, loopback=False), *peer_upkeep_routes(FakeUpkeep())]
        more += bill_routes(FakeBills(), "UTC")
        return make_mesh_app(node, double, more)
    more = [*routes(telemetry, loopback=True), *upkeep_routes(FakeUpkeep())]
    more += [*key_routes(FakeKeys()), *bill_routes(FakeBills(), "UTC"), *rate_routes(FakeRates())]
    more += [*openapi_routes(), *metric_routes(FakeMetrics())]
    return make_app(node, TOKEN, double, more)


@asynccontextmanager
async def asking(
    where: str, role: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[TestClient[Any, Any]]:
    """A client that is a member with this role, or the token's holder on a peer that has it."""
    monkeypatch.setattr(roles, "key_behind", lambda _: KEY)
    headers = AUTH if where == "loopback" else {}
    async with TestClient(TestServer(app_of(where, role, folder)), headers=headers) as client:
        yield client


async def refusal(client: TestClient[Any, Any], route: str) -> str:
    """The code a route refuses with for want of a role or of a route; "" where it was reached."""
    filled = route.replace("{id}", "j1").replace("{attempt}", "1").replace("{name}", "log.txt")
    filled = (
        filled.replace("{hash}", "ab" * 32).replace("{what}", "rate").replace("{file}", "main.js")
    )
    method, path = filled.split(" ")
    async with client.request(method, path, json={} if method == "POST" else None) as response:
        if response.status not in (403, 404, 405):
            return ""
        code: str = (await response.json())["code"]
        return REFUSALS.get(code, "")


@pytest.mark.parametrize("role", [FORMER, *ANY])
async def test_a_peer_reaches_what_the_table_says_and_nothing_else(
    role: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with asking("peers", role, tmp_path, monkeypatch) as client:
        found = {route: await refusal(client, route) for route in EVERY}
    reached = {route for route in BETWEEN_PEERS if role in BETWEEN_PEERS[route]}
    assert {route for route, code in found.items() if not code} == reached
    if role == NOBODY:
        assert set(found.values()) == {"NotAMember"}
    elif role == FORMER:
        refused = {found[one] for one in BETWEEN_PEERS if one != "GET /v1/sync"}
        assert refused == {"NotAMember"}
    else:
        assert {found[r] for r in EVERY if r not in BETWEEN_PEERS} == {"NoRoute"}


@pytest.mark.parametrize("role", ANY)
async def test_the_tokens_holder_reaches_what_its_peers_role_allows(
    role: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with asking("loopback", role, tmp_path, monkeypatch) as client:
        found = {route: await refusal(client, route) for route in ON_LOOPBACK}
    assert {route for route, code in found.items() if not code} == {
        route for route, who in ON_LOOPBACK.items() if role in who
    }


@pytest.mark.parametrize(("where", "table"), [("peers", BETWEEN_PEERS), ("loopback", ON_LOOPBACK)])
def test_the_tables_name_every_route_there_is(
    where: str, table: dict[str, tuple[str, ...]], tmp_path: Path
) -> None:
    routes = app_of(where, VIEWER, tmp_path).router.routes()
    offered = {f"{one.method} {one.resource.canonical}" for one in routes if one.resource}
    assert {route for route in offered if not route.startswith("HEAD")} == set(table)


@pytest.mark.parametrize("role", [VIEWER, MEMBER, RUNNER, ADMIN])
async def test_no_member_reads_a_jobs_request_or_words_through_another_peer(
    role: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "jobs" / "j1" / "1"
    folder.mkdir(parents=True)
    (folder / "result.json").write_text('{"text": "exit code 7: sk-12345"}')
    async with asking("peers", role, tmp_path, monkeypatch) as client:
        theirs = await (await client.get("/v1/jobs/j1")).text()
    async with asking("loopback", role, tmp_path, monkeypatch) as client:
        ours = await (await client.get("/v1/jobs/j1")).json()
    assert ours["text"] == "exit code 7: sk-12345"
    assert "sk-12345" not in theirs
    assert '"request"' not in theirs
