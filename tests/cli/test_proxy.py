"""The fleet's models at the ports of other programs: `fleet proxy` and what the daemon does."""

import asyncio
import json
import os
import socket
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from click.testing import CliRunner

from mesh.api.errors import RequestError
from mesh.cli.app import fleet
from mesh.cli.serving import proxy
from mesh.edge.gateway import ports
from mesh.edge.gateway.ports import FILE, Ports
from mesh.edge.transport.plain import own_programs

ROW = {"port": 11434, "as": "ollama", "url": "http://127.0.0.1:11434", "open": True}


class Door:
    """Further ports of an application that says "here", in a home."""

    def __init__(self, home: Path) -> None:
        async def here(request: web.Request) -> web.Response:
            return web.Response(text="here")

        app = web.Application()
        app.add_routes([web.get("/", here)])
        self.runner = web.AppRunner(app)
        self.ports = Ports(home)

    async def __aenter__(self) -> Ports:
        await self.runner.setup()
        assert self.runner.server is not None
        await self.ports.start(self.runner.server, own_programs())
        return self.ports

    async def __aexit__(self, *_: object) -> None:
        await self.runner.cleanup()


@pytest.fixture
def free() -> int:
    with closing(socket.create_server(("127.0.0.1", 0))) as sock:
        return int(sock.getsockname()[1])


@pytest.fixture
def taken() -> Iterator[int]:
    with closing(socket.create_server(("127.0.0.1", 0))) as sock:
        yield int(sock.getsockname()[1])


async def said_at(port: int) -> str:
    async with aiohttp.ClientSession() as session:
        try:
            async with session.get(f"http://127.0.0.1:{port}/") as response:
                return await response.text()
        except aiohttp.ClientConnectorError:
            return ""


def test_a_further_port_answers_until_it_is_closed(tmp_path: Path, free: int) -> None:
    async def story() -> None:
        async with Door(tmp_path) as further:
            await further.open_at(free, "ollama")
            await further.open_at(free, "ollama")
            assert await said_at(free) == "here"
            assert [(row["port"], row["as"], row["open"]) for row in further.rows()] == [
                (free, "ollama", True)
            ]
            await further.close_at(free)
            assert await said_at(free) == ""
            assert further.rows() == []

    asyncio.run(story())


def test_ports_come_back_with_the_daemon(tmp_path: Path, free: int) -> None:
    async def story(*, first: bool) -> str:
        async with Door(tmp_path) as further:
            if first:
                await further.open_at(free)
            return await said_at(free)

    assert asyncio.run(story(first=True)) == "here"
    assert asyncio.run(story(first=False)) == "here"


def test_a_port_that_is_held_is_refused_with_its_holder(tmp_path: Path, taken: int) -> None:
    async def story() -> None:
        async with Door(tmp_path) as further:
            with pytest.raises(RequestError) as caught:
                await further.open_at(taken)
            assert (caught.value.code, caught.value.status) == ("PortBusy", 409)
            assert caught.value.text == f"port {taken} is held by this daemon itself"
            assert further.rows() == []
            assert not (tmp_path / FILE).exists()

    asyncio.run(story())


def test_the_holder_is_named_with_its_number(taken: int, monkeypatch: pytest.MonkeyPatch) -> None:
    me = os.getpid()
    monkeypatch.setattr(ports.os, "getpid", lambda: 1)
    assert ports.holder(taken).endswith(f"(pid {me})")


def test_a_port_taken_while_the_daemon_was_down_stops_no_daemon(
    tmp_path: Path, taken: int, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / FILE).write_text(json.dumps({str(taken): "ollama", "x": "", "99999999": ""}))

    async def story() -> list[dict[str, object]]:
        async with Door(tmp_path) as further:
            return further.rows()

    (row,) = asyncio.run(story())
    assert (row["port"], row["open"]) == (taken, False)
    assert f"port {taken} is held by" in capfd.readouterr().err


def test_closing_what_is_not_open_says_so(tmp_path: Path, free: int) -> None:
    async def story() -> None:
        async with Door(tmp_path) as further:
            with pytest.raises(RequestError, match=f"port {free} is none of ours"):
                await further.close_at(free)

    asyncio.run(story())


class Asked:
    """A daemon that notes what it is asked."""

    def __init__(self) -> None:
        self.posted: list[tuple[str, Any]] = []
        self.rows: list[dict[str, object]] = []

    def get(self, path: str) -> Any:
        assert path == "/v1/proxies"
        return {"proxies": self.rows}

    def post(self, path: str, body: Any) -> Any:
        self.posted.append((path, body))
        return {"closed": [11434]} if path.endswith("close") else ROW


@pytest.fixture
def daemon(monkeypatch: pytest.MonkeyPatch) -> Asked:
    found = Asked()
    monkeypatch.setattr(proxy, "need_daemon", lambda _: found)
    return found


def said(*words: str) -> str:
    return CliRunner().invoke(fleet, ["proxy", *words], catch_exceptions=False).stdout


def test_it_says_where_it_is_and_what_to_set(daemon: Asked) -> None:
    text = said("--as", "ollama")
    assert daemon.posted == [("/v1/proxies", {"as": "ollama"})]
    assert text.splitlines() == [
        "http://127.0.0.1:11434  every model of the fleet, as Ollama",
        "  tools that look there need no change; for others: OLLAMA_HOST=http://127.0.0.1:11434",
        "  fleet proxy --as ollama --off gives the port back",
    ]


def test_it_gives_the_port_back(daemon: Asked) -> None:
    assert said("--as", "ollama", "--off") == "port 11434 is free\n"
    assert daemon.posted == [("/v1/proxies/close", {"as": "ollama"})]


def test_alone_it_lists_what_is_open(daemon: Asked) -> None:
    assert said() == f"{proxy.NOBODY}\n"
    daemon.rows = [ROW, ROW | {"port": 1234, "as": "lmstudio", "open": False}]
    assert "port is taken" in said("list")
    assert json.loads(said("-o", "json")) == daemon.rows


def test_off_alone_is_no_command(daemon: Asked) -> None:
    with pytest.raises(SystemExit):
        fleet.main(["proxy", "--off"])
    assert daemon.posted == []
