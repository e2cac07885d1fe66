"""Plays seeded schedules of peers that spend from budgets; a failure prints its seed."""

import argparse
import os
import sys

from tests.simulation.budgets.mutants import MUTANTS
from tests.simulation.budgets.report import Report, play, play_many

WITHIN = 300  # seeds that must be enough to catch a mutant


def main() -> int:
    """0 when all schedules hold, or every mutant asked for is caught."""
    if os.environ.get("PYTHONHASHSEED") != "0":
        again = [sys.executable, "-m", "tests.simulation.budgets.sim", *sys.argv[1:]]
        os.execve(sys.executable, again, os.environ | {"PYTHONHASHSEED": "0"})  # noqa: S606
    parser = argparse.ArgumentParser(prog="scripts/sim budgets", description=__doc__)
    parser.add_argument("seed", nargs="?", type=int, help="play this one schedule")
    parser.add_argument("--count", type=int, default=500)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--within", type=int, default=WITHIN)
    parser.add_argument("--broken", choices=["all", *MUTANTS], default="")
    given = parser.parse_args()
    if given.seed is not None:
        return _one(given.seed, given.broken)
    if given.broken:
        names = list(MUTANTS) if given.broken == "all" else [given.broken]
        return max([_caught(name, given.within) for name in names])
    return _many(given.first, given.count, given.jobs)


def _one(seed: int, mutant: str) -> int:
    played = play(seed, mutant)
    print(f"FAIL {played.fault}" if played.fault else f"seed {seed} holds: {played}")
    return 1 if played.fault else 0


def _caught(name: str, within: int) -> int:
    found = next((one.fault for one in play_many(0, within, 1, name) if one.fault), "")
    print(f"{name}: {f'caught by {found}' if found else f'NOT caught within {within} seeds'}")
    return 0 if found else 1


def _many(first: int, count: int, jobs: int) -> int:
    report = Report()
    for played in play_many(first, count, jobs):
        report.add(played)
        if played.fault:
            print(f"FAIL {played.fault}", flush=True)
        if report.seeds % 1000 == 0:
            print(report.text(), flush=True)
    print(report.text(), flush=True)
    return 1 if report.failures else 0


if __name__ == "__main__":
    sys.exit(main())
