"""Plays seeded schedules of rentals against a provider's stand-in; a failure prints its seed."""

import argparse
import os
import sys

from tests.simulation.rentals.clouds import SIDES
from tests.simulation.rentals.mutants import MUTANTS
from tests.simulation.rentals.report import Report, play, play_many
from tests.simulation.rentals.world import BROKE_DOWN

WITHIN = 1500  # seeds that must be enough to catch a mutant


def main() -> int:
    """0 when all schedules hold, or every mutant asked for is caught."""
    if os.environ.get("PYTHONHASHSEED") != "0":
        again = [sys.executable, "-m", "tests.simulation.rentals.sim", *sys.argv[1:]]
        os.execve(sys.executable, again, os.environ | {"PYTHONHASHSEED": "0"})  # noqa: S606
    parser = argparse.ArgumentParser(prog="scripts/sim rentals", description=__doc__)
    parser.add_argument("seed", nargs="?", type=int, help="play this one schedule")
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--provider", choices=[*SIDES, "all"], default="all")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--within", type=int, default=WITHIN)
    parser.add_argument("--broken", choices=["all", *MUTANTS], default="")
    given = parser.parse_args()
    providers = list(SIDES) if given.provider == "all" else [given.provider]
    if given.seed is not None:
        return max([_one(given.seed, provider, given.broken) for provider in providers])
    if given.broken:
        names = list(MUTANTS) if given.broken == "all" else [given.broken]
        return max([_caught(name, providers, given.jobs, given.within) for name in names])
    return max([_many(given.first, given.count, one, given.jobs) for one in providers])


def _one(seed: int, provider: str, mutant: str) -> int:
    played = play(seed, provider, mutant)
    print(f"{provider}: FAIL {played.fault}" if played.fault else f"{provider}: seed {seed} holds")
    return 1 if played.fault else 0


def _caught(name: str, providers: list[str], jobs: int, within: int) -> int:
    """Caught by one provider's schedules at least; the first seed of each is told. A variant that
    breaks down is not caught: it would prove nothing."""
    found = []
    for provider in providers:
        for played in play_many(0, within, provider, jobs, name):
            if played.fault and BROKE_DOWN not in played.fault:
                found.append(f"{provider} {played.fault}")
                break
    print(f"{name}: {'caught by ' if found else 'NOT caught within '}", end="")
    print("; ".join(found) or f"{within} seeds", flush=True)
    return 0 if found else 1


def _many(first: int, count: int, provider: str, jobs: int) -> int:
    report = Report(provider)
    for played in play_many(first, count, provider, jobs):
        report.add(played)
        if played.fault:
            print(f"FAIL {played.fault}", flush=True)
        if report.seeds % 1000 == 0:
            print(report.line(), flush=True)
    print(report.text(), flush=True)
    return 1 if report.failures else 0


if __name__ == "__main__":
    sys.exit(main())
