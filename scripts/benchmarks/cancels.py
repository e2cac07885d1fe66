"""How long a cancel takes, asked at a job's home for a job on another peer's device: one that waits
there, one that runs, and one whose whole tree is deaf to TERM."""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from mesh.cli.client import need_daemon
from scripts.benchmarks.pair import PATIENCE_S, Daemon

WAITING, RUNNING, DEAF = 20, 10, 3
LOOK_S = 0.01
# A shell and a child in a session of its own, which both hear no TERM and say who they are.
TREE = "trap '' TERM; echo $$ >> {0}; setsid sh -c 'echo $$ >> {0}; sleep 600' & sleep 600"


def main() -> None:
    """Medians and the worst, in ms."""
    print(f"== cancels between two daemons; load {os.getloadavg()[0]:.1f}")
    with tempfile.TemporaryDirectory(prefix="fleet-bench-") as folder:
        owner, home = Daemon(Path(folder) / "owner", "owner"), Daemon(Path(folder) / "home", "home")
        try:
            code = owner.post("/v1/invites", role="runner")["code"]
            home.post("/v1/join", code=code, name="home")
            _until(lambda: "owner" in {one["name"] for one in _get(home, "/v1/devices")["devices"]})
            _show("waits there", _waiting(home))
            _show("runs there", [_running(home, "sleep 600", None) for _ in range(RUNNING)])
            deaf = [_deaf(home, Path(folder) / f"pids{n}") for n in range(DEAF)]
            _show("runs there, its tree deaf to TERM, until all of it is dead", deaf)
        finally:
            home.stop()
            owner.stop()


def _get(peer: Daemon, path: str) -> Any:
    return need_daemon(peer.home).get(path)


def _status(peer: Daemon, job_id: str) -> str:
    return str(_get(peer, f"/v1/jobs/{job_id}")["status"])


def _until(true: Callable[[], object]) -> float:
    """Seconds until it is so."""
    begun = time.perf_counter()
    while not true():
        if time.perf_counter() > begun + PATIENCE_S:
            raise SystemExit("waited in vain")
        time.sleep(LOOK_S)
    return time.perf_counter() - begun


def _submit(home: Daemon, script: str) -> str:
    return str(home.post("/v1/jobs", command=["sh", "-c", script], on="owner")["job_id"])


def _cancelled(home: Daemon, job_id: str) -> float:
    begun = time.perf_counter()
    home.post(f"/v1/jobs/{job_id}/cancel")
    _until(lambda: _status(home, job_id) == "cancelled")
    return time.perf_counter() - begun


def _waiting(home: Daemon) -> list[float]:
    first = _submit(home, "sleep 600")
    _until(lambda: _status(home, first) == "running")
    jobs = [_submit(home, "true") for _ in range(WAITING)]
    for one in jobs:
        _until(lambda one=one: _status(home, one) == "queued")
    took = [_cancelled(home, one) for one in jobs]
    _cancelled(home, first)
    return took


def _running(home: Daemon, script: str, pids: Path | None) -> float:
    job_id = _submit(home, script)
    _until(lambda: _status(home, job_id) == "running")
    if pids is None:
        return _cancelled(home, job_id)
    _until(lambda: pids.exists() and len(pids.read_text().split()) == 2)
    begun, known = time.perf_counter(), [int(one) for one in pids.read_text().split()]
    home.post(f"/v1/jobs/{job_id}/cancel")
    _until(lambda: not any(map(_lives, known)))
    took = time.perf_counter() - begun
    _until(lambda: _status(home, job_id) == "cancelled")
    return took


def _deaf(home: Daemon, pids: Path) -> float:
    return _running(home, TREE.format(pids), pids)


def _lives(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _show(what: str, took: list[float]) -> None:
    middle, most = 1000 * statistics.median(took), 1000 * max(took)
    print(f"{what}: median {middle:.0f} ms, at most {most:.0f} ms, of {len(took)}", flush=True)


if __name__ == "__main__":
    main()
