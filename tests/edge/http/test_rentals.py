"""Routes about rented machines: who may, what a body may be, and how each refusal looks."""

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from io import BytesIO
from pathlib import Path
from typing import Any, cast

import pytest
from aiohttp.test_utils import TestClient, TestServer

from mesh.api.errors import RequestError
from mesh.api.rentals.asked import parse_rent
from mesh.api.requests import MAX_BODY_BYTES
from mesh.edge.http.app import make_app, make_mesh_app
from mesh.edge.http.rentals import rental_routes
from mesh.state.members import ADMIN, MEMBER, RUNNER, VIEWER
from tests.edge.http.fake_node import AUTH, TOKEN, FakeNode
from tests.edge.http.test_roles import KEY, NOBODY, FakeMesh

READS = ("GET /v1/rentals", "GET /v1/clouds", "GET /v1/orphans")
WRITES = (
    "POST /v1/rentals",
    "POST /v1/rentals/r1/return",
    "POST /v1/clouds/keys",
    "POST /v1/clouds/vastai/take",
    "POST /v1/orphans/7/kill",
)
BODY = {"gpu": "24GB..", "life": "2h"}


class FakeClouds:
    """A test double: notes what it is asked, and reads a body as the real one does."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, object]] = []

    def rows(self, *, ended: bool) -> dict[str, object]:
        self.asked.append(("rows", ended))
        return {"rentals": []}

    def check(self) -> list[dict[str, object]]:
        return [{"provider": "vastai"}]

    async def open(self) -> None:
        self.asked.append(("open", None))

    async def rent(self, body: Mapping[str, object]) -> dict[str, Any]:
        asked = parse_rent(body)
        self.asked.append(("rent", asked.life_ms))
        return {"request_id": asked.request_id or "r1"}

    async def give_back(self, wanted: str) -> dict[str, object]:
        self.asked.append(("give_back", wanted))
        if wanted == "none":
            raise RequestError("NotFound", "no rental 'none'", "fleet rentals", 404)
        return {"request_id": wanted}

    async def orphans(self) -> list[dict[str, Any]]:
        return []

    async def kill(self, instance: str) -> dict[str, object]:
        self.asked.append(("kill", instance))
        return {"instance": instance, "asked": True}

    async def take(self, provider: str) -> dict[str, object]:
        self.asked.append(("take", provider))
        return {"provider": provider}


@asynccontextmanager
async def asking(
    folder: Path, clouds: FakeClouds, role: str = RUNNER, headers: dict[str, str] = AUTH
) -> AsyncIterator[TestClient[Any, Any]]:
    mesh = cast(Any, FakeMesh(role))
    app = make_app(FakeNode(folder), TOKEN, mesh, rental_routes(clouds))
    async with TestClient(TestServer(app), headers=headers) as client:
        yield client


async def said(client: TestClient[Any, Any], route: str, body: Any = None) -> tuple[int, Any]:
    method, path = route.split(" ")
    text = body if isinstance(body, bytes) else json.dumps({} if body is None else body).encode()
    data = BytesIO(text)  # as a file: a body of megabytes does not hold the loop
    async with client.request(method, path, data=data if method == "POST" else None) as response:
        return response.status, await response.json()


@pytest.mark.parametrize("role", [NOBODY, VIEWER, MEMBER, RUNNER, ADMIN])
async def test_whoever_may_read_reads_and_runners_rent(tmp_path: Path, role: str) -> None:
    clouds = FakeClouds()
    async with asking(tmp_path, clouds, role) as client:
        for route in READS:
            assert (await said(client, route))[0] == 200, route
        clouds.asked.clear()
        for route in WRITES:
            status, answer = await said(client, route, BODY if route == WRITES[0] else {})
            if role in (RUNNER, ADMIN):
                assert status in (200, 201), route
            else:
                assert (status, bool(answer["hint"])) == (403, True), route
    assert bool(clouds.asked) == (role in (RUNNER, ADMIN))


async def test_without_the_token_nothing_is_said(tmp_path: Path) -> None:
    clouds = FakeClouds()
    async with asking(tmp_path, clouds, headers={}) as client:
        for route in READS + WRITES:
            assert (await said(client, route))[0] == 401
    assert clouds.asked == []


@pytest.mark.parametrize("route", READS + WRITES)
async def test_between_peers_there_is_no_such_route(
    tmp_path: Path, route: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody's word but this machine's own user's spends this peer's money."""
    monkeypatch.setattr("mesh.edge.http.roles.key_behind", lambda _: KEY)
    app = make_mesh_app(FakeNode(tmp_path), cast(Any, FakeMesh(ADMIN)), [])
    async with TestClient(TestServer(app)) as client:
        status, answer = await said(client, route, BODY)
    assert (status, answer["code"]) == (404, "NoRoute")


@pytest.mark.parametrize(
    ("body", "names"),
    [
        ({}, "life"),
        ({**BODY, "gpu": ".."}, "gpu"),
        ({**BODY, "life": 2}, "life"),
        ({**BODY, "life": None}, "life"),
        ({**BODY, "life": ["2h"]}, "life"),
        ({**BODY, "life": "0s"}, "life"),
        ({**BODY, "life": "-2h"}, "life"),
        ({**BODY, "life": "9" * 300 + "h"}, "life"),
        ({**BODY, "idle": "soon"}, "idle"),
        ({**BODY, "cap": "free"}, "cap"),
        ({**BODY, "max_price": "0.5 EUR"}, "max_price"),
        ({**BODY, "count": "many"}, "count"),
        ({**BODY, "spot": "perhaps"}, "spot"),
        ({**BODY, "disk": "1B"}, "disk"),
        ({**BODY, "disk": "17TB PLUS"}, "disk"),
        ({**BODY, "image": "a b"}, "image"),
        ({**BODY, "image": "$(reboot)"}, "image"),
        ({**BODY, "image": "x" * 401}, "image"),
        ({**BODY, "request_id": "A-1"}, "request_id"),
        ({**BODY, "request_id": "r" * 21}, "request_id"),
        ({**BODY, "key": "sk"}, "key"),
        ({**BODY, "lifes": "2h"}, "lifes"),
        ({**BODY, "gpu": "x" * 121}, "gpu"),
        ([BODY], ""),
        ("life", ""),
        (b"", "life"),
        (b"{", ""),
        (b'{"life": "2h", "life": 1e999}', ""),
        (b"\xff\xfe", ""),
    ],
)
async def test_a_body_that_is_none_is_refused_by_the_name_of_what_is_wrong(
    tmp_path: Path, body: Any, names: str
) -> None:
    clouds = FakeClouds()
    async with asking(tmp_path, clouds) as client:
        status, answer = await said(client, "POST /v1/rentals", body)
    assert status == 400, answer
    assert names in answer["text"]
    assert clouds.asked == []


async def test_a_body_that_is_too_long_is_not_read(tmp_path: Path) -> None:
    async with asking(tmp_path, FakeClouds()) as client:
        body = json.dumps({**BODY, "image": "x" * MAX_BODY_BYTES}).encode()
        status, answer = await said(client, "POST /v1/rentals", body)
    assert (status, answer["code"]) == (413, "TooLarge")


@pytest.mark.parametrize("route", WRITES[1:])
async def test_what_takes_no_fields_refuses_each(tmp_path: Path, route: str) -> None:
    clouds = FakeClouds()
    async with asking(tmp_path, clouds) as client:
        status, answer = await said(client, route, {"why": "because"})
    assert (status, clouds.asked) == (400, [])
    assert "why" in answer["text"]


@pytest.mark.parametrize(
    ("query", "ended"),
    [
        ("", False),
        ("?ended=", False),
        ("?ended=0", False),
        ("?ended=1", True),
        ("?ended=true", True),
    ],
)
async def test_those_that_ended_are_shown_when_asked_for(
    tmp_path: Path,
    query: str,
    ended: bool,  # noqa: FBT001
) -> None:
    clouds = FakeClouds()
    async with asking(tmp_path, clouds) as client:
        assert (await said(client, f"GET /v1/rentals{query}"))[0] == 200
    assert clouds.asked == [("rows", ended)]


@pytest.mark.parametrize("query", ["?ended=perhaps", "?what=1", "?ended=1&more=2"])
async def test_another_question_is_refused(tmp_path: Path, query: str) -> None:
    async with asking(tmp_path, FakeClouds()) as client:
        status, answer = await said(client, f"GET /v1/rentals{query}")
    assert (status, bool(answer["text"])) == (400, True)


async def test_names_with_any_characters_arrive_whole_and_what_is_not_there_is_404(
    tmp_path: Path,
) -> None:
    clouds = FakeClouds()
    async with asking(tmp_path, clouds) as client:
        assert (await said(client, "POST /v1/orphans/a%2Fb%3F/kill"))[0] == 200
        status, answer = await said(client, "POST /v1/rentals/none/return")
    assert clouds.asked[0] == ("kill", "a/b?")
    assert (status, answer["code"], answer["hint"]) == (404, "NotFound", "fleet rentals")


async def test_the_same_request_id_is_the_callers_to_choose(tmp_path: Path) -> None:
    async with asking(tmp_path, FakeClouds()) as client:
        found = await said(client, "POST /v1/rentals", {**BODY, "request_id": "mine1"})
    assert found == (201, {"request_id": "mine1"})
