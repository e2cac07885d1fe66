"""Schedules over all cores, and what they add up to."""

import multiprocessing
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from tests.simulation.dispatch.mutants import broken
from tests.simulation.dispatch.steps import FAULTS, NEVER, STEPS
from tests.simulation.dispatch.world import Broken, World
from tests.simulation.pairs import Pairs

CHUNK = 5  # seeds a process takes at a time
BROKE_DOWN = "breaks down"  # a schedule so, or a variant: it proves nothing


@dataclass
class Played:
    """What one seed gave; `told` of a failure alone when there are many."""

    seed: int
    fault: str = ""
    virtual_s: float = 0.0
    cpu_s: float = 0.0
    jobs: int = 0
    hits: Counter[tuple[str, str]] = field(default_factory=Counter)
    taken: Counter[str] = field(default_factory=Counter)
    told: list[str] = field(default_factory=list)


def play(seed: int, mutant: str = "") -> Played:
    """One schedule."""
    begun = time.process_time()
    world, played = World(seed), Played(seed)
    with broken(mutant):
        try:
            world.run()
        except Broken as error:
            played.fault = str(error)
        except Exception:
            played.fault = f"seed {seed}: {BROKE_DOWN}\n{traceback.format_exc()}"
    played.virtual_s, played.cpu_s = world.loop.time(), time.process_time() - begun
    played.jobs, played.hits, played.told = len(world.people.jobs), world.hits, world.told
    played.taken = world.faults.taken
    return played


def play_many(first: int, count: int, jobs: int, mutant: str = "") -> Iterator[Played]:
    """Many, over processes, in the order of their seeds; who has enough closes it."""
    asked = [(seed, mutant) for seed in range(first, first + count)]
    with multiprocessing.get_context("fork").Pool(jobs) as pool:
        yield from pool.imap(_play, asked, chunksize=CHUNK)


def _play(asked: tuple[int, str]) -> Played:
    played = play(*asked)
    played.told = []
    return played


@dataclass
class Report:
    """Everything added up."""

    seeds: int = 0
    jobs: int = 0
    failures: int = 0
    virtual_s: float = 0.0
    cpu_s: float = 0.0
    pairs: Pairs = field(default_factory=lambda: Pairs(FAULTS, STEPS, NEVER))

    def add(self, one: Played) -> None:
        self.seeds += 1
        self.jobs += one.jobs
        self.failures += bool(one.fault)
        self.virtual_s += one.virtual_s
        self.cpu_s += one.cpu_s
        self.pairs.add(one.hits, one.taken)

    def line(self) -> str:
        """The sums."""
        return (
            f"{self.seeds} schedules, {self.failures} failures, {self.jobs} jobs;"
            f" {1000 * self.cpu_s / max(1, self.seeds):.0f} ms of CPU each,"
            f" {self.virtual_s / max(1e-9, self.cpu_s):.0f} virtual seconds per CPU second"
        )

    def text(self) -> str:
        """The sums, and how often each fault met each step."""
        width = max(map(len, STEPS))
        lines = ["fault x step, times met:", " " * width + "".join(f"{f:>12}" for f in FAULTS)]
        for step in STEPS:
            counts = "".join(f"{self.pairs.shown(fault, step):>12}" for fault in FAULTS)
            lines.append(f"{step:<{width}}{counts}   of {self.pairs.taken[step]}")
        return "\n".join([*lines, self.pairs.rare(), self.line()])
