"""The mesh's figures, from real daemons: on loopback, and on hosts in network namespaces."""

import json
import os
import random
import sqlite3
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil

from mesh.policy.neighbours import OUTBOUND, SMALL_FLEET
from tests.mesh.conftest import Machine, make, up_all
from tests.mesh.conftest import wait_until as wait
from tests.netns.inside import Inside
from tests.netns.lab import Host, Lab, NoNamespaces, lab, pair, sh

PEERS = int(os.environ.get("MESH_PEERS", "8"))
NOTES = 60
SPLIT_EVENTS = 1000
IDLE_S = 60
DISCOVERIES = 15


def quantile(values: list[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, round(share * (len(ordered) - 1)))]


def show(name: str, values: list[float], unit: str = "ms") -> None:
    print(
        f"  {name}: p50 {statistics.median(values):.0f} {unit}, p95 "
        f"{quantile(values, 0.95):.0f} {unit}, worst {max(values):.0f} {unit}, n {len(values)}",
        flush=True,
    )


class Watcher(threading.Thread):
    """Reads one peer's event stream and notes when each text came."""

    def __init__(self, machine: Machine) -> None:
        super().__init__(daemon=True)
        self.seen: dict[str, float] = {}
        self._machine = machine
        self.start()

    def run(self) -> None:
        with suppress(Exception):
            for _, event in self._machine.daemon.stream("/v1/events"):
                text = event.get("payload", {}).get("text")
                if text:
                    self.seen.setdefault(text, time.monotonic())


def linked(machine: Machine) -> Callable[[], bool]:
    """A condition: everybody is known, and linked or, in a large fleet, as many as are dialled."""

    def look() -> bool:
        states = [row["state"] for row in machine.peers().values()]
        return len(states) == PEERS and states.count("online") > (
            PEERS - 2 if PEERS <= SMALL_FLEET + 1 else OUTBOUND
        )

    return look


def visibility() -> None:
    """8 daemons on loopback: from the moment a note is sent until every peer has it on disk."""
    with tempfile.TemporaryDirectory() as folder, contextmanager(make)(Path(folder)) as maker:
        machines = up_all(maker, " ".join(f"p{n}" for n in range(PEERS)))
        for one in machines[1:]:
            one.join(machines[0])
        for one in machines:
            wait(linked(one), f"{one.name} linked")
        watchers = [Watcher(one) for one in machines]
        delays = []
        for n in range(NOTES):
            sender, text = random.choice(machines), f"note {n}"
            begun = time.monotonic()
            sender.note(text)
            wait(lambda text=text: all(text in w.seen for w in watchers), text)
            delays.append(1000 * (max(w.seen[text] for w in watchers) - begun))
        print(f"visibility, {PEERS} daemons on loopback, from the request to the last peer:")
        show("on all peers", delays)
        links = [[r["state"] for r in m.peers().values()].count("online") - 1 for m in machines]
        print(f"  links per peer: mean {statistics.mean(links):.1f}, most {max(links)}", flush=True)


@contextmanager
def inside(made: Lab) -> Iterator[list[Inside]]:
    apis = [Inside(host) for host in made.hosts]
    try:
        yield apis
    finally:
        for one in apis:
            one.close()


def counted(home: Path) -> tuple[int, str]:
    """(events, a digest of them) in a ledger, read as any SQLite tool would."""
    with closing(sqlite3.connect(f"file:{home / 'ledger.db'}?mode=ro", uri=True)) as db:
        count, digest = db.execute("SELECT COUNT(*), TOTAL(rowid * 0) FROM events").fetchone()
        heads = db.execute(
            "SELECT author, MAX(seq), COUNT(*) FROM events GROUP BY author ORDER BY author"
        ).fetchall()
    return int(count), f"{digest} {heads}"


def split() -> None:
    """Two halves of 4 hosts write 1,000 events each while apart; how long until all are equal."""
    with tempfile.TemporaryDirectory() as folder, lab(Path(folder), PEERS) as made:
        pair(made.hosts)
        sh("ip", "-n", made.bridge, "link", "add", "br1", "type", "bridge", "mcast_snooping", "0")
        sh("ip", "-n", made.bridge, "link", "set", "br1", "up")
        half = made.hosts[PEERS // 2 :]
        for host in half:
            sh("ip", "-n", made.bridge, "link", "set", host.port, "master", "br1")
        with inside(made) as apis:
            threads = [
                threading.Thread(target=write, args=(apis[i], SPLIT_EVENTS // 2))
                for i in (0, 1, PEERS // 2, PEERS // 2 + 1)
            ]
            for one in threads:
                one.start()
            for one in threads:
                one.join()
            alone = [counted(host.home)[0] for host in made.hosts]
            time.sleep(20)  # past the 15 s after which both sides know
            for host in half:
                sh("ip", "-n", made.bridge, "link", "set", host.port, "master", "br0")
            begun = time.monotonic()
            wait(lambda: len({counted(host.home) for host in made.hosts}) == 1, "equal ledgers")
            took = time.monotonic() - begun
        total = counted(made.hosts[0].home)[0]
        print(
            f"split, {PEERS} hosts: {min(alone)} events on a side while apart, {total} in all; "
            f"equal {took:.1f} s after healing",
            flush=True,
        )


def write(api: Inside, count: int) -> None:
    for n in range(count):
        api.ask("POST", "/v1/notes", {"text": f"{api.host.name} {n}"})


def idle() -> None:
    """What a daemon with 7 neighbours and nothing to do costs."""
    with tempfile.TemporaryDirectory() as folder, lab(Path(folder), PEERS) as made:
        pair(made.hosts)
        pids = [int(json.loads((h.home / "daemon.json").read_text())["pid"]) for h in made.hosts]
        processes = [psutil.Process(pid) for pid in pids]
        time.sleep(15)  # first sync, announcements
        before = [spent(one) for one in processes], [traffic(host) for host in made.hosts]
        time.sleep(IDLE_S)
        after = [spent(one) for one in processes], [traffic(host) for host in made.hosts]
        cpu = [100 * (b - a) / IDLE_S for a, b in zip(before[0], after[0], strict=True)]
        wire = [(b - a) / IDLE_S for a, b in zip(before[1], after[1], strict=True)]
        memory = [one.memory_info().rss / 1e6 for one in processes]
        print(
            f"idle, {PEERS - 1} neighbours, {IDLE_S} s: CPU {statistics.median(cpu):.2f} % of a "
            f"core (worst {max(cpu):.2f}), RSS {statistics.median(memory):.0f} MB (worst "
            f"{max(memory):.0f}), {statistics.median(wire):.0f} B/s on the wire, both ways "
            f"(worst {max(wire):.0f})",
            flush=True,
        )


def spent(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def traffic(host: Host) -> int:
    text = sh(*host.inside("cat", "/proc/net/dev"))
    fields = next(line for line in text.splitlines() if "eth0" in line).partition(":")[2].split()
    return int(fields[0]) + int(fields[8])


def discovery() -> None:
    """A new daemon on the LAN: from its process's start, and from its readiness, until seen."""
    with tempfile.TemporaryDirectory() as folder, lab(Path(folder), 2) as made:
        one, two = made.hosts
        one.up()
        from_start, from_ready = [], []
        with inside(Lab_of(made, one)) as (api,):
            for n in range(DISCOVERIES):
                two.home = made.hosts[0].home.parent / f"new{n}"
                two.env["FLEET_HOME"] = str(two.home)
                started = time.monotonic()
                process = two.start()
                name = f"h2-{n}"
                wait(lambda: (two.home / "daemon.json").exists(), "the new daemon")
                ready = time.monotonic()
                known = {s["peer_id"] for s in api.ask("GET", "/v1/doctor")["strangers"]}
                wait(
                    lambda known=known: (
                        {s["peer_id"] for s in api.ask("GET", "/v1/doctor")["strangers"]} - known
                    ),
                    name,
                )
                seen = time.monotonic()
                from_start.append(1000 * (seen - started))
                from_ready.append(1000 * (seen - ready))
                process.communicate(timeout=60)
                two.stop()
        print("LAN discovery by mDNS, a new peer seen by another:")
        show("from the start of its process", from_start)
        show("from the daemon's readiness", from_ready)


def Lab_of(made: Lab, host: Host) -> Any:
    """A lab's view with one host only."""
    return type("One", (), {"hosts": [host], "bridge": made.bridge})


def main(names: list[str]) -> None:
    chosen: dict[str, Callable[[], None]] = {
        "visibility": visibility,
        "split": split,
        "idle": idle,
        "discovery": discovery,
    }
    load = os.getloadavg()[0]
    print(f"{os.cpu_count()} cores, load {load:.1f}", flush=True)
    for name in names:
        try:
            chosen[name]()
        except NoNamespaces as error:
            print(f"{name}: not measured: {error}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
