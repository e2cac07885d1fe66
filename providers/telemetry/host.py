"""The processor and its memory now: RAM, load, watts where the kernel lets us read them, heat."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, final

import psutil

from mathcore.units import MIB
from providers.telemetry.attempts import NOBODY, Owners
from providers.telemetry.sample import CPU, Look, Process, Reading

RAPL: Final = Path("/sys/class/powercap")
CLOCK: Final = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq")  # kHz
# Going through all processes takes some 30 us each; who holds RAM changes slowly.
PROCESSES_EVERY_S: Final = 30.0
HEAT_EVERY_S: Final = 5.0  # a dozen files; packages take seconds to warm
# Processes that are told of: those that hold this much, the largest.
MIN_BYTES: Final = 256 * MIB
MAX_PROCESSES: Final = 16
# Names of sensors that measure the package, in the order of trust.
SENSORS: Final = ("k10temp", "coretemp", "zenpower", "cpu_thermal", "acpitz")


@final
class HostCpu:
    """The processor. `rapl` is a powercap tree: since 2020 most systems show it to root alone."""

    def __init__(
        self, owners: Owners, rapl: Path = RAPL, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._owners = owners
        self._clock = clock
        self._rapl = Rapl(rapl, clock)
        self._processes: tuple[Process, ...] = ()
        self._heat: int | None = None
        self._heat_s = self._processes_s = float("-inf")
        psutil.cpu_percent(None)  # the first answer is of the time since, so of nothing

    def look(self) -> Look:
        """Its reading."""
        now_s = self._clock()
        if now_s - self._heat_s >= HEAT_EVERY_S:
            self._heat_s, self._heat = now_s, _heat()
        if now_s - self._processes_s >= PROCESSES_EVERY_S:
            self._processes_s, self._processes = now_s, self._largest()
        memory = psutil.virtual_memory()
        khz = _number(CLOCK)
        reading = Reading(
            key=CPU,
            memory_bytes=memory.total,
            free_bytes=memory.available,
            processes=self._processes,
            utilisation_percent=round(psutil.cpu_percent(None)),
            power_mw=self._rapl.power_mw(),
            temperature_c=self._heat,
            core_mhz=None if khz is None else khz // 1000,
        )
        return Look(source=CPU, found=(reading,))

    def _largest(self) -> tuple[Process, ...]:
        """Who holds most of the RAM."""
        found = [
            (one.info["memory_info"].rss, one.pid)
            for one in psutil.process_iter(["memory_info"])
            if one.info["memory_info"] and one.info["memory_info"].rss >= MIN_BYTES
        ]
        return tuple(
            self._process(pid, size) for size, pid in sorted(found)[: -MAX_PROCESSES - 1 : -1]
        )

    def _process(self, pid: int, size: int) -> Process:
        program, (job_id, attempt) = self._owners.who(pid) if pid else ("", NOBODY)
        return Process(pid=pid, program=program, memory_bytes=size, job_id=job_id, attempt=attempt)


@final
class Rapl:
    """Watts of all packages together, between two readings of their energy counters."""

    def __init__(self, root: Path, clock: Callable[[], float]) -> None:
        self._clock = clock
        packages = (p for p in root.glob("intel-rapl:*") if p.name.count(":") == 1)
        self._packages = [p for p in sorted(packages) if _number(p / "energy_uj") is not None]
        self._ranges = [_number(p / "max_energy_range_uj") for p in self._packages]
        self._last: tuple[float, list[int]] | None = None

    def power_mw(self) -> int | None:
        """Mean power since the last call; None for the first, and where it can't be read."""
        read = [_number(one / "energy_uj") for one in self._packages]
        now = [one for one in read if one is not None]
        last, at_s = self._last, self._clock()
        self._last = None if not now or len(now) < len(read) else (at_s, now)
        if last is None or self._last is None or at_s <= last[0]:
            return None
        spent = 0
        for new, old, most in zip(now, last[1], self._ranges, strict=True):
            if new < old and most is None:
                return None  # it went round, and nobody says where
            spent += new - old if new >= old else new - old + (most or 0)
        return round(spent / (at_s - last[0]) / 1000)


def _heat() -> int | None:
    """The package's temperature; None where no sensor we know has it."""
    read = getattr(psutil, "sensors_temperatures", None)  # Linux alone has it
    found = read() if read is not None else {}
    for name in SENSORS:
        if found.get(name):
            return int(round(found[name][0].current))
    return None


def _number(path: Path) -> int | None:
    try:
        text = path.read_text().strip()
    except OSError:
        return None
    return int(text) if text.isascii() and text.isdigit() else None
