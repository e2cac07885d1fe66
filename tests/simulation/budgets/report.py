"""Schedules over processes, and what they add up to."""

import multiprocessing
import time
from collections.abc import Iterator
from dataclasses import dataclass

from tests.simulation.budgets.judge import Broken
from tests.simulation.budgets.mutants import broken
from tests.simulation.budgets.plots import lost_owners, parallel
from tests.simulation.budgets.world import World

CHUNK = 16
PLOTS_EVERY = 10  # schedules: so many seeds also play the plots


@dataclass
class Played:
    """What one seed gave."""

    seed: int
    fault: str = ""
    cpu_s: float = 0.0
    admitted: int = 0
    refused: int = 0
    apart: int = 0
    run: int = 0
    fifty: int = 0  # plots of fifty requests at once
    drained: int = 0  # plots of lost owners


def play(seed: int, mutant: str = "") -> Played:
    """One schedule, of every tenth seed the plots too."""
    begun, played = time.process_time(), Played(seed)
    with broken(mutant):
        try:
            _play(seed, played)
        except Broken as error:
            played.fault = str(error)
        except Exception as error:  # a mutant may break more than the books
            if not mutant:
                raise
            played.fault = f"seed {seed}: {type(error).__name__} {error}"
    played.cpu_s = time.process_time() - begun
    return played


def _play(seed: int, played: Played) -> None:
    world = World(seed)
    world.play()
    played.admitted, played.refused = world.admitted, world.refused
    played.apart, played.run = world.apart, len(world.bought)
    if seed % PLOTS_EVERY == 0:
        parallel(seed)
        lost_owners(seed)
        played.fifty = played.drained = 1


def play_many(first: int, count: int, jobs: int, mutant: str = "") -> Iterator[Played]:
    """Many, in the order of their seeds; who has enough closes it."""
    asked = [(seed, mutant) for seed in range(first, first + count)]
    if jobs <= 1:
        yield from map(_asked, asked)
        return
    with multiprocessing.get_context("fork").Pool(jobs) as pool:
        yield from pool.imap(_asked, asked, chunksize=CHUNK)


def _asked(asked: tuple[int, str]) -> Played:
    return play(*asked)


@dataclass
class Report:
    """Everything added up."""

    seeds: int = 0
    failures: int = 0
    admitted: int = 0
    refused: int = 0
    apart: int = 0
    run: int = 0
    fifty: int = 0
    drained: int = 0
    cpu_s: float = 0.0

    def add(self, one: Played) -> None:
        self.seeds += 1
        self.failures += bool(one.fault)
        for name in ("admitted", "refused", "apart", "run", "fifty", "drained", "cpu_s"):
            setattr(self, name, getattr(self, name) + getattr(one, name))

    def text(self) -> str:
        """The sums."""
        return (
            f"{self.seeds} schedules, {self.failures} failures; {self.admitted} purchases admitted"
            f" ({self.apart} with an owner out of reach), {self.refused} refused, {self.run} run;"
            f" {self.fifty} times fifty requests at once, {self.drained} times lost owners;"
            f" {self.seeds / max(1e-9, self.cpu_s):.1f} schedules a second of CPU"
        )
