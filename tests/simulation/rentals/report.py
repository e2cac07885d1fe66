"""Schedules over processes, and what they add up to."""

import multiprocessing
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from tests.simulation.rentals.mutants import broken
from tests.simulation.rentals.world import Broken, World

CHUNK = 4


@dataclass
class Played:
    """What one seed gave."""

    seed: int
    fault: str = ""
    cpu_s: float = 0.0
    virtual_s: float = 0.0
    creates: int = 0
    hits: Counter[tuple[str, str]] = field(default_factory=Counter)
    noted: dict[str, list[int]] = field(default_factory=dict)


def play(seed: int, provider: str, mutant: str = "") -> Played:
    """One schedule."""
    begun = time.process_time()
    played = Played(seed)
    with broken(mutant):
        world = World(seed, provider)
        try:
            world.run()
        except Broken as error:
            played.fault = str(error)
    played.cpu_s, played.virtual_s = time.process_time() - begun, world.loop.time()
    played.creates = sum(world.judge.creates.values())
    played.hits, played.noted = world.hits, dict(world.judge.noted)
    return played


def play_many(
    first: int, count: int, provider: str, jobs: int, mutant: str = ""
) -> Iterator[Played]:
    """Many, in the order of their seeds; who has enough closes it."""
    asked = [(seed, provider, mutant) for seed in range(first, first + count)]
    if jobs <= 1:
        yield from map(_play, asked)
        return
    with multiprocessing.get_context("fork").Pool(jobs) as pool:
        yield from pool.imap(_play, asked, chunksize=CHUNK)


def _play(asked: tuple[int, str, str]) -> Played:
    return play(*asked)


@dataclass
class Report:
    """Everything added up."""

    provider: str
    seeds: int = 0
    failures: int = 0
    creates: int = 0
    cpu_s: float = 0.0
    hits: Counter[tuple[str, str]] = field(default_factory=Counter)
    noted: dict[str, list[int]] = field(default_factory=dict)

    def add(self, one: Played) -> None:
        self.seeds += 1
        self.failures += bool(one.fault)
        self.creates += one.creates
        self.cpu_s += one.cpu_s
        self.hits += one.hits
        for name, values in one.noted.items():
            self.noted.setdefault(name, []).extend(values)

    def line(self) -> str:
        """The sums."""
        return (
            f"{self.provider}: {self.seeds} schedules, {self.failures} failures,"
            f" {self.creates} creates reached the server;"
            f" {self.seeds / max(1e-9, self.cpu_s):.1f} schedules a second of CPU"
        )

    def text(self) -> str:
        """The sums, what was noted, and how many pairs of fault and state were met."""
        met = [pair for pair in self.hits if pair[0] != "event"]
        often = sum(self.hits[pair] >= 20 for pair in met)
        lines = [
            self.line(),
            f"  {len(met)} pairs of fault and state met, {often} of them 20 times",
        ]
        for name, values in sorted(self.noted.items()):
            cells = " ".join(f"{word} {_part(values, part)}" for word, part in PARTS)
            lines.append(f"  {name}: n {len(values)} {cells}")
        return "\n".join(lines)


PARTS = (("p50", 0.5), ("p95", 0.95), ("max", 1.0))


def _part(values: list[int], part: float) -> str:
    """In seconds: what is noted is in ms, counts aside."""
    return f"{sorted(values)[min(len(values) - 1, int(part * len(values)))] / 1000:.1f}"
