"""First sync between two processes over TLS: two daemons on loopback, wall time and CPU of both."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil

from mesh.cli.client import need_daemon
from scripts.benchmarks.sync import fill

EVENTS = 100_000
LOOK_S = 0.05  # how late the end may be noticed
PATIENCE_S = 600.0


class Daemon:
    """One peer in a process of its own; its home was made before."""

    def __init__(self, home: Path, name: str) -> None:
        self.home = home
        self._env = os.environ | {
            "FLEET_HOME": str(home),
            "FLEET_NAME": name,
            "FLEET_LISTEN": "127.0.0.1",
            "FLEET_DISCOVERY": "",
            "FLEET_MESH_PORT": "0",
            "FLEET_PAIRING_PORT": "0",
        }
        subprocess.run([sys.executable, "-m", "mesh", "up", "--detach"], env=self._env, check=True)
        pid = int(json.loads((home / "daemon.json").read_text())["pid"])
        self.process = psutil.Process(pid)

    def post(self, path: str, **body: object) -> Any:
        return need_daemon(self.home).post(path, body)

    def events(self) -> int:
        return int(need_daemon(self.home).get("/v1/status")["events"])

    def cpu_s(self) -> float:
        times = self.process.cpu_times()
        return float(times.user + times.system)

    def stop(self) -> None:
        subprocess.run([sys.executable, "-m", "mesh", "down"], env=self._env, check=True)


def main(count: int) -> None:
    print(f"== first sync of {count:,} events, two processes over TLS")
    with tempfile.TemporaryDirectory(prefix="fleet-bench-") as folder:
        fill(Path(folder) / "old", count).close()
        old, new = Daemon(Path(folder) / "old", "old"), Daemon(Path(folder) / "new", "new")
        try:
            measure(old, new, count)
        finally:
            new.stop()
            old.stop()


def measure(old: Daemon, new: Daemon, count: int) -> None:
    """From the newcomer's yes until it has folded as many events as there were."""
    code = old.post("/v1/invites", role="runner")["code"]
    cpu, began = (old.cpu_s(), new.cpu_s()), time.perf_counter()
    new.post("/v1/join", code=code, name="new")
    while new.events() < count:
        if time.perf_counter() > began + PATIENCE_S:
            raise SystemExit(f"{new.events()} of {count} events after {PATIENCE_S:.0f} s")
        time.sleep(LOOK_S)
    wall = time.perf_counter() - began
    spent = [one.cpu_s() - before for one, before in zip((old, new), cpu, strict=True)]
    print(f"{count / wall:,.0f} events/s: {wall:.1f} s; CPU {spent[0]:.1f} s and {spent[1]:.1f} s")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else EVENTS)
