"""An account at RunPod's stand-in, with a clock that a test sets, and orders for it."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from providers.rental.contract import Made, Offer, Order, Page, Row
from providers.runpod.cloud import RunPod
from tests.emulators.runpod import RunPodEmulator
from tests.emulators.wire import DirectWire

START = 1_800_000_000_000  # 2027-01-15T08:00:00Z
MIN = 60_000
OFFER = Offer(
    provider="runpod",
    offer_id="COMMUNITY/1/NVIDIA GeForce RTX 4090",
    gpu="RTX 4090",
    gpu_count=1,
    memory_bytes=24 << 30,
    hourly_nusd=345_890_411,
    disk_bytes=40 << 30,
)


def order(label: str = "fl-m1-j1-6a000000", offer: Offer = OFFER) -> Order:
    return Order(
        label=label,
        offer=offer,
        image="runpod/base:1.0.2-ubuntu2404",
        disk_bytes=40 << 30,
        life_ms=3 * 60 * MIN,
        lease_ms=30 * MIN,
        user_public_key="ssh-ed25519 AAAAC3Nza it's ours",
        host_private_key="-----BEGIN OPENSSH PRIVATE KEY-----\nabc\n",
    )


@dataclass
class World:
    emulator: RunPodEmulator
    now: int = START
    wire: DirectWire = field(init=False)
    cloud: RunPod = field(init=False)

    def __post_init__(self) -> None:
        self.wire = DirectWire(self.emulator, lambda: self.now)
        self.cloud = RunPod(self.wire)

    async def made(self, label: str = "fl-m1-j1-6a000000") -> str:
        """The id of a new pod."""
        created = await self.cloud.create(order(label))
        assert isinstance(created, Made), created
        return created.instance_id

    async def rows(self) -> list[Row]:
        """The whole listing."""
        rows: list[Row] = []
        after = ""
        while True:
            page = await self.cloud.page(after)
            assert isinstance(page, Page), page
            rows += page.rows
            after = page.after
            if not after:
                return rows

    async def row(self, instance_id: str) -> Row | None:
        return next((row for row in await self.rows() if row.instance_id == instance_id), None)


def world(*, seed: int = 1, page_size: int | None = 2) -> World:
    return World(RunPodEmulator(random.Random(seed), page_size=page_size))
