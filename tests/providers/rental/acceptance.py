"""What the acceptance suite stands on: a cloud's adapter before its stand-in, without a socket or
through a real one, and what is asked of both."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from providers.rental.contract import (
    Ask,
    Cloud,
    Made,
    Offer,
    Order,
    Page,
    Reply,
    Request,
    Rise,
    Row,
    Wire,
)
from providers.rental.http import HttpWire
from providers.rental.labels import label_of
from tests.emulators.base import Asked, Emulator
from tests.emulators.server import Server
from tests.emulators.wire import LocalWire
from tests.providers.rental.registry import PROVIDERS

MINUTE = 60_000
UP = 10 * MINUTE  # by then every machine that can boot has
LIMIT_S = 2.0  # a lost reply is waited for so long, and every other comes sooner
PEM = "-----BEGIN OPENSSH PRIVATE KEY-----\n" + "b3BlbnNzaC1rZXktdjEAAAAA" * 16 + "\n-----END\n"


@dataclass
class Tap:
    """A wire that remembers what went over it."""

    wire: Wire
    replies: list[tuple[Request, Reply]] = field(default_factory=list)

    async def send(self, request: Request) -> Reply:
        reply = await self.wire.send(request)
        self.replies.append((request, reply))
        return reply

    @property
    def last(self) -> Reply:
        return self.replies[-1][1]


@dataclass
class Stage:
    """One adapter before one stand-in. `faults` and `counted` are those of whoever answers."""

    cloud: Cloud
    emulator: Emulator
    tap: Tap
    line: LocalWire | Server
    holds: list[int] = field(default_factory=list)  # how long each 429 really holds, ms

    def __post_init__(self) -> None:
        limited = self.emulator.limited

        def remembered(now: int, asked: Asked) -> tuple[Reply, int]:
            reply, hold = limited(now, asked)
            self.holds.append(hold)
            return reply, hold

        self.emulator.limited = remembered  # type: ignore[method-assign]

    @property
    def faults(self) -> list[tuple[str, str]]:
        return self.line.faults

    @property
    def counted(self) -> Counter[str]:
        return self.line.counted

    def now(self) -> int:
        return self.line.now if isinstance(self.line, LocalWire) else self.line.now()

    def passes(self, ms: int) -> None:
        """Time passes, for the provider."""
        if isinstance(self.line, LocalWire):
            self.line.now += ms
        else:
            self.line.skew_ms += ms

    async def offer(self, ask: Ask | None = None) -> Offer:
        found = await self.cloud.offers(ask or Ask())
        assert isinstance(found, tuple)
        return found[0]

    async def make(self, name: str = "a", offer: Offer | None = None) -> tuple[str, Made]:
        """A machine that is up; its label with it."""
        order = order_of(offer or await self.offer(), name)
        made = await self.cloud.create(order)
        assert isinstance(made, Made)
        assert made.code == ""
        self.passes(UP)
        return order.label, made

    async def listed(self) -> dict[str, Row]:
        """All pages, by label."""
        rows: list[Row] = []
        page = await self.cloud.page("")
        while True:
            assert isinstance(page, Page)
            rows += page.rows
            if not page.after:
                break
            page = await self.cloud.page(page.after)
        assert page.total in (None, len(rows))
        assert len({row.instance_id for row in rows}) == len(rows)
        return {row.label: row for row in rows}


@asynccontextmanager
async def stage(name: str, way: str, seed: int = 7) -> AsyncIterator[Stage]:
    """`way`: "local", or "http" for a real server and the real wire."""
    provider = PROVIDERS[name]
    emulator = provider.emulator(random.Random(seed))
    if way == "local":
        local = LocalWire(emulator)
        tap = Tap(local)
        yield Stage(provider.adapter(tap), emulator, tap, local)
        return
    async with (
        Server(emulator) as server,
        HttpWire(server.url, emulator.key, name, limit_s=LIMIT_S) as wire,
    ):
        tap = Tap(wire)
        yield Stage(provider.adapter(tap), emulator, tap, server)


def order_of(offer: Offer, name: str = "a", **more: Any) -> Order:
    """An order for a machine of ours; `name` makes its label."""
    return Order(
        label=label_of("m1", f"j1e1a1{name}", 1_790_003_600_000),
        offer=offer,
        image="ghcr.io/ggml-org/llama.cpp:server-cuda",
        disk_bytes=offer.disk_bytes or 40 << 30,
        life_ms=more.pop("life_ms", 48 * 60 * MINUTE),
        lease_ms=more.pop("lease_ms", 48 * 60 * MINUTE),
        user_public_key="ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI" + "x" * 43,
        host_private_key=PEM,
        **more,
    )


async def ask_everything(cloud: Cloud, offer: Offer, instance_id: str) -> list[tuple[str, object]]:
    """Each question once, and what came of it."""
    rise = Rise(request_id="901", instance_id=instance_id, new_hourly_nusd=1)
    return [
        ("offers", await cloud.offers(Ask())),
        ("create", await cloud.create(order_of(offer))),
        ("list", await cloud.page("")),
        ("terminate", await cloud.terminate(instance_id)),
        ("charges", await cloud.charges(instance_id, 0, 86_400_000)),
        ("balance", await cloud.balance()),
        ("rises", await cloud.rises()),
        ("refuse", await cloud.refuse(rise)),
    ]
