"""What a provider's replies may be: bounded, and none of them shows our key."""

import asyncio
import json
import os
import subprocess
import sys
from typing import Any

import pytest

from mesh.edge.clouds.keys import PROVIDERS, find_all, withdraw
from mesh.edge.clouds.renting.reading import MAX_ROWS, read_all
from mesh.edge.clouds.renting.wire import Limits
from mesh.policy.rentals.values import Seen
from providers.rental.contract import Ask, Page, Reply, Request, Row, Unread
from providers.rental.http import HttpWire
from providers.rental.waits import DAY_MS, hold_ms
from providers.vastai.creating import created_from
from providers.vastai.offers import offers_from
from providers.vastai.profile import PROFILE
from tests.edge.clouds.attacked import T0
from tests.providers.rental.test_http import raw

KEY = "sk-0123456789abcdef0123456789abcdef"


def test_what_is_started_inherits_no_key() -> None:
    environment = {"PATH": "/bin", **{one.variable: KEY for one in PROVIDERS}}
    given = withdraw(environment)
    assert environment == {"PATH": "/bin"}
    assert all(one.key is not None for one in find_all(given))


SHOWS = """
import os, subprocess, sys
from mesh.edge.clouds.keys import withdraw
given = withdraw()
assert sorted(given) == ["RUNPOD_API_KEY", "VAST_API_KEY"], given
assert set(given.values()) == {sys.argv[1][::-1]}
with open("/proc/self/environ", "rb") as own:
    sys.stdout.write(own.read().decode())
sys.stdout.flush()
subprocess.run(["env"], check=True)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="there is no /proc")
def test_a_process_shows_its_user_no_key_that_it_was_started_with() -> None:
    environment = {**os.environ, "VAST_API_KEY": KEY, "RUNPOD_API_KEY": KEY, "AFTER": "kept"}
    words = [sys.executable, "-c", SHOWS, KEY[::-1]]
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert KEY not in done.stdout
    assert done.stdout.count("AFTER=kept") == 2


@pytest.mark.parametrize("status", [200, 400, 401, 404, 500])
async def test_a_reply_that_echoes_the_key_shows_it_to_nobody(status: int) -> None:
    said = json.dumps({"error": KEY, "msg": f"key {KEY} is bad", "new_contract": KEY}).encode()

    async def echo(head: bytes, writer: asyncio.StreamWriter) -> None:
        assert KEY.encode() in head
        length = str(len(said)).encode()
        writer.write(b"HTTP/1.1 %d X\r\nContent-Length: %s\r\n\r\n" % (status, length) + said)
        await writer.drain()

    async with raw(echo) as server, HttpWire(server.url, KEY, "Vast.ai") as wire:
        reply = await wire.send(Request(op="create", method="PUT", path="/x", body={}))
    assert reply.status == status
    assert KEY not in repr(reply)
    assert KEY not in repr(created_from(reply))


async def test_a_proxy_of_the_environment_gets_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    async def never(head: bytes, writer: asyncio.StreamWriter) -> None:
        raise AssertionError(head)

    async def well(head: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
        await writer.drain()

    async with raw(never) as proxy, raw(well) as server:
        for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        async with HttpWire(server.url, KEY, "Vast.ai") as wire:
            reply = await wire.send(Request(op="list", method="GET", path="/"))
        assert (reply.status, proxy.seen, len(server.seen)) == (200, [], 1)


def nested(depth: int) -> object:
    found: object = "threshold=99999.0"
    for _ in range(depth):
        found = [found]
    return found


@pytest.mark.parametrize("body", [nested(990), {"detail": nested(990)}, "x" * 10**7, [], None, 7])
def test_a_429_of_any_body_holds_for_some_seconds(body: object) -> None:
    reply = Reply(status=429, body=body)
    assert 0 < hold_ms(reply, 0, T0) <= 60_000
    Limits(PROFILE, Seen()).heard("list", reply, T0, T0)


@pytest.mark.parametrize("body", [{"error": "search_quota_exceeded"}, "search_quota_exceeded"])
def test_a_used_up_quota_is_still_read_from_a_429(body: object) -> None:
    assert hold_ms(Reply(status=429, body=body), 0, T0) == DAY_MS - T0 % DAY_MS


async def test_a_listing_of_a_hundred_thousand_machines_is_none_and_ends_early() -> None:
    asked: list[str] = []

    async def page(after: str) -> Page | Unread:
        asked.append(after)
        rows = tuple(
            Row(instance_id=f"{after}{i}", label="", status="up", price_nusd=1, rate_nusd=1)
            for i in range(5_000)
        )
        return Page(rows=rows, after=f"{len(asked)}x")

    found = await read_all(page)
    assert isinstance(found, Unread)
    assert len(asked) == MAX_ROWS // 5_000 + 1


def test_no_more_offers_are_read_than_were_asked_for() -> None:
    read: list[int] = []

    class Counted(dict[str, object]):
        def get(self, key: str, default: Any = None) -> Any:
            if key == "num_gpus":
                read.append(1)
            return super().get(key, default)

    price = {"dph_base": 0.4, "storage_cost": 0.1, "gpu_name": "RTX 4090"}
    rows = [Counted(id=i + 1, num_gpus=1, gpu_ram=24_000, **price) for i in range(1_000)]
    found = offers_from(Reply(status=200, body={"offers": rows}), Ask(limit=10))
    assert (len(found) if isinstance(found, tuple) else found, len(read)) == (10, 10)
