"""Processors as decoding sees them: cores that wait for each other, and what they can unpack.

One row of data/cores.csv each: the cores a decode step is spread over (the fast ones where a chip
has two kinds), the highest clock its maker states, the widest instructions, and the share of the
memory's bandwidth the cores can draw (below 1 where most of it is for the graphics beside them).
"""

from dataclasses import dataclass
from typing import final

from mathcore.data import read_rows
from mathcore.hardware.facts import cpus

# Instructions that multiply four or more weights of 8 bits in one go: with them cores wait for
# memory, without them they unpack weights more slowly than memory brings them.
QUICK: frozenset[str] = frozenset(("avx2", "avx512", "dotprod"))
# Weights a core without them unpacks in a cycle, before the share of its nominal rates that an
# engine reaches (Core 2, Cortex-A72: 0.5 measured).
UNPACKED_PER_CYCLE = 0.85
# A layer's operations each end when the last core is done: seconds of a barrier, and more for each
# core that waits. The fitted time per layer is that of USUAL_CORES.
BARRIER_S = 15e-6
BARRIER_CORE_S = 9e-6
USUAL_CORES = 8
# Of the nominal bandwidth, nearly: only to choose how many cores pay.
USUAL_SHARE = 0.575


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Cores:
    """What one processor computes with; `unpacked` = weights per second, 0 = memory is slower."""

    count: int = USUAL_CORES
    unpacked: float = 0.0
    share: float = 1.0  # of the memory's bandwidth


USUAL = Cores()
_TABLE: dict[str, Cores] = {}


def _cores(row: dict[str, str]) -> Cores:
    count = int(row["cores"])
    slow = row["instructions"] not in QUICK
    return Cores(
        count=count,
        unpacked=UNPACKED_PER_CYCLE * count * float(row["ghz"]) * 1e9 if slow else 0.0,
        share=float(row["share"]),
    )


def cores_of(name: str) -> Cores:
    """The cores of a processor of the catalogue; the usual eight of an unknown one."""
    if not _TABLE:
        for row in read_rows("speed", "cores.csv"):
            _TABLE[row["name"]] = _cores(row)
    return _TABLE.get("Apple" if name.startswith("Apple ") else name, USUAL)


_FEWER: list[tuple[int, float]] = []


def fewer() -> list[tuple[int, float]]:
    """(cores, bytes a second they draw) of the processors that draw the most with so few."""
    if not _FEWER:
        rows = [(cores_of(fact.name), float(fact.bandwidth_bytes_per_s)) for fact in cpus()]
        pairs = sorted([(one.count, -rate) for one, rate in rows if one.unpacked <= 0.0])
        most = 0.0
        for count, below in pairs:
            if -below > most:
                most = -below
                _FEWER.append((count, most))
    return _FEWER


def cores_that_pay(count: int, bandwidth: float, moved: float, layers: int) -> tuple[int, float]:
    """(cores, bytes a second) a step of so many bytes and layers is best run on: all of them, or as
    few as another processor has, whose cores draw what they do. So none is slower than a smaller
    one because its cores wait for each other.
    """
    best = (count, bandwidth)
    least = _step_s(count, bandwidth, moved, layers)
    for other, rate in fewer():
        if other >= count:
            break
        took = _step_s(other, min(rate, bandwidth), moved, layers)
        if took < least:
            least, best = took, (other, min(rate, bandwidth))
    return best


def _step_s(count: int, bandwidth: float, moved: float, layers: int) -> float:
    return moved / (USUAL_SHARE * bandwidth) + layers * (BARRIER_S + BARRIER_CORE_S * count)


def barriers(count: int) -> float:
    """What a layer's barriers cost with so many cores, beside those of the usual number."""
    return (BARRIER_S + BARRIER_CORE_S * count) / (BARRIER_S + BARRIER_CORE_S * USUAL_CORES)
