"""The whole machine in one value."""

import platform
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import final

import psutil

from providers.probe import host
from providers.probe.amd import probe_amd
from providers.probe.engines import FoundEngine, probe_engines
from providers.probe.gpu import Gpu
from providers.probe.nvidia import probe_nvidia


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """A host, its accelerators and its engines; `notes` say why something wasn't seen.

    `ram_bandwidth_bytes_per_s` 0: not measured. `cpu_flops` is always estimated.
    """

    hostname: str
    os: str
    arch: str
    cpu_model: str
    cpu_flops: int
    physical_cores: int
    logical_cores: int
    ram_bytes: int
    ram_free_bytes: int
    ram_bandwidth_bytes_per_s: int
    disk_free_bytes: int
    nics: tuple[host.Nic, ...]
    gpus: tuple[Gpu, ...]
    engines: tuple[FoundEngine, ...]
    notes: tuple[str, ...]


def probe_machine(disk: Path | None = None, *, measure: bool = True) -> Machine:
    """Look at everything; `disk` is a folder on the disk to ask about (default: home).

    Blocking: about 0.3 s with `measure`, the memory bandwidth, so call it off the event loop.
    """
    nvidia, amd = probe_nvidia(), probe_amd()
    memory, cores = psutil.virtual_memory(), host.physical_cores()
    return Machine(
        hostname=socket.gethostname(),
        os=f"{platform.system()} {platform.release()}",
        arch=platform.machine(),
        cpu_model=host.cpu_model(),
        cpu_flops=host.estimate_flops(cores, host.clock_hz(), host.cpu_flags()),
        physical_cores=cores,
        logical_cores=psutil.cpu_count() or cores,
        ram_bytes=memory.total,
        ram_free_bytes=memory.available,
        ram_bandwidth_bytes_per_s=host.measure_ram_bandwidth() if measure else 0,
        disk_free_bytes=psutil.disk_usage(str(disk or Path.home())).free,
        nics=host.nics(),
        gpus=nvidia.found + amd.found,
        engines=probe_engines(),
        notes=tuple(reason for reason in (nvidia.reason, amd.reason) if reason),
    )
