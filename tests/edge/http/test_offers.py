"""`GET /v1/offers` and `POST /v1/compare`: for the user of this machine and for every member."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from mathcore.units import GIB, NUSD
from mesh.edge.compare import compare_query
from mesh.edge.http.app import make_app
from mesh.edge.http.offers import offer_routes
from mesh.edge.http.roles import PEER
from mesh.state.market.quotes import Quote
from mesh.state.members import VIEWER
from mesh.state.state import State
from tests.edge.http.fake_node import AUTH, NOW, TOKEN, FakeNode


class FakeMarket:
    """A test double: two prices."""

    def known(self) -> tuple[Quote, ...]:
        return tuple(
            Quote(
                source="offer",
                provider="vastai",
                account="main",
                offer_id=str(n),
                gpu="RTX 4090",
                gpu_count=n,
                memory_bytes=24 * GIB,
                hourly_nusd=n * NUSD,
                at_ms=NOW - 1000,
            )
            for n in (2, 1)
        )


def compare(query: Mapping[str, object]) -> dict[str, object]:
    return compare_query(State(), query, now=NOW, quotes=FakeMarket().known)


async def asked(folder: Path, query: str, headers: dict[str, str]) -> tuple[int, dict[str, object]]:
    app = make_app(FakeNode(folder), TOKEN, None, offer_routes(FakeMarket(), compare))
    async with (
        TestClient(TestServer(app), headers=headers) as client,
        client.get(f"/v1/offers{query}") as response,
    ):
        return response.status, await response.json()


async def test_offers_come_by_price_with_their_source_and_age(tmp_path: Path) -> None:
    status, found = await asked(tmp_path, "", AUTH)
    rows = found["offers"]
    assert status == 200
    assert isinstance(rows, list)
    assert [row["offer"] for row in rows] == ["1", "2"]
    (source,) = found["sources"]  # type: ignore[misc]
    assert (source["provider"], source["account"], source["source"]) == ("vastai", "main", "offer")
    assert source["n"] == 2


@pytest.mark.parametrize(
    ("query", "offers"),
    [
        ("?count=2", ["2"]),
        ("?max_price=1", ["1"]),
        ("?spot=true", []),
        ("?provider=runpod", []),
        ("?gpu=24GB..", ["1", "2"]),
        ("?gpu=H100", []),
        ("?limit=1", ["1"]),
    ],
)
async def test_filters_hold(tmp_path: Path, query: str, offers: list[str]) -> None:
    rows = (await asked(tmp_path, query, AUTH))[1]["offers"]
    assert isinstance(rows, list)
    assert [row["offer"] for row in rows] == offers


@pytest.mark.parametrize(
    "query", ["?what=1", "?count=x", "?spot=maybe", "?max_price=-1", "?gpu=..", "?limit=0"]
)
async def test_a_filter_that_is_none_is_refused(tmp_path: Path, query: str) -> None:
    status, found = await asked(tmp_path, query, AUTH)
    assert status == 400
    assert found["text"]


async def test_nobody_asks_without_the_token(tmp_path: Path) -> None:
    assert (await asked(tmp_path, "", {}))[0] == 401


def test_the_lowest_role_may_ask() -> None:
    found = {one.path: one.role for one in offer_routes(FakeMarket(), compare)}
    assert found == {"/v1/offers": VIEWER, "/v1/compare": VIEWER}


async def compared(folder: Path, query: object, *, by_peer: bool = False) -> tuple[int, object]:
    @web.middleware
    async def from_a_peer(request: web.Request, handler: Any) -> web.StreamResponse:
        request[PEER] = b"k" * 32
        response: web.StreamResponse = await handler(request)
        return response

    app = make_app(FakeNode(folder), TOKEN, None, offer_routes(FakeMarket(), compare))
    if by_peer:
        app.middlewares.append(from_a_peer)
    async with (
        TestClient(TestServer(app), headers=AUTH) as client,
        client.post("/v1/compare", json=query) as response,
    ):
        return response.status, await response.json()


async def test_tokens_a_day_are_compared(tmp_path: Path) -> None:
    query = {"model": "qwen3-8b", "tokens_per_day": 1_000_000, "what_if": ["RTX 4090"]}
    status, found = await compared(tmp_path, query)
    assert status == 200
    assert isinstance(found, dict)
    assert {row["kind"] for row in found["rows"]} == {"owned", "rented", "api", "yardstick"}
    rented = [row for row in found["rows"] if row["kind"] == "rented"]
    assert {row["offer"]["source"] for row in rented} == {"offer"}


async def test_a_bad_question_is_refused(tmp_path: Path) -> None:
    status, found = await compared(tmp_path, {"model": "qwen3-8b"})
    assert (status, found["text"]) == (400, "tokens_per_day: missing")  # type: ignore[index]


@pytest.mark.parametrize("model", ["/etc/passwd", "http://127.0.0.1:1/x.gguf", "../x"])
async def test_another_peer_compares_models_by_name_only(tmp_path: Path, model: str) -> None:
    query = {"model": model, "tokens_per_day": 1, "what_if": ["RTX 4090"]}
    status, found = await compared(tmp_path, query, by_peer=True)
    assert (status, found["code"]) == (404, "UnknownModel")  # type: ignore[index]
    named = await compared(tmp_path, query | {"model": "qwen3-8b"}, by_peer=True)
    assert named[0] == 200
