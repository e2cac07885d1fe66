"""Seeded histories over processes, and what they add up to."""

import multiprocessing
import time
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

from tests.simulation.bills.checks import check
from tests.simulation.bills.mutants import broken

CHUNK = 8


@dataclass
class Played:
    """What one seed gave; `fault` "": everything held."""

    seed: int
    fault: str = ""
    lines: int = 0
    cpu_s: float = 0.0


def play(seed: int, mutant: str = "") -> Played:
    """One history; whatever a broken variant raises counts as caught."""
    begun, played = time.process_time(), Played(seed)
    with broken(mutant):
        try:
            played.lines = check(Random(seed))
        except AssertionError as error:  # what breaks down, a variant too, proves nothing
            played.fault = f"seed {seed}: {type(error).__name__} {error}"
    played.cpu_s = time.process_time() - begun
    return played


def play_many(first: int, count: int, jobs: int, mutant: str = "") -> Iterator[Played]:
    """Many, in the order of their seeds."""
    asked = [(seed, mutant) for seed in range(first, first + count)]
    if jobs <= 1:
        yield from map(_play, asked)
        return
    with multiprocessing.get_context("fork").Pool(jobs) as pool:
        yield from pool.imap(_play, asked, chunksize=CHUNK)


def _play(asked: tuple[int, str]) -> Played:
    return play(*asked)


def caught(mutant: str, within: int, jobs: int = 1) -> str:
    """The first seed that catches a variant, and by what; "" where none of so many does."""
    for played in play_many(0, within, jobs, mutant):
        if played.fault:
            return played.fault
    return ""
