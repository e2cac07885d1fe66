"""A live daemon under floods of strangers: how long joins and links of members take meanwhile.

scripts/bench floods [COUNT]: first 64 idle TLS connections from one address on either port, made
anew as they are put out; then three addresses that open half-open connections to both.
"""

import asyncio
import contextlib
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import aiohttp

from mesh.edge.identity import Identity, load_or_create
from mesh.edge.pairing.client import Host, Self, join
from mesh.edge.transport.dial import SYNC_PATH
from mesh.edge.transport.link import SERVER_NAME, Contexts, greet, pairing_client
from mesh.policy.pairing import parse_code
from tests.edge.transport.test_floods import FLOODERS, HALF_OPEN_PER_S, half_open
from tests.mesh.conftest import Machine, make

IDLE, IDLER = 64, "127.0.0.7"
TOP_UP_PER_S = 10  # of those that were put out, as many are made anew
COUNT = 20  # joins, and links, under each flood
WARM_S = 8.0  # longer than any deadline a stranger has: the flood is at its height


def now_ms() -> int:
    return time.time_ns() // 1_000_000


@asynccontextmanager
async def idle(port: int) -> AsyncIterator[None]:
    """64 TLS connections at once that never ask; those put out come again, TOP_UP_PER_S of them."""
    context = pairing_client()

    async def hold() -> None:
        while True:
            with contextlib.suppress(OSError):
                reader, writer = await asyncio.open_connection(
                    "127.0.0.1", port, ssl=context, local_addr=(IDLER, 0)
                )
                await reader.read()
                writer.transport.abort()
            await asyncio.sleep(IDLE / TOP_UP_PER_S)

    tasks = [asyncio.create_task(hold()) for _ in range(IDLE)]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def linked(who: Identity, home: Path, host: Host) -> None:
    """A link of a member, up to both greetings."""
    anchor = (bytes.fromhex(host.key), bytes.fromhex(host.welcome.tls))
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(
            f"https://127.0.0.1:{host.welcome.port}{SYNC_PATH}",
            ssl=Contexts(who, home).client([anchor]),
            server_hostname=SERVER_NAME,
        ) as socket,
    ):
        await greet(socket, now_ms)


async def timed(work: Callable[[], Coroutine[object, object, object]]) -> float:
    """Seconds; infinity where it failed."""
    began = time.perf_counter()
    try:
        await work()
    except Exception as error:
        print(f"    failed after {time.perf_counter() - began:.2f} s: {error!r}"[:150])
        return float("inf")
    return time.perf_counter() - began


async def measured(
    ana: Machine, folder: Path, count: int, flood: AbstractAsyncContextManager[object]
) -> str:
    """Each guest comes in with a code, and then links as the member it is."""
    joins, links = [], []
    code = parse_code(ana.invite(role="runner", uses=count))
    async with flood:
        await asyncio.sleep(WARM_S)
        for _ in range(count):
            home = Path(tempfile.mkdtemp(dir=folder))
            who, hosts = load_or_create(home), list[Host]()

            async def come(who: Identity = who, hosts: list[Host] = hosts) -> None:
                hosts.append(await join(Self(who=who, name="guest", port=1), code))

            joins.append(await timed(come))
            if hosts:
                links.append(await timed(lambda w=who, h=home, at=hosts: linked(w, h, at[0])))
    return f"joins {shown(joins)}; links of members {shown(links)}"


def shown(took: list[float]) -> str:
    done = [one for one in took if one != float("inf")]
    if not done:
        return "none of them"
    p95 = sorted(took)[int(0.95 * len(took))]
    return f"{len(done)} of {len(took)}, p50 {statistics.median(took):.2f} s, p95 {p95:.2f} s"


async def main(count: int, folder: Path, ana: Machine) -> None:
    code = parse_code(ana.invite(role="runner"))
    home = Path(tempfile.mkdtemp(dir=folder))
    host = await join(Self(who=load_or_create(home), name="first", port=1), code)
    pairing, mesh = code.port, host.welcome.port
    print("quiet:      ", await measured(ana, folder, count, contextlib.AsyncExitStack()))
    for name, opened in (("idle TLS:   ", idle), ("half-open:  ", half_open)):
        async with contextlib.AsyncExitStack() as both:
            await both.enter_async_context(opened(mesh))
            print(name, await measured(ana, folder, count, opened(pairing)), flush=True)


if __name__ == "__main__":
    wanted = int(sys.argv[1]) if len(sys.argv) > 1 else COUNT
    print(f"{IDLE} idle from {IDLER}, {TOP_UP_PER_S} a second anew;", end=" ")
    print(f"then {HALF_OPEN_PER_S} half-open a second from each of {', '.join(FLOODERS)}")
    with tempfile.TemporaryDirectory() as here, contextlib.closing(make(Path(here))) as maker:
        machine = next(maker)("ana").up()
        asyncio.run(main(wanted, Path(here), machine))
