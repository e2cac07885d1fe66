"""Plays seeded schedules of the simulation; a failure prints its seed, which replays it."""

import argparse
import os
import sys
import time

from tests.simulation.broken import VARIANTS
from tests.simulation.network import Broken
from tests.simulation.play import play
from tests.simulation.report import Report, play_many, play_one

WITHIN = 500  # seeds that must be enough to catch a broken variant


def main() -> int:
    """0 when all schedules hold, or every broken variant asked for is caught."""
    given = _ask()
    if os.environ.get("PYTHONHASHSEED") != "0":  # or sets of text come in another order each time
        environment = os.environ | {"PYTHONHASHSEED": "0"}
        os.execve(  # noqa: S606
            sys.executable,
            [sys.executable, "-m", "tests.simulation.sim", *sys.argv[1:]],
            environment,
        )
    if given.seed is not None:
        return one(given.seed, given.broken)
    if given.broken == "all":
        return every_variant(given.jobs)
    if given.broken:
        return variant(given.broken, given.jobs)
    report = Report()
    begun = time.perf_counter()
    for played in play_many(given.first, given.count, jobs=given.jobs):
        report.add(played)
        if played.fault:
            print(f"FAIL {played.fault[:300]}\nreplay: scripts/sim {played.seed}", flush=True)
        if sys.stderr.isatty():
            print(f"\r{report.seeds} of {given.count}", end="", file=sys.stderr)
    report.real_s = time.perf_counter() - begun
    print(report.text())
    return 1 if report.failures else 0


def _ask() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/sim", description=__doc__)
    parser.add_argument("seed", nargs="?", type=int, help="play this one schedule and tell it")
    parser.add_argument("--count", type=int, default=200, help="how many schedules (200)")
    parser.add_argument("--first", type=int, default=0, help="the first seed (0)")
    parser.add_argument(
        "--jobs", type=int, default=min(2, os.cpu_count() or 1), help="processes (2)"
    )
    parser.add_argument(
        "--broken",
        choices=["all", *sorted(VARIANTS)],
        default="",
        metavar="NAME",
        help=f"break something, and be caught at it: all, {', '.join(sorted(VARIANTS)[1:])}",
    )
    return parser.parse_args()


def one(seed: int, name: str) -> int:
    """Play one schedule and print what happened."""
    try:
        world = play(seed, name)
    except Broken as error:
        print("\n".join(error.log))
        print(f"FAIL {error}")
        return 1
    print("\n".join(world.log))
    print(f"seed {seed}: {len(world.peers)} peers, {world.loop.time():.0f} virtual seconds, holds")
    return 0


def variant(name: str, jobs: int) -> int:
    """Whether a broken variant is caught soon enough."""
    begun = time.perf_counter()
    for played in play_many(0, WITHIN, name, jobs):
        if played.fault and not play_one(played.seed).fault:  # the sound program holds there
            took = time.perf_counter() - begun
            print(f"{name:<34} seed {played.seed:>4} {took:5.0f} s  {_short(played.fault)}")
            return 0
    print(f"{name:<34} NOT CAUGHT within {WITHIN} seeds")
    return 1


def every_variant(jobs: int) -> int:
    """The table of all of them."""
    return max(variant(name, jobs) for name in sorted(VARIANTS) if name)


def _short(text: str) -> str:
    return text.partition(": ")[2][:80]


if __name__ == "__main__":
    sys.exit(main())
