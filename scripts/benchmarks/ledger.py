"""What a long ledger costs: disk, start, verify, fold, status, one more event. argv: [events].

100,000 events without an argument; 1,000,000 and 10,000,000 take as many times longer. Memory stays
bounded whatever the number.
"""

import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

from mesh.edge.store.ledger import Ledger, Reader
from mesh.edge.store.state import whole_fold
from mesh.ledger import codec, hlc, ids, signing
from mesh.ledger.event import NO_PREV
from mesh.state.checkpoint import pack
from mesh.state.peer_id import short_id

NOW = 1_790_000_000_000
EVENTS = 100_000
AUTHORS = 8  # a small fleet
BATCH = 200  # of one author, before the next one has its turn
JOB_MS = 400  # between two jobs of one author
MORE = 50  # single events, each with its fsync
TEMPLATES = Path(__file__).parents[2] / "tests" / "golden" / "ledger" / "ledger.jsonl"
KINDS = ("job_submitted", "job_dispatched", "job_started", "job_completed")

Fact = tuple[str, str, dict[str, object]]


class Author:
    """A key that writes jobs as a busy peer does: four events each, all signed."""

    def __init__(self, number: int, templates: dict[str, Fact]) -> None:
        self._seed = bytes([number + 1]) * signing.SEED_BYTES
        self._author = signing.author_of(self._seed)
        self._random = Random(number)
        self._templates = templates
        self._seq, self._prev, self._ms = 0, NO_PREV, NOW + number
        self._facts = self._jobs()

    def write(self, count: int) -> list[tuple[bytes, bytes]]:
        """The next (sig, body) pairs of its chain."""
        return [self.event(*next(self._facts)) for _ in range(count)]

    def event(self, kind: str, device: str, payload: dict[str, object]) -> tuple[bytes, bytes]:
        self._seq, self._ms = self._seq + 1, self._ms + self._random.randrange(1, JOB_MS // 2)
        body = codec.encode(
            {
                "author": self._author,
                "device_id": device,
                "event_type": kind,
                "hlc": hlc.render(hlc.Stamp(self._ms, 0)),
                "payload": payload,
                "prev": self._prev,
                "seq": self._seq,
                "timestamp": hlc.timestamp(self._ms),
                "v": 1,
            }
        )
        self._prev = ids.event_hash(body)
        return signing.seal(self._seed, body), body

    def _jobs(self) -> Iterator[Fact]:
        while True:
            job = f"j-{short_id(self._author)}-{self._random.getrandbits(40):010x}"
            odd = self._random.randrange
            for kind in KINDS:
                _, _, payload = self._templates[kind]
                told = _varied(payload, self._random) | {"job_id": job}
                if kind == "job_submitted":
                    told["prompt"] = " ".join(f"{odd(1 << 20):x}" for _ in range(odd(2, 24)))
                yield kind, f"dev-{short_id(self._author)}-gpu0", told


def _varied(value: dict[str, object], random: Random) -> dict[str, object]:
    """The same facts with other measurements: large numbers differ from job to job."""
    found: dict[str, object] = {}
    for key, one in value.items():
        if isinstance(one, dict):
            found[key] = _varied(one, random)
        elif type(one) is int and one > 999 and not key.endswith("_bytes"):
            found[key] = one * random.randrange(800, 1200) // 1000
        else:
            found[key] = one
    return found


def templates() -> dict[str, Fact]:
    """One event of each kind as a fleet really wrote it."""
    found: dict[str, Fact] = {}
    for line in TEMPLATES.read_text().splitlines():
        event = json.loads(line)
        payload = event["payload"]
        if event["event_type"] in KINDS and payload.get("kind") != "command":
            known = found.get(event["event_type"])
            if known is None or len(str(payload)) > len(str(known[2])):
                found[event["event_type"]] = (event["event_type"], event["device_id"], payload)
    return found


def fill(home: Path, count: int) -> None:
    """A ledger of `count` events, taken in as a neighbour's would be."""
    authors, left = [Author(number, templates()) for number in range(AUTHORS)], count
    with Ledger.open(home) as ledger:
        start, spent = time.perf_counter(), 0.0
        while left:
            author = authors[(left // BATCH) % AUTHORS]
            events = author.write(min(BATCH, left))
            begun = time.perf_counter()
            ledger.take_in(events)
            spent += time.perf_counter() - begun
            left -= len(events)
    made = time.perf_counter() - start - spent
    say("taken in, every event verified", f"{count / spent:,.0f} events/s", f"signing {made:.0f} s")


def timed(what: str, run: Callable[[], object], count: int = 0) -> None:
    """Print how long one run takes, elapsed and in CPU time of it and its children."""
    cpu, start = _cpu(), time.perf_counter()
    run()
    wall, cpu = time.perf_counter() - start, _cpu() - cpu
    rate = f"; {count / wall:,.0f} events/s" if count else ""
    say(what, f"{wall:.2f} s", f"CPU {cpu:.2f} s{rate}")


def say(what: str, value: str, more: str = "") -> None:
    print(f"{what:<34}{value:>18}" + (f"  ({more})" if more else ""), flush=True)


def _cpu() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def disk(home: Path, count: int) -> None:
    size = sum(path.stat().st_size for path in home.rglob("*") if path.is_file())
    say("disk", f"{size / 1e6:,.0f} MB", f"{size / count:.0f} B an event")


def start(home: Path) -> None:
    """What a daemon does with the ledger before it answers, in a process of its own."""
    code = (
        "import sys, time; from pathlib import Path; from mesh.edge.store.ledger import Ledger\n"
        "start = time.perf_counter(); ledger = Ledger.open(Path(sys.argv[1])); ledger.tips()\n"
        "ledger.last_cursor(); print(time.perf_counter() - start)"
    )
    command = [sys.executable, "-c", code, str(home)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    say("start: open, tips", f"{float(done.stdout):.2f} s")


def verify(home: Path, count: int) -> None:
    """As the command does: in a process of its own, so that its workers' time is its own too."""
    command = [sys.executable, "-m", "mesh", "verify"]
    for what in ("verify", "verify again"):
        timed(what, lambda: _fleet(home, command), count)


def status(home: Path) -> None:
    timed("fleet status, cold", lambda: _fleet(home, [sys.executable, "-m", "mesh", "status"]))


def _fleet(home: Path, command: list[str]) -> None:
    env = os.environ | {"FLEET_HOME": str(home)}
    subprocess.run(command, env=env, check=True, stdout=subprocess.DEVNULL)


def fold(home: Path, count: int) -> None:
    """The whole ledger folded; the snapshot stays for `status`."""
    reader = Reader.open(home)
    found = []
    timed("whole fold", lambda: found.append(whole_fold(reader)), count)
    reader.close()
    with Ledger.open(home) as ledger:
        ledger.put_checkpoint(count, pack(found[0]))


def more(home: Path) -> None:
    """One event after the other, each on disk before the next."""
    times, cpu = [], []
    with Ledger.open(home) as ledger:
        ledger.append("note_added", "", {"text": "first"}, NOW)
        for number in range(MORE):
            begun, used = time.perf_counter(), time.process_time()
            ledger.append("note_added", "", {"text": str(number)}, NOW)
            times.append((time.perf_counter() - begun) * 1000)
            cpu.append((time.process_time() - used) * 1000)
    text = f"worst {max(times):.2f}, CPU {statistics.median(cpu):.2f} ms"
    say("one more event, fsync included", f"{statistics.median(times):.2f} ms", text)


def main(count: int) -> None:
    print(f"== a ledger of {count:,} events by {AUTHORS} peers")
    with tempfile.TemporaryDirectory(prefix="fleet-bench-", dir=os.environ.get("TMPDIR")) as folder:
        home = Path(folder) / "home"
        fill(home, count)
        disk(home, count)
        start(home)
        verify(home, count)
        fold(home, count)
        status(home)
        more(home)
        say("memory at most", f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10:,} MiB")
        if keep := os.environ.get("FLEET_BENCH_KEEP"):
            shutil.copytree(home, keep)


if __name__ == "__main__":
    main(int(sys.argv[1].replace(",", "")) if len(sys.argv) > 1 else EVENTS)
