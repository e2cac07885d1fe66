"""Adopted hosts over HTTP: for the token's holder on loopback, and for no other peer."""

from collections.abc import Mapping
from pathlib import Path

import pytest
from aiohttp.test_utils import TestClient, TestServer

from mesh.api.errors import RequestError
from mesh.edge.http.app import make_app
from mesh.edge.http.ssh import ssh_routes
from tests.edge.http.fake_node import AUTH, TOKEN, FakeNode
from tests.edge.http.test_roles import BETWEEN_PEERS, FakeMesh


class FakeHosts:
    """A test double: one host, called box."""

    def __init__(self) -> None:
        self.given: Mapping[str, object] = {}

    def rows(self) -> list[dict[str, object]]:
        return [{"name": "box"}]

    async def adopt(self, given: Mapping[str, object]) -> dict[str, object]:
        self.given = given
        return {"name": "box"}

    async def probe(self, name: str) -> dict[str, object]:
        if name != "box":
            raise RequestError("NotFound", f"no SSH host {name!r}", "fleet ssh ls", 404)
        return {"name": name}

    async def remove(self, name: str) -> dict[str, object]:
        return {"name": name, "removed": []}


async def test_hosts_are_listed_adopted_probed_and_let_go(tmp_path: Path) -> None:
    hosts = FakeHosts()
    app = make_app(FakeNode(tmp_path), TOKEN, None, ssh_routes(hosts))
    async with TestClient(TestServer(app), headers=AUTH) as client:
        async with client.get("/v1/ssh") as response:
            assert await response.json() == {"hosts": [{"name": "box"}]}
        async with client.post("/v1/ssh", json={"name": "box"}) as response:
            assert (response.status, hosts.given) == (201, {"name": "box"})
        async with client.post("/v1/ssh/box/probe") as response:
            assert response.status == 200
        async with client.post("/v1/ssh/other/probe") as response:
            assert response.status == 404
        async with client.post("/v1/ssh/box/remove", json={"x": 1}) as response:
            assert response.status == 400
        async with client.get("/v1/ssh", headers={"Authorization": "Bearer x"}) as response:
            assert response.status == 401


@pytest.mark.parametrize(("role", "status"), [("viewer", 403), ("member", 403), ("runner", 201)])
async def test_only_a_peer_that_may_have_devices_adopts_hosts(
    tmp_path: Path, role: str, status: int
) -> None:
    double: object = FakeMesh(role)
    app = make_app(FakeNode(tmp_path), TOKEN, double, ssh_routes(FakeHosts()))  # type: ignore[arg-type]
    async with (
        TestClient(TestServer(app), headers=AUTH) as client,
        client.post("/v1/ssh", json={}) as response,
    ):
        assert response.status == status


def test_no_route_about_hosts_is_open_to_peers() -> None:
    assert [route for route in BETWEEN_PEERS if "/ssh" in route] == []
