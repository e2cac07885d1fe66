"""Reckons the bills of seeded histories and checks them; a failure prints its seed."""

import argparse
import sys

from tests.simulation.bills.mutants import MUTANTS
from tests.simulation.bills.play import caught, play, play_many

WITHIN = 300  # seeds that must be enough to catch a variant
TOLD = 120  # characters of a fault


def main() -> int:
    """0 when every bill holds, or every variant asked for is caught."""
    parser = argparse.ArgumentParser(prog="scripts/sim bills", description=__doc__)
    parser.add_argument("seed", nargs="?", type=int, help="reckon this one history")
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--within", type=int, default=WITHIN)
    parser.add_argument("--broken", choices=["all", *MUTANTS], default="")
    given = parser.parse_args()
    if given.seed is not None:
        played = play(given.seed, given.broken if given.broken != "all" else "")
        print(f"FAIL {played.fault}" if played.fault else f"seed {played.seed} holds")
        return 1 if played.fault else 0
    if given.broken:
        names = list(MUTANTS) if given.broken == "all" else [given.broken]
        return max([_caught(name, given.within) for name in names])
    return _many(given.first, given.count, given.jobs)


def _caught(name: str, within: int) -> int:
    fault = caught(name, within)
    says = f"caught by {fault[:TOLD]}" if fault else f"NOT caught within {within} seeds"
    print(f"{name}: {says}", flush=True)
    return 0 if fault else 1


def _many(first: int, count: int, jobs: int) -> int:
    failures = lines = 0
    cpu_s = 0.0
    for played in play_many(first, count, jobs):
        lines, cpu_s = lines + played.lines, cpu_s + played.cpu_s
        if played.fault:
            failures += 1
            print(f"FAIL {played.fault}", flush=True)
    rate = count / max(1e-9, cpu_s)
    print(
        f"{count} histories, {failures} failures, {lines} lines;"
        f" {rate:.1f} histories a second of CPU",
        flush=True,
    )
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
