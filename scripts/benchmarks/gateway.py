"""One address beside the model's server itself, in one run: direct, through this machine's daemon,
and through another peer's. Real llama.cpp with a tiny model; each way by turns, so that all meet
the same load."""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from scripts.benchmarks.pair import PATIENCE_S, Daemon
from tests.support.tiny_gguf import write_tiny_gguf

SEQUENTIAL = 200  # requests of one token, one after the other, each way
STREAMS = 50  # at once
TOKENS = 100  # of each stream
ROUNDS = 3
SLOTS = 8


@dataclass
class Way:
    """One way to the model: where, by which key, and whose CPU it takes."""

    name: str
    url: str
    key: str
    cpu: Callable[[], float]
    first_ms: list[float] = field(default_factory=list)
    gaps_ms: list[float] = field(default_factory=list)
    lost: int = 0
    chunks: int = 0
    cpu_s: float = 0.0
    wall_s: float = 0.0


def main() -> None:
    """Two daemons that belong together; the first one serves."""
    print(f"== one address; load {os.getloadavg()[0]:.1f}")
    os.environ["FLEET_METERED"] = "no"
    with tempfile.TemporaryDirectory(prefix="fleet-bench-") as folder:
        model = write_tiny_gguf(Path(folder) / "tiny.gguf")
        owner, other = (
            Daemon(Path(folder) / "owner", "owner"),
            Daemon(Path(folder) / "other", "other"),
        )
        try:
            code = owner.post("/v1/invites", role="runner")["code"]
            other.post("/v1/join", code=code, name="other")
            asyncio.run(_measure(owner, other, model))
        finally:
            other.stop()
            owner.stop()


async def _measure(owner: Daemon, other: Daemon, model: Path) -> None:
    spec = {"model": str(model), "serve": True, "batch": SLOTS, "context": 512}
    job_id = owner.post("/v1/jobs", **spec)["job_id"]
    stands = await _serving(owner, job_id)
    ways = [
        Way("direct", stands["url"], stands["key"], lambda: 0.0),
        Way("one hop", _gateway(owner), "", owner.cpu_s),
        Way("through a peer", _gateway(other), "", lambda: owner.cpu_s() + other.cpu_s()),
    ]
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector) as session:
        await _until_there(session, ways[2])
        for way in ways:  # warm
            await asyncio.gather(*(_stream(session, way, 2) for _ in range(8)))
            way.first_ms, way.gaps_ms, way.lost = [], [], 0
        for _ in range(SEQUENTIAL):
            for way in ways:
                await _stream(session, way, 1)
        for way in ways:
            _say_first(way)
            way.first_ms, way.gaps_ms = [], []
        for _ in range(ROUNDS):
            for way in ways:
                await _many(session, way)
        for way in ways:
            _say_many(way)
    await _idle(owner, other)
    owner.post(f"/v1/jobs/{job_id}/cancel")


async def _serving(owner: Daemon, job_id: str) -> dict[str, Any]:
    """Where the model's own server is, as its job says."""
    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until:
        for path in owner.home.glob(f"jobs/{job_id}/*/answer.txt"):
            lines = path.read_text().splitlines()
            if lines:
                found: dict[str, Any] = json.loads(lines[-1])
                return found
        await asyncio.sleep(0.1)
    raise SystemExit("the model does not come up")


def _gateway(daemon: Daemon) -> str:
    return str(json.loads((daemon.home / "daemon.json").read_text())["gateway"])


async def _until_there(session: aiohttp.ClientSession, way: Way) -> None:
    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until:
        async with session.get(f"{way.url}/v1/models") as said:
            if (await said.json())["data"]:
                return
        await asyncio.sleep(0.1)
    raise SystemExit("the other peer does not hear of the model")


async def _stream(session: aiohttp.ClientSession, way: Way, tokens: int) -> None:
    """One answer; when its pieces came."""
    body = {
        "model": "tiny",
        "messages": [{"role": "user", "content": "hello"}],
        "max_tokens": tokens,
        "stream": True,
        "ignore_eos": True,
    }
    headers = {"Authorization": f"Bearer {way.key}"} if way.key else {}
    begun, last, finished = time.perf_counter(), 0.0, False
    async with session.post(f"{way.url}/v1/chat/completions", json=body, headers=headers) as said:
        if said.status != 200:
            print(way.name, said.status, (await said.text())[:200])
        async for line in said.content:
            if not line.startswith(b"data: "):
                continue
            now = time.perf_counter()
            way.chunks += 1
            if not last:
                way.first_ms.append(1000 * (now - begun))
            else:
                way.gaps_ms.append(1000 * (now - last))
            last = now
            finished = finished or b'"finish_reason":"' in line
    way.lost += not finished


async def _many(session: aiohttp.ClientSession, way: Way) -> None:
    """Fifty at once."""
    cpu, begun = way.cpu(), time.perf_counter()
    way.chunks = way.chunks if way.wall_s else 0
    await asyncio.gather(*(_stream(session, way, TOKENS) for _ in range(STREAMS)))
    way.cpu_s += way.cpu() - cpu
    way.wall_s += time.perf_counter() - begun


async def _idle(*daemons: Daemon) -> None:
    """What a daemon takes that nobody asks."""
    before = [one.cpu_s() for one in daemons]
    await asyncio.sleep(10)
    for one, cpu in zip(daemons, before, strict=True):
        print(f"idle: {1000 * (one.cpu_s() - cpu) / 10:.1f} ms of CPU a second", flush=True)


def _quantiles(found: list[float]) -> str:
    ordered = sorted(found)
    return f"p50 {statistics.median(ordered):.2f}, p99 {ordered[int(0.99 * len(ordered))]:.2f} ms"


def _say_first(way: Way) -> None:
    print(f"{way.name}: first byte {_quantiles(way.first_ms)}", flush=True)


def _say_many(way: Way) -> None:
    per_s, per_chunk = way.chunks / way.wall_s, 1e6 * way.cpu_s / max(1, way.chunks)
    print(
        f"{way.name}: {STREAMS} streams, {way.lost} lost, {per_s:.0f} chunks/s; "
        f"between chunks {_quantiles(way.gaps_ms)}; "
        f"CPU {per_chunk:.0f} us a chunk = {per_chunk * 500 / 10_000:.1f} % of a core at 500/s",
        flush=True,
    )


if __name__ == "__main__":
    main()
