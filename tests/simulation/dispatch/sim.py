"""Plays seeded schedules of dispatch; a failure prints its seed, which replays it."""

import argparse
import os
import sys

from tests.simulation.dispatch.mutants import MUTANTS
from tests.simulation.dispatch.report import BROKE_DOWN, Report, play, play_many

WITHIN = 500  # seeds that must be enough to catch a mutant


def main() -> int:
    """0 when all schedules hold, or every mutant asked for is caught."""
    if os.environ.get("PYTHONHASHSEED") != "0":
        again = [sys.executable, "-m", "tests.simulation.dispatch.sim", *sys.argv[1:]]
        os.execve(sys.executable, again, os.environ | {"PYTHONHASHSEED": "0"})  # noqa: S606
    parser = argparse.ArgumentParser(prog="scripts/sim dispatch", description=__doc__)
    parser.add_argument("seed", nargs="?", type=int, help="play this one schedule and tell it")
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--broken", choices=["all", *MUTANTS], default="")
    given = parser.parse_args()
    if given.seed is not None:
        played = play(given.seed, given.broken)
        print("\n".join(played.told))
        print(f"FAIL {played.fault}" if played.fault else f"seed {given.seed} holds")
        return 1 if played.fault else 0
    if given.broken:
        names = list(MUTANTS) if given.broken == "all" else [given.broken]
        return max([_caught(name, given.jobs) for name in names])
    return _many(given.first, given.count, given.jobs)


def _caught(name: str, jobs: int) -> int:
    """A variant that breaks down is not caught: it would prove nothing."""
    for played in play_many(0, WITHIN, jobs, name):
        if BROKE_DOWN in played.fault:
            print(f"{name}: NOT caught, {played.fault}", flush=True)
            return 1
        if played.fault:
            print(f"{name}: caught by {played.fault}", flush=True)
            return 0
    print(f"{name}: NOT caught within {WITHIN} seeds", flush=True)
    return 1


def _many(first: int, count: int, jobs: int) -> int:
    report = Report()
    for played in play_many(first, count, jobs):
        report.add(played)
        if played.fault:
            print(f"FAIL {played.fault}", flush=True)
        if report.seeds % 500 == 0:
            print(report.line(), flush=True)
    print(report.text())
    return 1 if report.failures else 0


if __name__ == "__main__":
    sys.exit(main())
