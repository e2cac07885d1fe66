"""Many seeds over all cores, and what they add up to."""

import multiprocessing
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from tests.simulation.faults import FAULTS
from tests.simulation.network import Broken
from tests.simulation.pairs import Pairs
from tests.simulation.steps import STEPS

CHUNK: Final = 5  # seeds a process takes at a time
# Pairs that cannot meet, and why.
NEVER: Final[dict[tuple[str, str], str]] = {}


@dataclass
class Played:
    """What one seed gave."""

    seed: int
    fault: str = ""
    virtual_s: float = 0.0
    cpu_s: float = 0.0
    peers: int = 0
    hits: Counter[tuple[str, str]] = field(default_factory=Counter)
    taken: Counter[str] = field(default_factory=Counter)


@dataclass
class Report:
    """Everything added up."""

    seeds: int = 0
    real_s: float = 0.0
    cpu_s: float = 0.0
    virtual_s: float = 0.0
    failures: list[Played] = field(default_factory=list)
    pairs: Pairs = field(default_factory=lambda: Pairs(tuple(FAULTS), STEPS, NEVER))

    def add(self, one: Played) -> None:
        self.seeds += 1
        self.cpu_s += one.cpu_s
        self.virtual_s += one.virtual_s
        self.pairs.add(one.hits, one.taken)
        if one.fault:
            self.failures.append(one)

    def text(self, name: str = "", *, table: bool = True) -> str:
        """For a person."""
        lines = [
            f"FAIL {one.fault}\nreplay: scripts/sim {one.seed}" + (f" --broken {name}" * bool(name))
            for one in self.failures
        ]
        per_real = self.virtual_s / max(self.real_s, 1e-9)
        lines.append(
            f"{self.seeds} schedules, {len(self.failures)} failures, {self.real_s:.0f} s"
            f" ({1000 * self.cpu_s / max(self.seeds, 1):.0f} ms of CPU each),"
            f" {per_real:.0f} virtual seconds per real second"
        )
        if table:
            lines += self._table()
        return "\n".join(lines)

    def _table(self) -> list[str]:
        width = max(map(len, FAULTS))
        lines = ["", "fault x step, times met:"]
        lines.append(" " * width + "".join(f"{step[:9]:>10}" for step in STEPS))
        for fault in FAULTS:
            counts = "".join(f"{self.pairs.shown(fault, step):>10}" for step in STEPS)
            lines.append(f"{fault:<{width}}{counts}")
        taken = "".join(f"{self.pairs.taken[step]:>10}" for step in STEPS)
        lines.append(f"{'steps taken':<{width}}{taken}")
        for (fault, step), why in NEVER.items():
            lines.append(f"-: {fault} at {step}: {why}")
        lines.append(self.pairs.rare())
        return lines


def play_one(seed: int, name: str = "") -> Played:
    """One schedule; a failure is told, not raised."""
    from tests.simulation.play import play

    begun = time.process_time()
    played = Played(seed)
    try:
        world = play(seed, name, played)
        played.peers = len(world.peers)
    except Broken as error:
        played.fault = str(error)
    played.cpu_s = time.process_time() - begun
    return played


def play_many(
    first: int, count: int, name: str = "", jobs: int = 2, *, stop: bool = False
) -> Iterator[Played]:
    """Seeds from `first` on over `jobs` processes; `stop` at the first failure."""
    chunks = [
        (at, min(CHUNK, first + count - at), name) for at in range(first, first + count, CHUNK)
    ]
    if jobs <= 1:
        for chunk in chunks:
            for one in _chunk(chunk):
                yield one
                if stop and one.fault:
                    return
        return
    context = multiprocessing.get_context("fork")
    pool = context.Pool(jobs)
    try:
        for found in pool.imap(_chunk, chunks):
            for one in found:
                yield one
                if stop and one.fault:
                    return
    finally:
        pool.terminate()


def _chunk(what: tuple[int, int, str]) -> list[Played]:
    first, count, name = what
    return [play_one(seed, name) for seed in range(first, first + count)]
