"""How soon work gives way: from a person's return to the last process that stands still.

`scripts/bench yielding [ROUNDS]`. The person is a stand-in (tests/support/local_yields.py) who
comes back at a random moment between two looks; runners, processes, signals and the watcher are
real.
"""

import asyncio
import importlib.util
import random
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from mesh.edge.yielding import EVERY_S, YieldWatcher
from mesh.policy.yield_settings import YieldPolicies, YieldPolicy
from mesh.policy.yielding import DeviceFacts
from providers import local, tree
from providers.base import Handle, Launch
from providers.engine import llamacpp
from providers.presence.facts import by_idle
from providers.presence.reading import PresenceReader
from tests.support.local_yields import LocalYields, StandInSenses, kill_attempts
from tests.support.tiny_gguf import write_tiny_gguf

ROUNDS = 50
SEED = 7
POLICIES = YieldPolicies(machine=YieldPolicy(when=("person",)))
# A parent, a child, and a grandchild in a session of its own whose parent has ended.
FAMILY = """
import subprocess, sys, time
nap = "import time\\nwhile True: time.sleep(0.001)"
start = "import subprocess, sys; subprocess.Popen(sys.argv[1:], start_new_session=True)"
subprocess.run([sys.executable, "-c", start, sys.executable, "-c", nap])
subprocess.Popen([sys.executable, "-c", nap])
while True: time.sleep(0.001)
"""
FAMILY_SIZE = 3


def main(rounds: int) -> None:
    """Prints one line for each kind of work."""
    random.seed(SEED)
    with tempfile.TemporaryDirectory(prefix="fleet-bench-") as folder:
        home = Path(folder)
        try:
            asyncio.run(family(home, rounds))
            if importlib.util.find_spec("xllamacpp"):
                asyncio.run(engine(home, max(1, rounds // 5)))
        finally:
            kill_attempts(home)
    asyncio.run(cost())


async def family(home: Path, rounds: int) -> None:
    """A command with descendants."""

    def launch(job_id: str) -> Launch:
        return Launch(job_id=job_id, attempt=1, kind="command", argv=(sys.executable, "-c", FAMILY))

    ready: Callable[[Handle], bool] = lambda handle: len(tree.below(handle.pid)) == FAMILY_SIZE  # noqa: E731
    await series("a command and two descendants", home, rounds, launch, ready)


async def engine(home: Path, rounds: int) -> None:
    """llama.cpp while it answers."""
    model = home / "tiny.gguf"
    write_tiny_gguf(model, heads=8)

    def launch(job_id: str) -> Launch:
        return llamacpp.launch(
            job_id=job_id, attempt=1, python=sys.executable, model_path=str(model),
            tokens=100_000, context=131_072, batch=1, prompt="hello", prompt_tokens=0,
            kv_type="f16",
        )  # fmt: skip

    def answers(handle: Handle) -> bool:
        path = Path(handle.job_dir) / "answer.txt"
        return path.exists() and path.stat().st_size > 0

    await series("llama.cpp in mid-answer", home, rounds, launch, answers)


async def series(
    name: str,
    home: Path,
    rounds: int,
    launch: Callable[[str], Launch],
    ready: Callable[[Handle], bool],
) -> None:
    """Medians and the worst of so many attempts."""
    yielded, paused, resumed = [], [], []
    for number in range(rounds):
        handle = await local.start(launch(f"{name.split()[0].strip('.')}-{number}"), home)
        await until(lambda handle=handle: ready(handle))
        yielded.append(await give_way(handle))
        resumed.append(await timed(handle, pause=False))
        paused.append(await timed(handle, pause=True))
        await local.cancel(handle)
        await until(lambda handle=handle: local.poll(Path(handle.job_dir)) is not None)
    print(f"{name}, {rounds} times (median, worst):")
    for what, found in (("return to standstill", yielded), ("pause", paused), ("resume", resumed)):
        found.sort()
        print(f"  {what:22} {found[len(found) // 2]:8.1f} ms {found[-1]:8.1f} ms")


async def give_way(handle: Handle) -> float:
    """Milliseconds from the return of the stand-in until the whole tree stands still."""
    senses = StandInSenses(present=False)
    yields = LocalYields({"job": handle})
    watcher = YieldWatcher(yields, senses, lambda _: DeviceFacts(), POLICIES)
    watching = asyncio.create_task(watcher.run())
    await until(lambda: senses.reads > 0)
    await asyncio.sleep(random.uniform(0, EVERY_S))
    assert not still(handle)
    begun = time.perf_counter()
    senses.presence = by_idle("stand-in", 0)
    await until(lambda: still(handle))
    took = (time.perf_counter() - begun) * 1000
    await until(lambda: bool(yields.paused_for))
    watching.cancel()
    return took


async def timed(handle: Handle, *, pause: bool) -> float:
    """Milliseconds of one request alone, until the runner has confirmed it."""
    begun = time.perf_counter()
    assert await (local.pause(handle) if pause else local.resume(handle))
    return (time.perf_counter() - begun) * 1000


async def cost() -> None:
    """What one look at this machine's own sources takes."""
    reader, looks = PresenceReader(), 50
    found = await reader.read_presence()
    begun, cpu = time.perf_counter(), time.process_time()
    for _ in range(looks):
        await asyncio.gather(reader.read_presence(), reader.read_power())
    wall, used = time.perf_counter() - begun, time.process_time() - cpu
    print(
        f"one look here ({found.source}, sysfs): {wall / looks * 1000:.2f} ms, "
        f"{used / looks * 1000:.2f} ms of CPU"
    )


def still(handle: Handle) -> bool:
    """Whether nothing below the runner runs."""
    return all(state == "T" for state in tree.below(handle.pid).values())


async def until(condition: Callable[[], bool]) -> None:
    """Looks every 2 ms: the grain of what is measured."""
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.002)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS)
