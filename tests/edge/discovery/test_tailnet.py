"""The tailnet by its three sources. tailscaled, its command and its cloud are stand-ins here;
the client of the admin API is the real one from PyPI."""

import asyncio
import json
import os
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from mesh.edge.discovery import tailnet
from mesh.edge.discovery.sightings import Sightings
from mesh.edge.discovery.tailnet import Tailnet, TailnetError, parse_status

# Keys as tailscaled 1.103 writes them (ipn/ipnstate/ipnstate.go); values are made up.
STATUS: dict[str, Any] = {
    "Version": "1.103.0",
    "TUN": True,
    "BackendState": "Running",
    "HaveNodeKey": True,
    "AuthURL": "",
    "TailscaleIPs": ["100.64.0.1", "fd7a:115c:a1e0::1"],
    "Self": {
        "ID": "n1",
        "HostName": "studio",
        "DNSName": "studio.tail1234.ts.net.",
        "TailscaleIPs": ["100.64.0.1"],
        "Online": True,
        "KeyExpiry": "2026-12-01T00:00:00Z",
    },
    "Health": [],
    "CurrentTailnet": {"Name": "a@example.com", "MagicDNSEnabled": True},
    "Peer": {
        "nodekey:aa": {
            "ID": "n2",
            "HostName": "rig",
            "DNSName": "rig.tail1234.ts.net.",
            "OS": "linux",
            "TailscaleIPs": ["100.64.0.2", "fd7a:115c:a1e0::2"],
            "Online": True,
            "Tags": ["tag:gpu"],
            "Relay": "fra",
            "CurAddr": "",
        },
        "nodekey:bb": {
            "HostName": "old",
            "DNSName": "old.tail1234.ts.net.",
            "Online": False,
            "TailscaleIPs": ["100.64.0.3"],
            "LastSeen": "2026-11-01T00:00:00Z",
        },
        "nodekey:cc": {"HostName": "evil", "TailscaleIPs": ["192.0.2.1"], "Online": True},
    },
    "User": {},
}
NOW = int(datetime(2026, 11, 25, tzinfo=UTC).timestamp() * 1000)


@pytest.fixture
async def socket(tmp_path: Path) -> AsyncIterator[str]:
    """A stand-in for tailscaled: its LocalAPI on a unix socket."""

    async def status(request: web.Request) -> web.Response:
        assert request.host == "local-tailscaled.sock"
        return web.json_response(STATUS)

    app = web.Application()
    app.router.add_get("/localapi/v0/status", status)
    runner = web.AppRunner(app)
    await runner.setup()
    path = str(tmp_path / "tailscaled.sock")
    await web.UnixSite(runner, path).start()
    yield path
    await runner.cleanup()


def stand_in(folder: Path, text: str) -> None:
    """A stand-in for the `tailscale` command that prints `text`."""
    script = folder / "tailscale"
    script.write_text(
        f"#!/bin/sh\n[ \"$1 $2\" = 'status --json' ] || exit 1\ncat <<'END'\n{text}\nEND\n"
    )
    script.chmod(0o755)


def made(folder: Path, socket: str, news: list[str]) -> tuple[Tailnet, Sightings]:
    book = Sightings(folder)
    return Tailnet(socket, ("", "-"), 7433, book, news.append, lambda: NOW), book


async def test_tailscaled_is_asked_over_its_own_socket(tmp_path: Path, socket: str) -> None:
    news: list[str] = []
    source, book = made(tmp_path, socket, news)
    await source.look()
    await source.look()
    assert source.state == "Running (LocalAPI), 1 machines online"
    assert "key expires in 6 days" in source.fix
    assert book.nameless() == [("100.64.0.2", 7433), ("fd7a:115c:a1e0::2", 7433)]
    assert news == [""]  # told once, not at every look


async def test_without_a_socket_the_command_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in(tmp_path, json.dumps(STATUS))
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    source, book = made(tmp_path, str(tmp_path / "nothing"), [])
    await source.look()
    assert source.state.startswith("Running (tailscale status)")
    assert len(book.nameless()) == 2


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ("not json", "not JSON"),
        ("[]", "not tailscaled's"),
        ('{"BackendState": 3}', "not tailscaled"),
        ('{"BackendState": "NeedsLogin"}', "tailscale is NeedsLogin"),
    ],
)
async def test_a_tailnet_that_is_not_there_is_a_state_not_a_crash(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str, why: str
) -> None:
    stand_in(tmp_path, said)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    source, book = made(tmp_path, "", [])
    await source.look()
    assert why in source.state
    assert book.nameless() == []


async def test_a_command_that_hangs_is_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tailscale").write_text("#!/bin/sh\nexec sleep 600\n")
    (tmp_path / "tailscale").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(tailnet, "ASK_S", 0.2)
    with pytest.raises(TailnetError, match="does not end"):
        await tailnet.from_command()


async def test_the_admin_api_through_its_real_client() -> None:
    """The client's origin is fixed, so a middleware of its session turns it to loopback."""
    device = {
        "id": "1",
        "nodeId": "n2",
        "name": "rig.tail1234.ts.net",
        "hostname": "rig",
        "addresses": ["100.64.0.2", "fd7a:115c:a1e0::2"],
        "os": "linux",
        "user": "a@example.com",
        "lastSeen": "2026-11-23T07:00:00Z",
        "tags": ["tag:gpu"],
        "authorized": True,
        "clientVersion": "1.90.0",
        "updateAvailable": False,
        "nodeKey": "nodekey:aa",
        "machineKey": "",
        "created": "",
        "isExternal": False,
        "keyExpiryDisabled": True,
        "expires": "2027-01-01T00:00:00Z",
        "blocksIncomingConnections": False,
        "connectedToControl": True,
    }
    asked: list[tuple[str, str | None]] = []

    async def devices(request: web.Request) -> web.Response:
        asked.append((request.path, request.headers.get("Authorization")))
        if "wrong" in str(request.headers.get("Authorization")):
            return web.json_response({"message": "API token invalid"}, status=401)
        return web.json_response({"devices": [device]})

    app = web.Application()
    app.router.add_get("/api/v2/tailnet/{tailnet}/devices", devices)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    port = runner.addresses[0][1]

    async def to_loopback(request: Any, handler: Any) -> Any:
        request.url = request.url.with_scheme("http").with_host("127.0.0.1").with_port(port)
        return await handler(request)

    try:
        async with aiohttp.ClientSession(middlewares=(to_loopback,)) as session:
            status = await tailnet.from_admin_api("tskey-api-x", "-", session)
            with pytest.raises(TailnetError, match="refused"):
                await tailnet.from_admin_api("tskey-wrong", "-", session)
    finally:
        await runner.cleanup()
    (machine,) = status.machines
    assert (machine.name, machine.addresses[0], machine.online) == ("rig", "100.64.0.2", True)
    assert asked[0][0] == "/api/v2/tailnet/-/devices"


async def test_no_socket_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(TailnetError, match="no tailscaled at"):
        await asyncio.wait_for(tailnet.from_socket(str(tmp_path / "none")), 10)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner),
    max_leaves=20,
)


@given(JSON, JSON)
def test_any_status_is_read_or_refused(peer: object, me: object) -> None:
    status = parse_status({"BackendState": "Running", "Peer": {"k": peer}, "Self": me}, "x")
    assert all(one.addresses for one in status.machines)
    for said in (peer, [peer]):
        if not isinstance(said, dict) or not isinstance(said.get("BackendState"), str):
            with pytest.raises(TailnetError):
                parse_status(said, "x")
