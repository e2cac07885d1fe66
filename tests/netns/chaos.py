"""Jobs in a fleet that is being broken: four daemons and two hosts with only SSH, cables pulled,
daemons and sshd killed. Each host was adopted by two daemons, and all hosts are this one machine:
their processor is locked for one job at a time. Each job must run exactly once.

argv: [jobs] [seed]."""

import json
import random
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

from tests.netns.inside import in_namespace
from tests.netns.lab import Host, Lab, lab, pair
from tests.support.sshd import Sshd

DAEMONS, HOSTS = 4, 2
FAULT_EVERY_S = (0.2, 2.0)
CUT_S = (1.0, 6.0)
DOWN_S = (0.0, 3.0)
SUBMIT_EVERY_S = (0.0, 0.3)
JOB_S = 0.4  # the longest job's sleep
PATIENCE_S = 1200.0
LOOK_S = 0.5
SAME = ("status", "cost_nusd", "duration_ms")  # of a job, on every peer


class Chaos:
    """One fleet, its faults, and who ran what: each job writes its own name into one file."""

    def __init__(self, folder: Path, made: Lab, seed: int) -> None:
        self.daemons, hosts = made.hosts[:DAEMONS], made.hosts[DAEMONS:]
        self.sshds = [_sshd(folder / f"sshd-{one.name}", one) for one in hosts]
        self.ran = folder / "ran"
        self.ran.touch()
        self.rng, self.calm = random.Random(seed), threading.Event()
        self.faults: Counter[str] = Counter()
        self.locks = {one.name: threading.Lock() for one in made.hosts}

    def begin(self) -> list[str]:
        """Everything up, every host adopted by two daemons; names of the devices."""
        pair(self.daemons)
        for index, sshd in enumerate(self.sshds):
            sshd.start()
            for one in self.daemons[2 * index : 2 * index + 2]:
                account = sshd.account(f"box{index}-{one.name}")
                _ask(one, "POST", "/v1/ssh", msgspec.to_builtins(account))
        wanted = DAEMONS + 2 * HOSTS
        for one in self.daemons:
            _until(lambda one=one: len(_devices(one)) == wanted, f"{wanted} devices at {one.name}")
        return _devices(self.daemons[0])

    def submit(self, number: int, devices: list[str]) -> tuple[str, Host]:
        """One job from one daemon to one device or any, asked again until it is taken."""
        home, job_id = self.rng.choice(self.daemons), f"chaos-{number}"
        on = self.rng.choice([*devices, "any", "any"])
        script = f"echo {job_id} >> {self.ran}; sleep {self.rng.uniform(0, JOB_S):.2f}"
        job = {"job_id": job_id, "command": ["sh", "-c", script], "on": on}
        _until(lambda: "job_id" in (_ask(home, "POST", "/v1/jobs", job) or {}), f"{job_id} taken")
        return job_id, home

    def break_things(self) -> None:
        """A fault and its end, one after the other, until it is calm."""
        while not self.calm.wait(self.rng.uniform(*FAULT_EVERY_S)):
            kind = self.rng.choice(["cut", "kill", "kill", "sshd"])
            self.faults[kind] += 1
            {"cut": self._cut, "kill": self._kill, "sshd": self._kill_sshd}[kind]()

    def _cut(self) -> None:
        some = self.rng.sample(self.daemons, self.rng.randint(1, 2))
        for one in some:
            one.plug(up=False)
        self.calm.wait(self.rng.uniform(*CUT_S))
        for one in some:
            one.plug(up=True)

    def _kill(self) -> None:
        one = self.rng.choice(self.daemons)
        one.stop(signal.SIGKILL)
        self.calm.wait(self.rng.uniform(*DOWN_S))
        one.up()

    def _kill_sshd(self) -> None:
        one = self.rng.choice(self.sshds)
        one.stop()
        self.calm.wait(self.rng.uniform(*DOWN_S))
        one.start()

    def end(self) -> None:
        for one in self.sshds:
            one.stop()


def _sshd(folder: Path, host: Host) -> Sshd:
    return Sshd(folder, address=host.address, inside=tuple(host.inside()))


def _ask(host: Host, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
    """The daemon's answer; None where it is down or dies over it."""
    with suppress(OSError, ValueError, KeyError, AssertionError), in_namespace(host) as api:
        return api.ask(method, path, body)
    return None


def _devices(host: Host) -> list[str]:
    found = _ask(host, "GET", "/v1/devices") or {"devices": []}
    return sorted(one["name"] for one in found["devices"])


def _until(condition: Callable[[], object], what: str) -> None:
    end = time.monotonic() + PATIENCE_S
    while not condition():
        if time.monotonic() > end:
            raise SystemExit(f"waited {PATIENCE_S:.0f} s in vain for {what}")
        time.sleep(LOOK_S)


def _job_costs(one: Host) -> dict[str, int | None]:
    groups = _ask(one, "GET", "/v1/cost?by=job")["groups"]
    return {group["job"]: group["total_cost_nusd"] for group in groups if group["jobs"]}


def _jobs(host: Host) -> dict[str, dict[str, Any]]:
    found = _ask(host, "GET", "/v1/jobs") or {"jobs": []}
    return {one["job_id"]: one for one in found["jobs"]}


def judge(chaos: Chaos, homes: dict[str, Host]) -> list[str]:
    """What is wrong once all is calm: a line each."""
    times = Counter(chaos.ran.read_text().split())
    wrong = [f"{one} ran {times[one]} times" for one in homes if times[one] != 1]
    books = [_jobs(one) for one in chaos.daemons]
    for job_id in homes:
        rows = [book.get(job_id, {}) for book in books]
        said = {
            (row.get("status"), row.get("actual_cost_nusd"), row.get("duration_ms")) for row in rows
        }
        if len(said) != 1 or rows[0].get("status") != "succeeded":
            wrong.append(f"{job_id} is {said}: {rows[0].get('reason')}: {rows[0].get('text')}")
    # How long a device was idle each knows of its own until that is told; what jobs cost all know.
    costs = {json.dumps(_job_costs(one), sort_keys=True) for one in chaos.daemons}
    if len(costs) != 1:
        wrong.append(f"the peers' bills differ: {costs}")
    for one in chaos.daemons:
        done = one.run("verify", "--all")
        if done.returncode:
            wrong.append(f"fleet verify at {one.name}: {done.stdout}{done.stderr}")
    return wrong


def rounds(folder: Path, number: int, seed: int) -> tuple[list[str], Counter[str]]:
    """Play so many jobs; what went wrong, a line each, and the faults there were."""
    with lab(folder, DAEMONS + HOSTS) as made:
        chaos = Chaos(folder, made, seed)
        try:
            return play(chaos, number), chaos.faults
        finally:
            chaos.calm.set()
            chaos.end()


def main(words: list[str]) -> int:
    """Print what happened; 1 where anything went wrong."""
    number, seed = map(int, [*words, *("300", "0")[len(words) :]])
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="fleet-chaos-") as folder:
        wrong, faults = rounds(Path(folder), number, seed)
    took = time.monotonic() - began
    print(
        f"{number} jobs, seed {seed}, {took:.0f} s, {dict(faults)}: {len(wrong)} wrong",
        *wrong,
        sep="\n",
    )
    return int(bool(wrong))


def play(chaos: Chaos, number: int) -> list[str]:
    """Submit under faults, let all of it end, and look."""
    devices = chaos.begin()
    print(f"devices: {', '.join(devices)}", flush=True)
    breaking = threading.Thread(target=chaos.break_things)
    breaking.start()
    homes = {}
    for at in range(number):
        job_id, home = chaos.submit(at, devices)
        homes[job_id] = home
        time.sleep(chaos.rng.uniform(*SUBMIT_EVERY_S))
    _until(lambda: len(set(chaos.ran.read_text().split())) >= number * 0.9, "nine in ten to run")
    chaos.calm.set()
    breaking.join()
    for one in chaos.daemons:
        _until(
            lambda one=one: (
                sum(
                    row["status"] in ("succeeded", "failed", "cancelled")
                    for row in _jobs(one).values()
                )
                >= number
            ),
            f"the end of all jobs as {one.name} sees it",
        )
    return judge(chaos, homes)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
