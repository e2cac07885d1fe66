"""What the machine itself is: processor, memory, disk, network. Measured where it is cheap."""

import ctypes
import platform
import re
import socket
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import final

import psutil

from providers.cores import physical_cores

# Each thread copies between two buffers of this size: four of them are past any desktop's
# last-level cache, and small enough for a 2 GiB machine.
BUFFER_BYTES = 64 * 1024 * 1024
# More threads than this add nothing on the machines seen, and each costs two buffers.
MAX_THREADS = 8
MEASURE_S = 0.15  # the copying itself; touching the buffers first takes about as long again
# Operations a core starts per cycle with each vector unit: f32 lanes * 2 units * 2 (a fused
# multiply-add is two). Halves are widened to f32 before use, so 16 bits are no faster.
SIMD_FLOPS_PER_CYCLE = (
    ("avx512f", 64),
    ("avx2", 32),
    ("avx", 16),
    ("asimd", 16),
    ("sse2", 8),
)
FALLBACK_FLOPS_PER_CYCLE = 8
FALLBACK_CLOCK_HZ = 2_000_000_000  # a machine that hides its clock, as many virtual ones do


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Nic:
    """A network interface that is up; `bits_per_s` 0: it doesn't say."""

    name: str
    bits_per_s: int


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """The machine. `ram_bandwidth_bytes_per_s` 0: not measured. `flops` is always estimated."""

    hostname: str
    os: str
    arch: str
    cpu_model: str
    cores: int
    threads: int
    ram_bytes: int
    ram_free_bytes: int
    disk_free_bytes: int
    ram_bandwidth_bytes_per_s: int
    flops: int
    nics: tuple[Nic, ...]


def probe_host(*, measure: bool = True, disk: Path | None = None) -> Host:
    """Look around; `measure` adds about 0.3 s for the memory bandwidth."""
    memory = psutil.virtual_memory()
    cores = physical_cores()
    return Host(
        hostname=socket.gethostname(),
        os=f"{platform.system()} {platform.release()}",
        arch=platform.machine(),
        cpu_model=cpu_model(),
        cores=cores,
        threads=psutil.cpu_count() or 1,
        ram_bytes=memory.total,
        ram_free_bytes=memory.available,
        disk_free_bytes=psutil.disk_usage(str(disk or Path.home())).free,
        ram_bandwidth_bytes_per_s=measure_ram_bandwidth() if measure else 0,
        flops=estimate_flops(cores, clock_hz(), cpu_flags()),
        nics=nics(),
    )


def cpuinfo() -> str:
    """/proc/cpuinfo, or nothing outside Linux."""
    path = Path("/proc/cpuinfo")
    return path.read_text(errors="replace") if path.exists() else ""


def cpu_model(info: str | None = None) -> str:
    """What the maker calls it; the architecture where nobody says."""
    found = re.search(r"^model name\s*:\s*(.+)$", cpuinfo() if info is None else info, re.M)
    name = found.group(1) if found else platform.processor()
    return " ".join(name.split()) or platform.machine()


def cpu_flags(info: str | None = None) -> frozenset[str]:
    """The instruction sets Linux lists ("flags" on x86, "Features" on ARM)."""
    text = cpuinfo() if info is None else info
    found = re.search(r"^(?:flags|Features)\s*:\s*(.+)$", text, re.M)
    if found:
        return frozenset(found.group(1).split())
    return frozenset({"asimd"} if platform.machine() in {"arm64", "aarch64"} else ())


def clock_hz() -> int:
    """The highest clock the machine admits to."""
    try:
        clock = psutil.cpu_freq()
    except (OSError, NotImplementedError):
        clock = None
    mhz = (clock.max or clock.current) if clock else 0
    return int(mhz * 1_000_000) or FALLBACK_CLOCK_HZ


def estimate_flops(cores: int, hz: int, flags: frozenset[str]) -> int:
    """An upper bound nobody reaches: cores * clock * what the widest vector unit could start."""
    widths = (per_cycle for flag, per_cycle in SIMD_FLOPS_PER_CYCLE if flag in flags)
    return cores * hz * next(widths, FALLBACK_FLOPS_PER_CYCLE)


def nics() -> tuple[Nic, ...]:
    """Interfaces that are up, without loopback."""
    found = psutil.net_if_stats().items()
    up = [(name, link) for name, link in found if link.isup and "loopback" not in link.flags]
    plain = [(name, link) for name, link in up if not re.fullmatch(r"lo\d*", name)]
    return tuple(Nic(name=name, bits_per_s=link.speed * 1_000_000) for name, link in sorted(plain))


def measure_ram_bandwidth(seconds: float = MEASURE_S, size: int = BUFFER_BYTES) -> int:
    """Bytes per second between memory and cores, all cores copying at once.

    A copy of n bytes reads n and writes n, so it counts 2n; a write-allocating cache also reads
    the target first, which is not counted. Each thread's rate is over its own busy time, so the
    sum holds when they don't stop together. 0 when there is too little memory to try.
    """
    count = min(physical_cores(), MAX_THREADS)
    if psutil.virtual_memory().available < 4 * count * size:
        return 0
    rates = [0.0] * count
    gate = threading.Barrier(count)
    threads = [
        threading.Thread(target=_copy, args=(rates, i, gate, seconds, size)) for i in range(count)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return int(sum(rates))


def _copy(
    rates: list[float], place: int, gate: threading.Barrier, seconds: float, size: int
) -> None:
    source, target = ctypes.create_string_buffer(size), ctypes.create_string_buffer(size)
    # calloc'd pages all map to one zero page until written: touch both sides first.
    ctypes.memset(source, 1, size)
    ctypes.memset(target, 2, size)
    gate.wait()
    begun, copies = time.perf_counter(), 0
    while (spent := time.perf_counter() - begun) < seconds:
        ctypes.memmove(target, source, size)  # ctypes lets the GIL go while it copies
        copies += 1
    rates[place] = 2 * size * copies / spent
