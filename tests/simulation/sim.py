"""Plays seeded schedules of the simulation; a failure prints its seed, which replays it."""

import argparse
import sys
import time

from tests.simulation.broken import VARIANTS
from tests.simulation.net import Broken
from tests.simulation.world import play


def main() -> int:
    """0 when all schedules hold, 1 at the first that does not."""
    parser = argparse.ArgumentParser(prog="scripts/sim", description=__doc__)
    parser.add_argument("seed", nargs="?", type=int, help="play this one schedule and tell it")
    parser.add_argument("--count", type=int, default=200, help="how many schedules (200)")
    parser.add_argument("--first", type=int, default=0, help="the first seed (0)")
    parser.add_argument(
        "--broken",
        choices=sorted(VARIANTS),
        default="",
        metavar="NAME",
        help=f"break something: {', '.join(sorted(VARIANTS)[1:])}",
    )
    given = parser.parse_args()
    if given.seed is not None:
        return one(given.seed, given.broken)
    start = time.perf_counter()
    for seed in range(given.first, given.first + given.count):
        try:
            play(seed, given.broken)
        except Broken as error:
            print(f"FAIL {error}\nreplay: scripts/sim {seed}", end="")
            print(f" --broken {given.broken}" if given.broken else "")
            return 1
        if sys.stderr.isatty():
            print(f"\r{seed + 1 - given.first} of {given.count}", end="", file=sys.stderr)
    took = time.perf_counter() - start
    print(
        f"{given.count} schedules in {took:.1f} s: peers converged, nothing acknowledged was lost,"
        " nothing forged was admitted"
    )
    return 0


def one(seed: int, name: str) -> int:
    """Play one schedule and print what happened."""
    try:
        world = play(seed, name)
    except Broken as error:
        print("\n".join(error.log))
        print(f"FAIL {error}")
        return 1
    print("\n".join(world.log))
    print(f"seed {seed}: {len(world.nodes)} peers, {world.honest[0].ledger.count()} events, holds")
    return 0


if __name__ == "__main__":
    sys.exit(main())
