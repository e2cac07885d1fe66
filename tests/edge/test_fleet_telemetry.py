"""The fleet's telemetry at one peer: members that speak, fall silent, lie, or are not reached."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import msgspec
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from mesh.api.errors import RequestError
from mesh.api.telemetry import DeviceNow, PeerNow
from mesh.edge.http.app import make_app, make_mesh_app
from mesh.edge.http.peers import MESH
from mesh.edge.http.roles import PEER, ROLE, Route
from mesh.edge.http.telemetry import routes
from mesh.edge.telemetry.fleet import FleetTelemetry
from mesh.edge.transport.call import Caller, Unanswered
from mesh.state.members import VIEWER
from mesh.state.peer_id import peer_id
from mesh.state.state import State
from tests.edge.transport.peers import Peer, between, until

ANA, BEN, CID = ("aa" * 32, "bb" * 32, "cc" * 32)


def now(author: str, watts: int = 1) -> PeerNow:
    device = DeviceNow(device_id=f"dev-{author[:2]}", name="card", power_mw=1000 * watts)
    return PeerNow(peer_id=peer_id(author), at_ms=1, devices=(device,))


class Own:
    """A stand-in for this peer's own telemetry: one reading, then whatever is rung for."""

    def __init__(self) -> None:
        self.watchers = 0
        self.bell = asyncio.Condition()

    def now(self) -> PeerNow:
        return now(ANA)

    async def watch(self) -> AsyncIterator[PeerNow]:
        self.watchers += 1
        try:
            while True:
                yield self.now()
                async with self.bell:
                    await self.bell.wait()
        finally:
            self.watchers -= 1


class Members:
    """Stand-ins for members' streams: what each says, by key; None hangs, an error is raised."""

    def __init__(self) -> None:
        self.says: dict[str, list[bytes | None | Exception]] = {}
        self.open = 0

    async def stream(self, key: bytes, path: str, most_bytes: int) -> AsyncIterator[bytes]:
        self.open += 1
        try:
            for one in self.says[key.hex()]:
                if isinstance(one, Exception):
                    raise one
                if one is None:
                    await asyncio.Event().wait()
                else:
                    yield one
        finally:
            self.open -= 1


def state() -> State:
    """A fleet of three, as far as telemetry asks."""
    names = {ANA: "ana", BEN: "ben", CID: "cid"}
    peers = [SimpleNamespace(author=key, name=name, role=VIEWER) for key, name in names.items()]
    members = SimpleNamespace(peers=lambda: iter(peers), name=lambda key: names.get(key, ""))
    return cast(State, SimpleNamespace(members=members, devices={}, last_ms=0))


class Fleet:
    def __init__(self) -> None:
        self.own, self.members, self.seconds = Own(), Members(), 100.0
        made: Any = (self.own, self.members, state, ANA, lambda: self.seconds)
        self.telemetry = FleetTelemetry(*made)


async def test_a_silent_member_delays_nobody_and_is_shown_as_silent() -> None:
    fleet = Fleet()
    said = msgspec.json.encode(now(BEN, 250))
    fleet.members.says = {BEN: [said, None], CID: [None]}
    async with asyncio.timeout(5):
        picture = await fleet.telemetry.once()
    ana, ben, cid = picture.peers
    assert (ana.you, ana.state, ana.age_ms) == (True, "live", 0)
    assert (ben.state, ben.devices[0].power_mw) == ("live", 250_000)
    assert (cid.state, cid.age_ms, cid.why) == ("silent", None, "it has not answered")
    await until(lambda: not fleet.members.open, "all streams closed")
    assert fleet.own.watchers == 0


async def test_the_first_picture_of_a_stream_does_not_wait_for_anybody() -> None:
    fleet = Fleet()
    fleet.members.says = {BEN: [None], CID: [None]}
    async with aclosing(fleet.telemetry.pictures()) as pictures:  # type: ignore[type-var]
        async with asyncio.timeout(0.5):
            first = await anext(pictures)
    assert [peer.state for peer in first.peers] == ["live", "silent", "silent"]


async def test_a_member_that_fell_silent_keeps_what_it_said_last_with_its_age() -> None:
    fleet = Fleet()
    fleet.members.says = {BEN: [msgspec.json.encode(now(BEN, 250)), None], CID: [None]}
    async with aclosing(fleet.telemetry.pictures(1.0)) as pictures:  # type: ignore[type-var]
        assert (await anext(pictures)).peers[1].state == "live"
        fleet.seconds += 60
        ben = (await anext(pictures)).peers[1]
    assert (ben.state, ben.age_ms, ben.devices[0].power_mw) == ("silent", 60_000, 250_000)


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (msgspec.json.encode(now(CID)), "it speaks of another peer's devices"),
        (b"{not json", "no telemetry"),
        (Unanswered("ben is not reached: no route to host", sent=False), "no route to host"),
        (RequestError("NotAMember", "this key is no member", "", 403), "no member"),
    ],
    ids=["another's", "no json", "not reached", "refuses"],
)
async def test_a_member_that_lies_or_refuses_is_silent_with_the_reason(
    said: bytes | Exception, why: str
) -> None:
    fleet = Fleet()
    fleet.members.says = {BEN: [said], CID: [msgspec.json.encode(now(CID)), None]}
    ben, cid = (await fleet.telemetry.once()).peers[1:]
    assert why in ben.why
    assert ben.devices == ()
    assert cid.state == "live"


async def test_one_stream_of_a_member_serves_all_who_watch_it_and_ends_with_the_last() -> None:
    fleet = Fleet()
    fleet.members.says = {BEN: [msgspec.json.encode(now(BEN)), None]}
    first, second = fleet.telemetry.of("ben"), fleet.telemetry.of(peer_id(BEN))
    assert await anext(first) == await anext(second) == now(BEN)
    assert fleet.members.open == 1
    await first.aclose()  # type: ignore[attr-defined]
    assert fleet.members.open == 1
    await second.aclose()  # type: ignore[attr-defined]
    await until(lambda: not fleet.members.open, "the stream closed")


def test_a_peer_nobody_knows_is_not_found() -> None:
    with pytest.raises(RequestError, match="no peer 'dora'"):
        Fleet().telemetry.of("dora")


async def served(fleet: Fleet, path: str, *, loopback: bool = True) -> tuple[int, str]:
    """The status and the first line or two of the answer."""
    more = routes(fleet.telemetry, loopback=loopback)
    app = make_app(cast(Any, SimpleNamespace()), "t", None, more)
    headers = {"Authorization": "Bearer t"}
    async with (
        TestClient(TestServer(app)) as client,
        client.get(path, headers=headers) as answer,
    ):
        if "event-stream" not in answer.headers["Content-Type"]:
            return answer.status, await answer.text()
        lines = [await answer.content.readline()]
        if lines[0].startswith(b"event"):
            lines.append(await answer.content.readline())
        return answer.status, b"".join(lines).decode()


async def test_the_route_streams_this_peer_another_all_or_one_picture() -> None:
    fleet = Fleet()
    fleet.members.says = {BEN: [msgspec.json.encode(now(BEN)), None], CID: [None]}
    status, said = await served(fleet, "/v1/telemetry")
    assert (status, peer_id(ANA) in said) == (200, True)
    status, said = await served(fleet, "/v1/telemetry?peer=ben")
    assert (status, peer_id(BEN) in said) == (200, True)
    status, said = await served(fleet, "/v1/telemetry?peer=all")
    assert len(msgspec.json.decode(said.removeprefix("data: "))["peers"]) == 3
    status, said = await served(fleet, "/v1/telemetry?peer=all&once=1")
    assert len(msgspec.json.decode(said)["peers"]) == 3


@pytest.mark.parametrize(
    ("query", "status", "word"),
    [("peer=dora", 404, "NotFound"), ("once=1", 400, "BadField"), ("x=1", 400, "UnknownField")],
)
async def test_a_question_nobody_can_answer_is_refused_before_the_stream(
    query: str, status: int, word: str
) -> None:
    got, said = await served(Fleet(), f"/v1/telemetry?{query}")
    assert (got, word in said) == (status, True)


async def test_a_member_that_is_not_reached_ends_its_stream_with_an_error() -> None:
    fleet = Fleet()
    fleet.members.says = {BEN: [Unanswered("no route to host", sent=False)]}
    _, said = await served(fleet, "/v1/telemetry?peer=ben")
    assert said.startswith("event: error\n")
    assert "no route to host" in said


async def test_a_member_asks_for_no_relay_and_its_stream_ends_when_it_is_put_out() -> None:
    fleet, roles = Fleet(), {bytes.fromhex(BEN): VIEWER}
    mesh: Any = SimpleNamespace(role_of=lambda key: roles.get(key, ""))

    @web.middleware
    async def as_ben(request: web.Request, handler: Any) -> web.StreamResponse:
        request[PEER], request[ROLE] = bytes.fromhex(BEN), VIEWER
        return cast(web.StreamResponse, await handler(request))

    app = make_mesh_app(
        cast(Any, SimpleNamespace(owner=None)), mesh, routes(fleet.telemetry, loopback=False)
    )
    app.middlewares[-1] = as_ben
    assert app[MESH] is mesh
    async with TestClient(TestServer(app)) as client:
        async with client.get("/v1/telemetry?peer=all") as answer:
            assert answer.status == 400
        async with client.get("/v1/telemetry") as answer:
            assert (await answer.content.readline()).startswith(b"data: ")
            roles.clear()
            async with fleet.own.bell:
                fleet.own.bell.notify_all()
            async with asyncio.timeout(10):
                assert await answer.content.read() == b"\n"


async def test_a_stream_over_tls_is_bounded_in_its_messages_and_says_who_is_not_reached(
    tmp_path: Path,
) -> None:
    async def check(ana: Peer, ben: Peer) -> None:
        ana.trust(ben)
        ben.trust(ana)
        ana.knows(ben)
        caller = Caller(ana.book, ana)
        with pytest.raises(RequestError, match="no route"):
            await anext(caller.stream(ben.key, [], "/v1/nothing", 100))
        said = caller.stream(ben.key, [], "/stream", 100)
        assert await anext(said) == b"1"
        assert await anext(said) == b"2"
        with pytest.raises(RequestError, match="too long"):
            await anext(said)
        ben.forget(ana)
        with pytest.raises(Unanswered):
            await anext(caller.stream(ben.key, [], "/stream", 100))

    async def stream(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b": comment\n\ndata: 1\n\ndata: 2\n\n")
        with suppress(ConnectionError):
            while True:
                await response.write(b"x" * 1000)
                await asyncio.sleep(0)
        return response

    with pytest.MonkeyPatch.context() as patch:
        more = [Route("GET", "/stream", VIEWER, stream)]
        patch.setattr("tests.edge.transport.peers.mesh_routes", lambda: more)
        await between(tmp_path, check)
