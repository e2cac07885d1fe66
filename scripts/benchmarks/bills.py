"""Bills of a ledger of a million events: made once, kept up, asked. argv: [events [folder]].

250,000 jobs of a year on eight owned devices, each with a price, a tariff and a key's requests. The
asking is timed in new processes, as people type it, and with ten of them at once against a daemon.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random
from urllib.request import Request, urlopen

from mathcore.units import DAY_MS, NUSD
from mesh.edge.bills.local import bills_of
from mesh.edge.store.ledger import Ledger
from mesh.edge.store.state import current_state
from mesh.ledger import codec, hlc, ids, signing
from mesh.ledger.event import NO_PREV
from mesh.state.bills.calendar import zone_of
from mesh.state.checkpoint import pack
from mesh.state.peer_id import short_id

EVENTS = 1_000_000
AUTHORS = 8
YEAR_MS = 365 * DAY_MS
OF_A_JOB = 4
BATCH = 500
TRIES = 7
ZONE = "Europe/Berlin"

Fact = tuple[int, str, str, dict[str, object]]


class Author:
    """A peer with one device that runs jobs all year, an hour of requests here and there."""

    def __init__(self, number: int, jobs: int, begin_ms: int) -> None:
        self._seed = bytes([number + 1]) * signing.SEED_BYTES
        self._author = signing.author_of(self._seed)
        self._dice, self._jobs, self._begin = Random(number), jobs, begin_ms
        self._seq, self._prev = 0, NO_PREV
        self._facts = self._year()

    def write(self, count: int) -> list[tuple[bytes, bytes]]:
        """The next (sig, body) pairs of its chain; fewer at its end."""
        return [self._event(*fact) for _, fact in zip(range(count), self._facts, strict=False)]

    def _event(
        self, ms: int, kind: str, device: str, payload: dict[str, object]
    ) -> tuple[bytes, bytes]:
        self._seq += 1
        body = codec.encode(
            {"author": self._author, "device_id": device, "event_type": kind,
             "hlc": hlc.render(hlc.Stamp(ms, 0)), "payload": payload, "prev": self._prev,
             "seq": self._seq, "timestamp": hlc.timestamp(ms), "v": 1}
        )  # fmt: skip
        self._prev = ids.event_hash(body)
        return signing.seal(self._seed, body), body

    def _year(self) -> Iterator[Fact]:
        device = f"dev-{short_id(self._author)}-gpu0"
        yield self._begin, "device_registered", device, {
            "name": device, "model": "RTX 4090", "count": 1, "price_nusd": 1600 * NUSD,
            "lifetime_months": 60, "tariff_nusd_per_kwh": 300_000_000, "watts": 450}  # fmt: skip
        each = YEAR_MS // max(1, self._jobs)
        for n in range(self._jobs):
            at, dice = self._begin + 10 + n * each, self._dice
            span = dice.randrange(1000, max(1001, each - 1000))
            job = f"j-{short_id(self._author)}-{dice.getrandbits(40):010x}"
            about: dict[str, object] = {"job_id": job, "attempt": 1}
            yield at, "job_submitted", device, {"job_id": job, "model": f"m{dice.randrange(10)}"}
            yield at + 1, "job_dispatched", device, {**about, "plan": {"engine": "llama.cpp"}}
            yield at + 2, "job_started", device, about
            if n % 20 == 0:
                rows = [{"key_id": f"k{dice.randrange(9)}", "model": "m0", "device_id": device,
                         "job_id": job, "requests": 5, "generated_tokens": 900,
                         "cost_nusd": dice.randrange(10**6)}]  # fmt: skip
                yield at + 3, "usage_summarised", device, {"begun_ms": at + 3, "rows": rows}
            yield at + span, "job_completed", device, {
                **about, "actual_duration_ms": span - 2, "tokens_generated": dice.randrange(9000),
                "prompt_tokens": 700, "prefill_mtps": 900_000, "throughput_mtps": 60_000,
                "energy_mj": span * 300, "energy_basis": "measured"}  # fmt: skip


def fill(home: Path, events: int, begin_ms: int) -> None:
    """A ledger of about so many events."""
    authors = [Author(n, events // OF_A_JOB // AUTHORS, begin_ms) for n in range(AUTHORS)]
    with Ledger.open(home) as ledger:
        open_ = list(authors)
        while open_:
            for one in list(open_):
                found = one.write(BATCH)
                intake = ledger.take_in(found)
                assert len(intake.events) == len(found), "an event was refused"
                if len(found) < BATCH:
                    open_.remove(one)


def cold(home: Path, words: list[str]) -> float:
    """Median milliseconds of a command in a new process."""
    times = []
    for _ in range(TRIES):
        begun = time.perf_counter()
        subprocess.run(
            [sys.executable, "-m", "mesh", *words], env={**os.environ, "FLEET_HOME": str(home)},
            check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        times.append((time.perf_counter() - begun) * 1000)
    return statistics.median(times)


def at_once(home: Path, words: list[str], clients: int = 10) -> float:
    """Milliseconds until the last of ten new processes that begin together has its answer."""
    command, env = [sys.executable, "-m", "mesh", *words], {**os.environ, "FLEET_HOME": str(home)}

    def ask(_: int) -> None:
        subprocess.run(
            command, env=env, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )

    return _all(ask, clients)


def over_http(home: Path, path: str, clients: int = 10) -> float:
    """The same of ten programs that run already, over HTTP."""
    said = json.loads((home / "daemon.json").read_text())
    token = (home / "token").read_text().strip()

    def ask(_: int) -> None:
        asked = Request(f"{said['url']}{path}", headers={"Authorization": f"Bearer {token}"})
        with urlopen(asked) as reply:
            assert json.load(reply)["groups"]

    return statistics.median(_all(ask, clients) for _ in range(TRIES))


def _run(home: Path, *words: str) -> None:
    env = {**os.environ, "FLEET_HOME": str(home)}
    subprocess.run(
        [sys.executable, "-m", "mesh", *words], env=env, check=True, stdout=subprocess.DEVNULL
    )


def _all(ask: Callable[[int], None], clients: int) -> float:
    with ThreadPoolExecutor(clients) as pool:
        begun = time.perf_counter()
        list(pool.map(ask, range(clients)))
        return (time.perf_counter() - begun) * 1000


def main(events: int, folder: Path) -> None:
    """All of it, in its order."""
    home = folder / "home"
    home.mkdir(exist_ok=True)
    (home / "fleet.toml").write_text(f'zone = "{ZONE}"\nlisten = "none"\ndiscovery = []\n')
    assert zone_of(ZONE) is not None
    now = time.time_ns() // 1_000_000
    begun = time.perf_counter()
    if not (home / "ledger.db").exists():
        fill(home, events, now - YEAR_MS)
    print(f"a ledger of some {events} events written in {time.perf_counter() - begun:.0f} s")
    begun = time.perf_counter()
    with Ledger.open(home) as ledger:  # as a daemon keeps it, so that no reader folds it all
        ledger.put_checkpoint(ledger.last_cursor(), pack(current_state(ledger)))
    print(f"folded in {time.perf_counter() - begun:.0f} s", flush=True)
    begun = time.perf_counter()
    bills = bills_of(home, ZONE, lambda: time.time_ns() // 1_000_000)
    bills.keep()
    size = sum(path.stat().st_size for path in home.glob("bills.db*"))
    print(f"its bills made in {time.perf_counter() - begun:.0f} s, {size >> 20} MiB", flush=True)
    begun = time.perf_counter()
    bills.keep()
    print(f"brought up to now in {time.perf_counter() - begun:.2f} s", flush=True)
    print(f"a bare Python and click: {cold(home, ['--version']):.0f} ms")
    for by in ("month", "device", "key", "day", "user", "model"):
        print(f"fleet cost --by {by}: {cold(home, ['cost', '--by', by]):.0f} ms", flush=True)
    words = ["cost", "--by", "month"]
    print(f"ten at once, without a daemon: {at_once(home, words):.0f} ms", flush=True)
    _run(home, "up", "--detach")
    try:
        at_once(home, words)  # its first looks
        time.sleep(5)
        for by in ("month", "device", "key"):
            print(f"asking the daemon --by {by}: {cold(home, ['cost', '--by', by]):.0f} ms")
        print(f"ten at once, of the daemon: {at_once(home, words):.0f} ms")
        for by in ("month", "device", "key"):
            print(f"ten at once over HTTP --by {by}: {over_http(home, f'/v1/cost?by={by}'):.0f} ms")
    finally:
        _run(home, "down")


if __name__ == "__main__":
    count = int(sys.argv[1]) if len(sys.argv) > 1 else EVENTS
    if len(sys.argv) > 2:
        main(count, Path(sys.argv[2]))
    else:
        with tempfile.TemporaryDirectory() as made:
            main(count, Path(made))
