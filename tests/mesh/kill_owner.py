"""kill -9 of an owner at random points of its jobs' lives: each child is adopted by the next
daemon, runs once, and its cost is right. argv: [points] [seed]."""

import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mathcore.price import cost_nusd
from mesh.edge.store.state import load_state
from mesh.state.fleet import rate
from tests.mesh.conftest import Machine, make, up_all
from tests.support.waiting import wait_until

SLEEP_S = 0.6  # how long a job lasts
LIFE_S = 1.4  # from a job's submission until it is booked
# A poll each 100 ms sees the end; the supervisor's own measure is of its clock: what a busy machine
# adds between a program's start and its first line is the job's time as well.
SAMPLE_MS = 1000
SHOWN = ("status", "duration_ms", "cost_nusd")
COSTS = {"FLEET_PRICE": "1600 USD", "FLEET_TARIFF": "0.30 USD/kWh"}


def play(folder: Path, points: int, seed: int, say: Callable[[str], None] = print) -> list[str]:
    """Kill so many times; what went wrong, a line each."""
    rng, maker, wrong = random.Random(seed), make(folder), []
    machines, ran = next(maker), folder / "ran"
    ran.touch()
    try:
        machines("owner").env |= COSTS
        home, owner = up_all(machines, "home owner")
        owner.join(home)
        wait_until(lambda: _devices(home) >= {"home", "owner"}, "both devices at home")
        for at in range(points):
            job_id = f"life-{seed}-{at}"
            script = f"echo {job_id} >> {ran}; sleep {SLEEP_S}; echo done"
            home.post("/v1/jobs", job_id=job_id, command=["sh", "-c", script], on="owner")
            time.sleep(rng.uniform(0, LIFE_S))
            status = _job(home, job_id)["status"]
            owner.stop(signal.SIGKILL)
            owner.up()
            found = _after(home, owner, job_id)
            times = Counter(ran.read_text().split())[job_id]
            found += [] if times == 1 else [f"it ran {times} times"]
            wrong += [f"{job_id}, killed while {status}: {text}" for text in found]
            say(f"{job_id}: killed while {status}: {'; '.join(found) or 'once, and paid once'}")
    finally:
        next(maker, None)
    return wrong


def _after(home: Machine, owner: Machine, job_id: str) -> list[str]:
    """What is wrong with a job once both peers call it ended."""
    for one in (home, owner):
        wait_until(lambda one=one: _job(one, job_id)["ended_ms"], f"the end of {job_id}")
    rows = [{name: _job(one, job_id)[name] for name in SHOWN} for one in (home, owner)]
    row, found = rows[0], []
    if rows[0] != rows[1]:
        found.append(f"home says {rows[0]}, owner says {rows[1]}")
    if row["status"] != "succeeded":
        found.append(f"it is {row['status']}: {_job(home, job_id)['text']}")
    over = row["duration_ms"] - 1000 * SLEEP_S
    if not 0 <= over <= SAMPLE_MS:
        found.append(f"{row['duration_ms']} ms of a job of {SLEEP_S} s")
    view = load_state(owner.home).devices[_job(owner, job_id)["device_id"]]
    due = cost_nusd(rate(view), row["duration_ms"])
    if row["cost_nusd"] != due or not due:
        found.append(f"{row['cost_nusd']} n$ for {row['duration_ms']} ms, due are {due}")
    return found


def _job(machine: Machine, job_id: str) -> dict[str, Any]:
    found = machine.get(f"/v1/jobs/{job_id}")
    assert isinstance(found, dict)
    return found


def _devices(machine: Machine) -> set[str]:
    return {one["name"] for one in machine.get("/v1/devices")["devices"]}


def main(words: list[str]) -> int:
    """Print what happened; 1 where anything went wrong."""
    points, seed = map(int, [*words, *("20", "0")[len(words) :]])
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="fleet-kill9-") as made:
        wrong = play(Path(made), points, seed)
    took = time.monotonic() - began
    print(f"{points} points, seed {seed}, {took:.0f} s: {len(wrong)} faults", *wrong, sep="\n")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
