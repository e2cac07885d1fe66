"""Claims of one peer on another's device over TLS: latency at an offered rate, and the most a
second. The owner is a daemon of its own; the home is this process, with the daemon's own parts."""

from __future__ import annotations

import asyncio
import os
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from mesh.api.wire.claims import Ask, Claim, Lease
from mesh.config import load_config
from mesh.edge.dispatch.pursuit import attempt_of
from mesh.edge.http.app import make_mesh_app
from mesh.edge.store.ledger import Ledger
from mesh.node import Node
from mesh.state.facts.fact import encode
from mesh.state.facts.job import JobDispatched
from mesh.state.fleet import DeviceView
from scripts.benchmarks.pair import PATIENCE_S, Daemon

RATES = (50, 100, 200, 500)  # claims a second, offered whether or not earlier ones were answered
ROUND = 200  # claims of one round: an owner holds 256 offers of one home
LOOK_S = 0.02
BUSY = ["sleep", "600"]  # has the device to itself, so that all that is claimed waits


def main() -> None:
    """One owner, one home; each round claims other jobs."""
    print(f"== claims over TLS on loopback; load {os.getloadavg()[0]:.1f}")
    os.environ["FLEET_METERED"] = "no"
    with tempfile.TemporaryDirectory(prefix="fleet-bench-") as folder:
        owner, home = Daemon(Path(folder) / "owner", "owner"), Daemon(Path(folder) / "home", "home")
        try:
            code = owner.post("/v1/invites", role="runner")["code"]
            home.post("/v1/join", code=code, name="home")
            home.stop()
            owner.post("/v1/jobs", command=BUSY, on="owner")
            asyncio.run(_measure(home.home, owner))
        finally:
            owner.stop()


async def _measure(folder: Path, owner: Daemon) -> None:
    os.environ |= {"FLEET_LISTEN": "127.0.0.1", "FLEET_DISCOVERY": ""}
    os.environ |= {"FLEET_MESH_PORT": "0", "FLEET_PAIRING_PORT": "0"}
    node = Node(folder, load_config(folder), Ledger.open(folder))
    node.dispatch.dispatcher.closed = True  # nothing is dispatched but by this script
    assert node.mesh is not None
    await node.mesh.start(make_mesh_app(node, node.mesh, []))
    running = [asyncio.create_task(node.mesh.run()), asyncio.create_task(node.run())]
    try:
        device = await _device(node, "owner")
        for rate in RATES:
            await _round(node, owner, device, rate)
        await _round(node, owner, device, None)
    finally:
        node.shutdown()
        await running[1]
        running[0].cancel()
        await asyncio.gather(*running, return_exceptions=True)
        await node.mesh.close()
        node.close()


async def _device(node: Node, name: str) -> DeviceView:
    """The owner's device, once it is known and its owner is linked."""
    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until:
        for view in node.state.devices.values():
            key = bytes.fromhex(view.owner)
            if view.name == name and node.mesh is not None and node.mesh.links.get(key):
                return view
        await asyncio.sleep(LOOK_S)
    raise SystemExit(f"no device {name} after {PATIENCE_S:.0f} s")


async def _round(node: Node, owner: Daemon, device: DeviceView, rate: int | None) -> None:
    """Submit, get offers and dispatch; then claim at a rate, or all at once."""
    jobs = [await node.submit({"command": ["true"], "on": "owner"}) for _ in range(ROUND)]
    claims, asking = await _dispatched(node, device, jobs)
    before, began = owner.cpu_s(), time.perf_counter()
    took = await _offered(node, device, claims, rate)
    wall, cpu = time.perf_counter() - began, owner.cpu_s() - before
    p50, p99 = statistics.median(took), sorted(took)[int(0.99 * len(took))]
    what = "all at once" if rate is None else f"{rate}/s offered"
    print(
        f"{what}: {ROUND / wall:.0f} claims/s, p50 {1000 * p50:.1f} ms, p99 {1000 * p99:.1f} ms; "
        f"an offer, {ROUND} asked at once, {1000 * asking / ROUND:.1f} ms; "
        f"owner's CPU {1000 * cpu / ROUND:.1f} ms a claim",
        flush=True,
    )


async def _dispatched(
    node: Node, device: DeviceView, jobs: Sequence[str]
) -> tuple[list[Claim], float]:
    """Claims ready to be sent, and the seconds it took to get all offers."""
    there, author = node.dispatch.home.peers.owner(device.owner), node.dispatch.home.ledger.author
    began = time.perf_counter()
    asks = [Ask(job_id=j, attempt=1, device_id=device.device_id, kind="command") for j in jobs]
    offers = await asyncio.gather(*(there.offer(author, ask) for ask in asks))
    asking = time.perf_counter() - began
    facts = [encode(_dispatch(job, device.owner)) for job in jobs]
    await node.dispatch.home.ledger.emit_all(
        [("job_dispatched", device.device_id, fact) for fact in facts]
    )
    claims = []
    for job_id, offer in zip(jobs, offers, strict=True):
        job = node.state.jobs[job_id]
        one = attempt_of(job, 1)
        assert one is not None
        claims.append(await node.dispatch.home._claim_of(job, one, offer.offer_id))
    return claims, asking


def _dispatch(job_id: str, owner: str) -> JobDispatched:
    return JobDispatched(
        job_id=job_id, model="", attempt=1, plan=None, considered=1, config=None, owner=owner
    )


async def _offered(
    node: Node, device: DeviceView, claims: Sequence[Claim], rate: int | None
) -> list[float]:
    """Seconds from when each claim was due until its lease was there."""
    there, author = node.dispatch.home.peers.owner(device.owner), node.dispatch.home.ledger.author
    begin = time.perf_counter()

    async def one(index: int, claim: Claim) -> float:
        due = begin + (index / rate if rate else 0)
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        await _leased(lambda: there.claim(author, claim))
        return time.perf_counter() - due

    return list(await asyncio.gather(*(one(i, claim) for i, claim in enumerate(claims))))


async def _leased(ask: Callable[[], Awaitable[Lease]]) -> None:
    lease = await ask()
    if lease.status != "queued":
        raise SystemExit(f"{lease.job_id} is {lease.status}")


if __name__ == "__main__":
    main()
