"""The whole machine in one value."""

from dataclasses import dataclass
from pathlib import Path
from typing import final

from providers.probe.amd import probe_amd
from providers.probe.apple import probe_apple
from providers.probe.engines import FoundEngine, probe_engines
from providers.probe.gpu import Gpu, Gpus
from providers.probe.host import Host, probe_host
from providers.probe.nvidia import probe_nvidia
from providers.telemetry.guard import HUNG_S, Guard, Slow

# One for all probes of this process: a driver that hangs is not asked by each of them.
_NVIDIA = Guard(lambda: probe_nvidia(), "nvidia")  # noqa: PLW0108  tests put another in its place


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """A host, its accelerators and its engines; `notes` say why something wasn't seen."""

    host: Host
    gpus: tuple[Gpu, ...]
    engines: tuple[FoundEngine, ...]
    notes: tuple[str, ...]


def probe_machine(*, measure: bool = True, disk: Path | None = None) -> Machine:
    """Look at everything; blocking, about 0.4 s with `measure`, so call it off the event loop."""
    nvidia, amd, apple = _nvidia(), probe_amd(), probe_apple()
    return Machine(
        host=probe_host(measure=measure, disk=disk),
        gpus=nvidia.found + amd.found + apple.found,
        engines=probe_engines(),
        notes=tuple(reason for reason in (nvidia.reason, amd.reason, apple.reason) if reason),
    )


def _nvidia() -> Gpus:
    """NVIDIA's cards; none of them, with a reason, where their driver hangs."""
    try:
        return _NVIDIA.ask(HUNG_S)
    except Slow:
        return Gpus(found=(), reason=f"the NVIDIA driver has not answered for {HUNG_S:.0f} s")
