"""A model between two daemons over TLS on loopback: rate, CPU, cuts, and what was predicted."""

from __future__ import annotations

import hashlib
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil

from mesh.cli.client import need_daemon
from scripts.benchmarks.pair import PATIENCE_S, Daemon

SIZE = 1_000_000_000
PROBE = 256_000_000  # a first, smaller model: what the line is measured by
LOOK_S = 0.02
BLOCK = 1 << 20
RUNS = 3


def main(size: int, folder: str | None) -> None:
    """`folder` holds all files: /dev/shm leaves the disk out."""
    load = os.getloadavg()[0]
    print(f"== models of {size:,} bytes between two daemons over TLS; load {load:.1f}")
    with tempfile.TemporaryDirectory(prefix="fleet-bench-", dir=folder) as made:
        home = Path(made)
        _alone(home)
        for name, length in [("probe", PROBE), *((f"m{n}", size) for n in range(RUNS + 1))]:
            write_noise(home / "shelf" / f"{name}.gguf", length)
        sender, receiver = Daemon(home / "sender", "sender"), Daemon(home / "receiver", "receiver")
        pair = [sender, receiver]
        try:
            code = sender.post("/v1/invites", role="runner")["code"]
            receiver.post("/v1/join", code=code, name="receiver")
            pull(pair, "probe", shown=False)
            for n in range(RUNS):
                pull(pair, f"m{n}", shown=True)
            cut(pair, f"m{RUNS}", size)
            check(home, f"m{RUNS}")
        finally:
            for one in pair:
                one.stop()


def _alone(home: Path) -> None:
    """Neither daemon sees this machine's own models; the sender's shelf is a setting of both."""
    (home / "shelf").mkdir()
    for name in ("sender", "receiver"):
        (home / name).mkdir()
    os.environ["FLEET_METERED"] = "no"
    for name in ("HOME", "OLLAMA_MODELS", "HF_HOME", "LLAMA_CACHE", "XDG_CACHE_HOME"):
        os.environ[name] = str(home / "nothing")
    (home / "sender" / "fleet.toml").write_text(f"models = {json.dumps([str(home / 'shelf')])}\n")


def write_noise(path: Path, size: int) -> None:
    """A file that begins as a GGUF, of noise whose blocks all differ."""
    noise = os.urandom(BLOCK)
    with path.open("wb") as file:
        left = size - file.write(b"GGUF" + os.urandom(16))
        while left:
            left -= file.write((left.to_bytes(8, "big") + noise[8:])[:left])


def state(one: Daemon, model_id: str) -> dict[str, Any]:
    rows = need_daemon(one.home).get("/v1/models/fetches")["fetches"]
    return next((row for row in rows if row["id"] == model_id), {"state": "unknown"})


def wait_for(one: Daemon, model_id: str, size: int) -> dict[str, Any]:
    """The row once so many bytes are verified, or the transfer is done."""
    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until:
        row = state(one, model_id)
        if row["state"] in ("failed", "stopped"):
            raise SystemExit(f"{row['state']}: {row['text']}")
        if row["state"] == "done" or row.get("got_bytes", 0) > size:
            return row
        time.sleep(LOOK_S)
    raise SystemExit(f"not there after {PATIENCE_S:.0f} s")


def pull(pair: list[Daemon], name: str, *, shown: bool) -> None:
    """One transfer without cuts."""
    before = [one.cpu_s() for one in pair]
    row = pair[1].post("/v1/models/pull", model=name)
    row = wait_for(pair[1], row["id"], row["size_bytes"])
    gb = row["size_bytes"] / 1e9
    spent = [(one.cpu_s() - cpu) / gb for one, cpu in zip(pair, before, strict=True)]
    if not shown:
        return
    predicted, took = row["predicted_ms"]["p50"], row["took_ms"]
    line = row["fetching_ms"]
    print(
        f"{gb * 1e6 / line:.0f} MB/s over the line; ready after {took / 1000:.2f} s, predicted "
        f"{predicted / 1000:.2f} s ({100 * (predicted / took - 1):+.0f} %); CPU s/GB: sender "
        f"{spent[0]:.2f} (hashing its file too), receiver {spent[1]:.2f}; "
        f"load {os.getloadavg()[0]:.1f}"
    )


def cut(pair: list[Daemon], name: str, size: int) -> None:
    """The receiver is killed at a quarter, the sender at a half and at three quarters."""
    sent_before = sent(pair[0])
    model_id = pair[1].post("/v1/models/pull", model=name)["id"]
    wait_for(pair[1], model_id, size // 4)
    kill(pair, 1)
    first = sent(pair[0]) - sent_before  # of which the receiver's death may have lost some
    for part in (2, 3):
        wait_for(pair[1], model_id, part * size // 4)
        kill(pair, 0)
    row = wait_for(pair[1], model_id, size)
    moved = first + int(row["received_bytes"])
    print(f"three kill -9: {100 * (moved / size - 1):.1f} % sent again")


def sent(one: Daemon) -> int:
    return int(need_daemon(one.home).get("/v1/models/fetches")["sent_bytes"])


def kill(pair: list[Daemon], which: int) -> None:
    """kill -9 by its pid, and a new daemon over the same home."""
    old = pair[which]
    old.process.kill()
    psutil.wait_procs([old.process], timeout=10)
    (old.home / "daemon.json").unlink(missing_ok=True)
    pair[which] = Daemon(old.home, old.home.name)


def check(home: Path, name: str) -> None:
    """By another hash than the transfer's own."""
    found = [hashed(path) for path in home.rglob(f"{name}.gguf")]
    print(f"SHA-256 of both copies is the same: {len(found) == 2 and found[0] == found[1]}")


def hashed(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


if __name__ == "__main__":
    main(
        int(sys.argv[1]) if len(sys.argv) > 1 else SIZE, sys.argv[2] if len(sys.argv) > 2 else None
    )
