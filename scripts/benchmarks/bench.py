"""Cold command times and ledger rates, as medians; argv[1] names the build measured."""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

REPEATS = 15
EVENTS = 1_000


def median_ms(run: Callable[[], object], repeats: int = REPEATS) -> tuple[float, float]:
    """Median and worst of `repeats` runs, in ms, after one that warms the file cache."""
    run()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        times.append((time.perf_counter() - start) * 1000)
    return statistics.median(times), max(times)


def cold(home: Path, *words: str) -> Callable[[], object]:
    env = os.environ | {"FLEET_HOME": str(home)}
    command = [sys.executable, "-m", "mesh", *words]
    return lambda: subprocess.run(command, env=env, stdout=subprocess.DEVNULL, check=True)


def fill(home: Path) -> None:
    """A ledger of three devices and EVENTS notes."""
    env = os.environ | {"FLEET_HOME": str(home)}
    for name, gpu, memory in (
        ("rig", "RTX 4090", "24GiB"),
        ("lab", "A100 80GB", "80GB"),
        ("den", "RTX 3090", "24GiB"),
    ):
        subprocess.run(
            [
                sys.executable,
                "-m",
                "mesh",
                "devices",
                "add",
                name,
                "--gpu",
                gpu,
                "--memory",
                memory,
            ],
            env=env,
            check=True,
            stdout=subprocess.DEVNULL,
        )
    from mesh.edge.store.ledger import Ledger

    ledger = Ledger.open(home)
    start = time.perf_counter()
    for i in range(EVENTS):
        ledger.append("note_added", ledger.peer_id, {"text": f"note {i}"}, time.time_ns() // 10**6)
    took = time.perf_counter() - start
    print(f"append, one fsync each     {EVENTS / took:10,.0f} events/s")
    start = time.perf_counter()
    report = ledger.verify()
    took = time.perf_counter() - start
    print(f"verify                     {report.count / took:10,.0f} events/s")
    ledger.close()


def main(kind: str) -> None:
    print(f"== {kind}")
    with tempfile.TemporaryDirectory(prefix="fleet-bench-") as folder:
        home = Path(folder)
        fill(home)
        for words in (("--version",), ("status",), ("plan", "llama-2-7b", "--quant", "Q4_K_M")):
            median, worst = median_ms(cold(home, *words))
            print(f"fleet {' '.join(words)[:20]:<20} {median:10.0f} ms cold (worst {worst:.0f})")


if __name__ == "__main__":
    main(sys.argv[1])
