"""What one decision of an owner's queue costs: a thousand waiting jobs on eight devices."""

from __future__ import annotations

import random
import statistics
import time

from mesh.policy.queue.need import Need
from mesh.policy.queue.queue import decide_queue
from mesh.policy.queue.values import Room, Running, Waiting

GIB, MINUTE, NOW = 1 << 30, 60_000, 1_800_000_000_000
WAITING, DEVICES, REPEATS = (250, 500, 1_000, 2_000, 4_000), 8, 15


def lengths(rng: random.Random) -> dict[str, int]:
    p50 = rng.randint(1, 60) * MINUTE
    return {"p50_ms": p50, "p80_ms": p50 * 5 // 4, "p90_ms": p50 * 3 // 2}


def job(rng: random.Random, number: int) -> Waiting:
    return Waiting(
        job_id=f"j{number}",
        attempt=1,
        device_id=f"gpu{number % DEVICES}",
        need=Need(memory_bytes=rng.randint(1, 24) * GIB, ram_bytes=GIB),
        priority=rng.randint(0, 100),
        accepted_ms=NOW - rng.randint(0, 120) * MINUTE,
        deadline_ms=rng.choice((None, NOW + rng.randint(1, 600) * MINUTE)),
        **lengths(rng),
    )


def main() -> None:
    rng = random.Random(13)
    rooms = [
        Room(
            device_id=f"gpu{n}",
            total_bytes=24 * GIB,
            free_bytes=24 * GIB,
            read_ms=NOW,
            ram_free_bytes=256 * GIB,
            host="h",
        )
        for n in range(DEVICES)
    ]
    runs = [
        Running(
            job_id=f"r{n}",
            attempt=1,
            device_id=f"gpu{n % DEVICES}",
            need=Need(memory_bytes=7 * GIB),
            started_ms=NOW - rng.randint(0, 30) * MINUTE,
            **lengths(rng),
        )
        for n in range(2 * DEVICES)
    ]
    for count in WAITING:
        jobs = [job(rng, number) for number in range(count)]
        spent = []
        for _ in range(REPEATS):
            begun = time.process_time()  # what else the machine does is not the queue's
            decide_queue(jobs, runs, rooms, NOW)
            spent.append(time.process_time() - begun)
        least, middle = min(spent) * 1e3, statistics.median(spent) * 1e3
        print(
            f"{count} waiting on {DEVICES} devices: {middle:.1f} ms of processor time, "
            f"at best {least:.1f}"
        )


if __name__ == "__main__":
    main()
