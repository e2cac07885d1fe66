"""A daemon opens a ledger of an older format: when it answers, when it is ready. argv: [EVENTS].

The ledger is a member's notes as a program of format 2 wrote them, on this peer's own chain.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from mesh.api.errors import RequestError
from mesh.cli.client import find_daemon
from mesh.cli.exits import Stop
from tests.edge.store.events import CYD, line
from tests.edge.store.old_ledger import write_old

EVENTS = 100_000
POLL_S = 0.05
SETTINGS = {
    "FLEET_LISTEN": "127.0.0.1", "FLEET_DISCOVERY": "", "FLEET_MESH_PORT": "0",
    "FLEET_PAIRING_PORT": "0", "FLEET_GATEWAY_PORT": "0",
}  # fmt: skip


def make(home: Path, events: int) -> None:
    write_old(home, 2, line(1, events, "0" * 64, "a note of then"))
    (home / "identity.key").touch(mode=0o600)
    (home / "identity.key").write_bytes(CYD)


def said(home: Path) -> dict[str, Any] | None:
    """What it answers: its progress, {} once it is ready, None while nobody answers."""
    daemon = find_daemon(home)
    if daemon is None:
        return None
    try:
        daemon.get("/readyz")
        return {}
    except Stop:
        return None
    except RequestError:
        pass
    try:
        daemon.get("/v1/status")
    except RequestError as error:
        return {"step": error.text.removeprefix("starting: ").partition(",")[0]}
    except Stop:
        return None
    return {"step": "the rest of its start"}


def main(events: int, folder: Path) -> None:
    home = folder / "home"
    make(home, events)
    before = (home / "ledger.db").stat().st_size
    env = os.environ | SETTINGS | {"FLEET_HOME": str(home)}
    begun = time.perf_counter()
    daemon = subprocess.Popen(
        [sys.executable, "-m", "mesh", "up"], env=env, stdout=subprocess.DEVNULL
    )
    seen: dict[str, tuple[float, float]] = {}
    try:
        while (found := said(home)) != {}:
            now = time.perf_counter() - begun
            if found is not None:
                first, _ = seen.get(found["step"], (now, now))
                seen[found["step"]] = (first, now)
            time.sleep(POLL_S)
        ready = time.perf_counter() - begun
    finally:
        daemon.terminate()
        daemon.wait()
    print(f"{events:,} events, {before / 1e6:,.0f} MB of format 2")
    print(f"first answer, with progress  {min(first for first, _ in seen.values()):6.1f} s")
    for step, (first, last) in seen.items():
        print(f"{step:<28} {first:6.1f} s to {last:.1f} s")
    print(f"ready                        {ready:6.1f} s")
    print(f"disk after                   {(home / 'ledger.db').stat().st_size / 1e6:6,.0f} MB")


if __name__ == "__main__":
    made = Path(tempfile.mkdtemp(prefix="fleet-upgrade-"))
    try:
        main(int(sys.argv[1]) if len(sys.argv) > 1 else EVENTS, made)
    finally:
        shutil.rmtree(made)
