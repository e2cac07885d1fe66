"""`GET /v1/offers`: for the user of this machine and for every member that may read."""

from pathlib import Path

import pytest
from aiohttp.test_utils import TestClient, TestServer

from mathcore.units import GIB, NUSD
from mesh.edge.http.app import make_app
from mesh.edge.http.offers import offer_routes
from mesh.state.market.quotes import Quote
from mesh.state.members import VIEWER
from tests.edge.http.test_app import AUTH, NOW, TOKEN, FakeNode


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


async def asked(folder: Path, query: str, headers: dict[str, str]) -> tuple[int, dict[str, object]]:
    app = make_app(FakeNode(folder), TOKEN, None, offer_routes(FakeMarket()))
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
    assert [(one.path, one.role) for one in offer_routes(FakeMarket())] == [("/v1/offers", VIEWER)]
