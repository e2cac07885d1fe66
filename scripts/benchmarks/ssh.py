"""SSH hosts on this machine's own sshd: what a login, a probe and a job take.

    python -m scripts.benchmarks.ssh [ROUNDS] [MODEL_MIB]

Every host is an account of one sshd on loopback, so all of them share this machine's cores.
"""

import asyncio
import hashlib
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from providers.attempts import Given
from providers.base import Launch
from providers.ssh.attempts import SshAttempts
from providers.ssh.bring.models import HostModels
from providers.ssh.pool import Gates, Reach
from providers.ssh.probe import probe
from tests.support.sshd import Sshd

HOSTS = 40
TREE = "trap '' TERM; sleep 9971 & setsid sh -c 'trap \"\" TERM; sleep 9971' & echo up; sleep 9971"


async def timed(ask: Callable[[], Awaitable[object]]) -> float:
    begun = time.perf_counter()
    await ask()
    return time.perf_counter() - begun


def show(what: str, seconds: list[float]) -> None:
    ms = sorted(1000 * s for s in seconds)
    print(f"| {what} | {statistics.median(ms):.0f} ms | {ms[0]:.0f} – {ms[-1]:.0f} |", flush=True)


async def one_host(sshd: Sshd, rounds: int) -> None:
    host, gates = sshd.account("one"), Gates()
    logins = []
    for _ in range(rounds):
        reach = Reach(host, gates)
        logins.append(await timed(lambda reach=reach: reach.run("true", 30)))  # type: ignore[misc]
        await reach.close()
    show("login and first script", logins)
    reach = Reach(host, gates)
    await reach.run("true", 30)
    show(
        "a script on a connection",
        [await timed(lambda: reach.run("true", 30)) for _ in range(rounds)],
    )
    for everything, what in ((False, "probe, live"), (True, "probe, everything")):
        took = [await timed(lambda e=everything: probe(reach, everything=e)) for _ in range(rounds)]  # type: ignore[misc]
        show(what, took)
    for way, python in (("python", "/usr/bin/python3"), ("sh", "")):
        attempts = SshAttempts(reach, python=python)
        took = [
            await timed(lambda i=i, a=attempts, w=way: job(a, f"{w}{i}")) for i in range(rounds)
        ]  # type: ignore[misc]
        show(f"a whole job of 0.1 s, {way}: start, poll, log", took)
        show(f"cancel of a tree deaf to TERM, {way}", [await cancelled(attempts, way)])
    await reach.close()


async def until(ask: Callable[[], Awaitable[object]], pause_s: float) -> None:
    while not await ask():  # noqa: ASYNC110 (another machine's condition)
        await asyncio.sleep(pause_s)


async def ended(attempts: SshAttempts, name: str, pause_s: float) -> None:
    await until(lambda: attempts.poll(name, 0), pause_s)


async def job(attempts: SshAttempts, name: str) -> None:
    argv = ("sh", "-c", "sleep 0.1; echo done")
    await attempts.start(Launch(job_id=name, attempt=0, kind="command", argv=argv))
    await ended(attempts, name, 0.02)
    assert (await attempts.read(name, 0, "log.txt", 0, 99))[0] == b"done\n"


async def cancelled(attempts: SshAttempts, way: str) -> float:
    name = f"tree-{way}"
    await attempts.start(Launch(job_id=name, attempt=0, kind="command", argv=("sh", "-c", TREE)))
    await until(lambda: _said(attempts, name), 0.02)
    begun = time.perf_counter()
    await attempts.cancel(name, 0)
    await ended(attempts, name, 0.02)
    return time.perf_counter() - begun


async def _said(attempts: SshAttempts, name: str) -> bytes:
    return (await attempts.read(name, 0, "log.txt", 0, 99))[0]


async def many_hosts(sshd: Sshd) -> None:
    gates = Gates()
    reaches = [Reach(sshd.account(f"h{i}"), gates) for i in range(HOSTS)]

    async def all_of(*, everything: bool) -> None:
        await asyncio.gather(*(probe(reach, everything=everything) for reach in reaches))

    show(f"{HOSTS} hosts, login and everything", [await timed(lambda: all_of(everything=True))])
    live = [await timed(lambda: all_of(everything=False)) for _ in range(3)]
    show(f"{HOSTS} hosts, pooled, live", live)
    for reach in reaches:
        await reach.close()


async def carried(sshd: Sshd, mib: int) -> None:
    """A model and a command's files on their way to a host, the first time and again."""
    reach = Reach(sshd.account("carries"), Gates())
    await reach.run("true", 30)
    folder = sshd.folder / "given"
    folder.mkdir()
    model = folder / "model.gguf"
    with model.open("wb") as out:
        out.write(b"GGUF")
        for _ in range(mib):
            out.write(os.urandom(1 << 20))
    models = HostModels(reach, "bench", "host", reach.retry)
    took = await timed(lambda: models.bring(model))
    show(f"a model of {mib} MiB, sent and checked ({mib / took:.0f} MiB/s)", [took])
    show(f"{mib} MiB found there", [await timed(lambda: models.bring(model)) for _ in range(5)])
    files = [_given(folder, i) for i in range(1000)]
    attempts = SshAttempts(reach)
    for what in ("sent", "there already"):
        took = await timed(lambda what=what: attempts.give(f"files-{what[:4]}", 1, files))  # type: ignore[misc]
        show(f"1,000 files of 4 KiB, {what}, laid out", [took])
    await reach.close()


def _given(folder: Path, number: int) -> Given:
    source, data = folder / f"f{number}", os.urandom(4096)
    source.write_bytes(data)
    name = hashlib.blake2b(data, digest_size=32).hexdigest()
    return Given(path=f"d{number % 20}/f{number}", source=source, hash=name, size=len(data))


async def main(rounds: int, mib: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        sshd = Sshd(Path(folder), settings={"MaxStartups": "10:30:100"})
        sshd.start()
        try:
            print("| what | median | from – to |\n|---|---|---|")
            await one_host(sshd, rounds)
            await carried(sshd, mib)
            await many_hosts(sshd)
        finally:
            sshd.stop()


if __name__ == "__main__":
    given = [int(word) for word in sys.argv[1:]]
    asyncio.run(main(*[*given, *(10, 1024)[len(given) :]]))
