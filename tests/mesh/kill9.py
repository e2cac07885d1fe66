"""kill -9 at random points of a first sync from three neighbours over TLS on loopback: after every
restart the state is what the ledger says. argv: [rounds] [seed]."""

import random
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

import psutil

from mesh.edge.disk import StoreError
from mesh.edge.store.ledger import Ledger, Reader
from mesh.edge.store.state import current_state, snapshot_finding, whole_fold
from mesh.state.checkpoint import digest
from tests.mesh.conftest import Machine, Maker, is_gone, make, up_all
from tests.support.waiting import wait_until

NOTES = 2500  # of each neighbour: some snapshots lie on the way
NAMES = "far0 far1 far2"
LATEST_S = 0.05  # after the chosen event was seen, the kill comes within this


def count(home: Path) -> int:
    """Events on disk; 0 for no ledger yet."""
    with suppress(StoreError), closing(Reader.open(home)) as reader:
        return reader.last_cursor()
    return 0


def faults(home: Path) -> list[str]:
    """In what a start from this home would differ from its ledger folded whole."""
    with closing(Reader.open(home)) as reader:
        finding, whole = snapshot_finding(reader), whole_fold(reader)
        found = [] if finding is None else [finding.text]
        if digest(current_state(reader)) != digest(whole):
            found.append("the state a start begins with is not the ledger's")
        if whole.event_count != reader.count():
            found.append("events are missing from a whole fold")
        return found


def neighbours(machines: Maker) -> list[Machine]:
    """A fleet of three, each with notes of its own, all in sync."""
    now_ms = time.time_ns() // 1_000_000
    for name in NAMES.split():
        machine = machines(name)
        machine.home.mkdir(parents=True)
        with Ledger.open(machine.home) as ledger:
            for start in range(0, NOTES, 500):
                facts = [("note_added", "", {"text": f"{name} {start + n}"}) for n in range(500)]
                ledger.append_many(facts, now_ms)
    fars = up_all(machines, NAMES)
    for far in fars[1:]:
        far.join(fars[0])
    for far in fars:
        wait_until(lambda far=far: count(far.home) >= 3 * NOTES, f"everything at {far.name}")
    return fars


def rounds(folder: Path, number: int, seed: int, say: Callable[[str], None] = print) -> list[str]:
    """Play so many rounds; what went wrong, a line each."""
    rng, maker = random.Random(seed), make(folder)
    machines, wrong = next(maker), []
    try:
        fars = neighbours(machines)
        hub, fresh = machines("hub"), folder / "fresh"
        hub.ok("join", fars[0].invite())
        shutil.copytree(hub.home, fresh)
        for at in range(number):
            killed, after = _round(hub, fresh, rng)
            wrong += [f"round {at}: {text}" for text in after]
            said = "; ".join(after) or "state equals ledger"
            say(f"round {at}: killed at {', '.join(map(str, killed))} events: {said}")
    finally:
        next(maker, None)
    return wrong


def _round(hub: Machine, fresh: Path, rng: random.Random) -> tuple[list[int], list[str]]:
    """A first sync from nothing, killed once or twice on the way, then let through to its end."""
    shutil.rmtree(hub.home)
    shutil.copytree(fresh, hub.home)
    killed, found = [], []
    for target in sorted(rng.randrange(1, 3 * NOTES) for _ in range(rng.randint(1, 2))):
        hub.start()
        wait_until(lambda target=target: count(hub.home) >= target, f"event {target} at hub")
        time.sleep(rng.uniform(0, LATEST_S))
        _kill(hub)
        killed.append(count(hub.home))
        found += faults(hub.home)
    hub.up()
    wait_until(lambda: count(hub.home) >= 3 * NOTES, "the rest at hub")
    wait_until(lambda: hub.get("/v1/status")["waiting_for"] == "", "hub may sign")
    hub.note("after it all")
    live = hub.get("/v1/status")["events"]
    hub.stop()  # keeps the live state as the snapshot, which is compared with the ledger
    if live > count(hub.home):
        found.append(f"the daemon spoke of {live} events of {count(hub.home)}")
    return killed, found + faults(hub.home)


def _kill(hub: Machine) -> None:
    """SIGKILL to the daemon, by the pid that it announced, whether or not it is ready."""
    wait_until((hub.home / "daemon.json").exists, "hub's announcement")
    process = psutil.Process(hub.pid)
    process.kill()
    wait_until(lambda: is_gone(process), "the end of hub's daemon")
    if hub.starting is not None:
        hub.starting.communicate(timeout=120)
        hub.starting = None
    (hub.home / "daemon.json").unlink()


def main(words: list[str]) -> int:
    """Print what happened; 1 where anything went wrong."""
    number, seed = map(int, [*words, *("20", "0")[len(words) :]])
    with tempfile.TemporaryDirectory(prefix="fleet-kill9-") as made:
        trouble = rounds(Path(made), number, seed)
    print(f"{number} rounds, {len(trouble)} faults", flush=True)
    return int(bool(trouble))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
