"""mDNS on loopback against an independent zeroconf: both see each other, garbage is left alone."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from zeroconf import ServiceInfo
from zeroconf.asyncio import AsyncServiceInfo, AsyncZeroconf

from mesh.edge.discovery.mdns import SERVICE, Mdns
from mesh.edge.discovery.sightings import Sightings
from mesh.edge.discovery.whereabouts import Whereabouts
from mesh.state.peer_id import peer_id

WHERE = Whereabouts(addresses=("127.0.0.1",), port=7433, pairing_port=7434)
ME, OTHER = peer_id("aa" * 32), peer_id("bb" * 32)


async def until(condition: Callable[[], object], what: str) -> Any:
    try:
        async with asyncio.timeout(30):
            while True:
                if found := condition():
                    return found
                await asyncio.sleep(0.02)
    except TimeoutError:
        raise AssertionError(f"waited in vain for {what}") from None


@pytest.fixture
def book(tmp_path: Path) -> Sightings:
    return Sightings(tmp_path)


def made(book: Sightings, news: list[str]) -> Mdns:
    return Mdns(ME, "studio", ("lo",), lambda: WHERE, book, news.append, lambda: 1)


def service(label: str, txt: dict[str, str], port: int = 7001) -> ServiceInfo:
    return ServiceInfo(
        SERVICE,
        f"{label}.{SERVICE}",
        parsed_addresses=["127.0.0.1"],
        port=port,
        properties=txt,
        server=f"{label}.local.",
    )


async def test_two_strangers_on_one_network_see_each_other(book: Sightings) -> None:
    news: list[str] = []
    mdns = made(book, news)
    running = asyncio.create_task(mdns.run())
    other = AsyncZeroconf(interfaces=["127.0.0.1"])
    try:
        await until(lambda: mdns.state == "announced on lo", "our announcement")
        info = AsyncServiceInfo(SERVICE, f"studio-{ME[:7].lower()}.{SERVICE}")
        assert await info.async_request(other.zeroconf, 5000)
        assert info.decoded_properties == {"v": "1", "id": ME, "pair": "7434"}  # and no secret
        assert (info.port, info.parsed_addresses()) == (7433, ["127.0.0.1"])

        theirs = service("rig-x", {"v": "1", "id": OTHER, "pair": "7002"})
        await (await other.async_register_service(theirs))
        (seen,) = await until(lambda: book.of(OTHER), "their sighting")
        assert (seen.address, seen.pairing_port, seen.name) == (("127.0.0.1", 7001), 7002, "rig")
        assert news == [OTHER]

        await (await other.async_unregister_service(theirs))
        await until(lambda: not book.of(OTHER), "their goodbye")
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await other.async_close()


@pytest.mark.parametrize(
    "txt",
    [
        {},
        {"id": "x"},
        {"id": OTHER[:-1] + "A"},
        {"id": ME},
        {"id": OTHER, "pair": "x"},
        {"id": OTHER, "pair": "70000"},
    ],
)
def test_an_announcement_that_is_not_ours_is_left_alone(
    book: Sightings, txt: dict[str, str | None]
) -> None:
    news: list[str] = []
    made(book, news)._note(f"x.{SERVICE}", txt, ["127.0.0.1"], 7001)
    assert (book.strangers(), news) == ([], [])


def test_one_announcement_may_name_many_addresses_but_not_any_number(book: Sightings) -> None:
    many = [f"10.0.0.{n}" for n in range(200)]
    made(book, [])._note(f"x.{SERVICE}", {"id": OTHER, "pair": "0"}, many, 7001)
    assert 1 < len(book.of(OTHER)) <= 8
