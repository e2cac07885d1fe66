"""Three daemons on three hosts, over a network that is cut, loses packets and is slow."""

import asyncio
import shutil

import pytest

from tests.netns.inside import in_namespace
from tests.netns.lab import Lab
from tests.netns.proxy import FaultProxy
from tests.support.waiting import wait_until


def test_hosts_find_each_other_and_share_what_they_write(fleet: Lab) -> None:
    for host in fleet.hosts:
        host.ok("note", f"hello from {host.name}")
    for host in fleet.hosts:
        wait_until(host.has(*(f"hello from h{n}" for n in (1, 2, 3))), f"all at {host.name}")
    rows = {row["name"]: row for row in fleet.hosts[0].json("peers")}
    assert "mdns" in rows["h2"]["sources"]
    assert "mdns" in rows["h3"]["sources"]
    assert "announced on eth0" in fleet.hosts[1].ok("doctor")


@pytest.mark.slow
def test_a_cut_cable_is_noticed_both_sides_go_on_and_agree_again(fleet: Lab) -> None:
    one, two, three = fleet.hosts
    three.plug(up=False)
    try:
        wait_until(lambda: one.states()["h3"] == "offline", "the dead link noticed")
        one.ok("note", "on the mainland")
        three.ok("note", "on the island")
        wait_until(two.has("on the mainland"), "the note on this side")
        assert not three.has("on the mainland")()
        assert three.json("devices"), "an island still answers"
    finally:
        three.plug(up=True)
    for host in fleet.hosts:
        wait_until(host.has("on the mainland", "on the island"), f"both at {host.name}")


@pytest.mark.slow
def test_a_peer_that_moved_to_another_port_is_found_again(fleet: Lab) -> None:
    one, two, _ = fleet.hosts
    two.stop()
    two.env["FLEET_MESH_PORT"] = "7555"
    two.up()
    one.ok("note", "after the move")
    wait_until(two.has("after the move"), "the note at the moved peer")
    wait_until(lambda: one.states()["h2"] == "online", "the moved peer linked")


@pytest.mark.skipif(shutil.which("nft") is None, reason="nft is not installed")
def test_a_fifth_of_all_packets_lost_only_slows_things(fleet: Lab) -> None:
    one, _, three = fleet.hosts
    three.lose(20)
    try:
        one.ok("note", "through the storm")
        three.ok("note", "back through the storm")
        wait_until(three.has("through the storm"), "the note past the loss")
        wait_until(one.has("back through the storm"), "the answer past the loss")
    finally:
        three.lose(0)


@pytest.mark.slow
def test_a_thin_line_carries_a_backlog_in_time(fleet: Lab) -> None:
    """256 kbit/s: 300 notes of 200 bytes are about 100 kB, some seconds of that line."""
    one, _, three = fleet.hosts
    three.stop()
    for host in (one, three):
        host.limit(256)
    try:
        texts = [f"{n:03d} {'thin line ' * 20}" for n in range(300)]
        with in_namespace(one) as api:
            for text in texts:
                api.ask("POST", "/v1/notes", {"text": text})
        three.up()
        wait_until(three.has(*(text.strip() for text in texts)), "the backlog")
    finally:
        for host in (one, three):
            host.limit(0)


async def test_a_far_away_peer_answers_through_a_slow_line() -> None:
    """The fault proxy itself: it delays and cuts, which no kernel here does for us."""

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(100):
            writer.write(data)
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with FaultProxy("127.0.0.1", port, delay_s=0.05) as proxy:
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        begun = asyncio.get_running_loop().time()
        writer.write(b"there")
        assert await reader.readexactly(5) == b"there"
        assert asyncio.get_running_loop().time() - begun >= 2 * 0.05  # never sooner than the delay
        proxy.cut()
        assert await reader.read(1) == b""
        writer.close()
    server.close()
