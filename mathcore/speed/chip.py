"""A device as the speed model sees it: its class and its nominal rates."""

from dataclasses import dataclass
from typing import final

from mathcore.device import DeviceSpec
from mathcore.hardware.facts import GpuFacts, family_of
from mathcore.hardware.makers import NVIDIA, vendor_of
from mathcore.hardware.names import lookup_cpu, lookup_gpu
from mathcore.speed.processors import USUAL, USUAL_CORES, cores_of

# HBM begins where no GDDR card reaches; the fastest GDDR7 card has 1,792 GB/s.
HBM_BYTES_PER_S = 1_850_000_000_000
# Dense fp16 over bandwidth of an accelerator of unknown flops: the cards listed have 40..160.
GPU_FLOPS_PER_BYTE = 60
# Cores of the last ten years do about 8 fp32 operations per byte they can load.
CPU_FLOPS_PER_BYTE = 8
# PCIe 4.0 x16, one direction: what cards without a link of their own share.
PCIE_BYTES_PER_S = 25_000_000_000
# Dual-channel DDR4-3200 of a host nobody measured, as programs reach it.
RAM_BYTES_PER_S = 40_000_000_000

# Processors' own graphics: ordinary DDR shared with the cores, no cache of its own.
_IGPU_BYTES_PER_S = 200_000_000_000


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Chip:
    """Rates per accelerator and second. `known` = a row of the catalogue states them."""

    device_class: str
    arch: str
    bandwidth: float
    flops: float  # dense fp16
    matmul: float = 0.0  # what local engines multiply at: fp16 accumulation where it is faster
    fp8_flops: float = 0.0
    fp4_flops: float = 0.0
    link: float = PCIE_BYTES_PER_S
    memory_bytes: int = 0
    known: bool = False
    name: str = ""  # the catalogue's
    cores: int = USUAL_CORES  # of a processor: how many wait for each other
    unpacked: float = 0.0  # weights per second an old processor unpacks; 0 = memory is slower
    nominal: float = 0.0  # what the catalogue says of the bandwidth; 0 = it has no such row

    @property
    def vendor(self) -> str:
        """Whose compilers and kernels: what an architecture nobody measured is likest to."""
        return vendor_of(self.arch)


def class_of_facts(facts: GpuFacts) -> str:
    """The class whose constants a catalogue row takes."""
    kind, arch = facts.memory_kind, facts.arch
    if kind == "ddr":
        return "cpu"
    if kind == "gddr":
        if arch in NVIDIA:
            return "gddr"
        return "radeon" if arch.startswith("rdna") or arch == "polaris" else "arc"
    if kind == "hbm":
        if arch in NVIDIA:
            return "hbm"
        return "instinct" if arch.startswith("cdna") or arch.startswith("gcn") else "accelerator"
    if kind == "unified" and facts.bandwidth_bytes_per_s < _IGPU_BYTES_PER_S:
        return "unified" if arch in NVIDIA else "igpu"
    return kind


def matmul_of(facts: GpuFacts) -> float:
    """What local engines multiply at, where it is not the dense fp16 rate.

    GeForce and workstation cards alike accumulate fp16 in fp16 at four times the shader rate. The
    rates of RDNA 3 count two instructions issued at once, which compilers seldom find.
    """
    if facts.arch in ("rdna3", "rdna3.5") and facts.shader_flops > 0:
        return float(facts.shader_flops)
    if class_of_facts(facts) == "gddr" and facts.flops > 1.5 * facts.shader_flops > 0:
        rate = 4.0 * facts.shader_flops
        return rate * power_share(facts.arch, facts.watts, rate)
    return float(facts.flops)


# Watts per fp16 TFLOP/s of desktop cards at their limit (RTX 3090, 4090, 5090, 2080 Ti): with all
# cores busy the limit sets the clock, so a card of 300 W with as many cores does less.
_WATTS: dict[str, float] = {"turing": 4.6, "ampere": 2.45, "ada": 1.36, "blackwell": 1.37}
POWER_EXPONENT = 0.9


def power_share(arch: str, watts: int, rate: float) -> float:
    """What a card's power limit leaves of its nominal rate, 1 for a desktop card."""
    usual = _WATTS.get(arch, 0.0)
    if usual <= 0.0 or watts <= 0:
        return 1.0
    return float(min(1.15, 1e12 * watts / rate / usual) ** POWER_EXPONENT)


# GDDR has no bits for error correction: with it on, as servers' cards come, part of the memory and
# of every transfer goes to it (A40, the same chip as RTX A6000: 1/16 of the memory, 1/10 measured).
_CHECKED: frozenset[str] = frozenset(("A2", "A10", "A16", "A40", "L4", "L20", "L40", "L40S", "T4"))
CHECKED_SHARE = 0.9


def data_share(facts: GpuFacts | None) -> float:
    """Share of the nominal bandwidth that can carry data."""
    return CHECKED_SHARE if facts is not None and facts.name in _CHECKED else 1.0


def chip_of_facts(facts: GpuFacts) -> Chip:
    """The chip of a catalogue row."""
    device_class = class_of_facts(facts)
    bandwidth = data_share(facts) * facts.bandwidth_bytes_per_s
    ratio = CPU_FLOPS_PER_BYTE if device_class == "cpu" else GPU_FLOPS_PER_BYTE
    cores = cores_of(facts.name) if device_class == "cpu" else USUAL
    return Chip(
        device_class=device_class,
        arch=facts.arch,
        bandwidth=bandwidth * cores.share,
        flops=float(facts.flops) if facts.flops > 0 else bandwidth * ratio,
        matmul=matmul_of(facts),
        fp8_flops=float(facts.fp8_flops),
        fp4_flops=float(facts.fp4_flops),
        link=float(facts.link_bytes_per_s) or PCIE_BYTES_PER_S,
        memory_bytes=facts.memory_bytes,
        known=True,
        name=facts.name,
        cores=cores.count,
        unpacked=cores.unpacked,
        nominal=bandwidth * cores.share,
    )


def _class_of(device: DeviceSpec) -> str:
    if device.kind in ("cpu", "apple"):
        return device.kind
    return "hbm" if device.bandwidth_bytes_per_s >= HBM_BYTES_PER_S else "gddr"


def chip_of(device: DeviceSpec) -> Chip:
    """The chip of a device: its measured bandwidth and flops before the catalogue's."""
    facts = lookup_cpu(device.model) if device.kind == "cpu" else lookup_gpu(device.model)
    device_class = class_of_facts(facts) if facts is not None else _class_of(device)
    share = 1.0 if device.bandwidth_basis == "measured" else data_share(facts)
    bandwidth = share * device.bandwidth_bytes_per_s
    ratio = CPU_FLOPS_PER_BYTE if device_class == "cpu" else GPU_FLOPS_PER_BYTE
    flops = float(device.flops)
    if flops <= 0.0 and facts is not None:
        flops = float(facts.flops)
    cores = cores_of(facts.name) if facts is not None and device_class == "cpu" else USUAL
    return Chip(
        device_class=device_class,
        arch=facts.arch if facts is not None else "",
        bandwidth=bandwidth,
        flops=flops if flops > 0.0 else bandwidth * ratio,
        matmul=matmul_of(facts) if facts is not None else 0.0,
        fp8_flops=float(facts.fp8_flops) if facts is not None else 0.0,
        fp4_flops=float(facts.fp4_flops) if facts is not None else 0.0,
        link=(float(facts.link_bytes_per_s) if facts is not None else 0.0) or PCIE_BYTES_PER_S,
        memory_bytes=device.memory_bytes,
        known=facts is not None,
        name=facts.name if facts is not None else "",
        cores=cores.count,
        unpacked=cores.unpacked,
        nominal=max(bandwidth, float(facts.bandwidth_bytes_per_s)) if facts is not None else 0.0,
    )


def guessed_chip(text: str) -> Chip | None:
    """A chip of the class a name's words hint at; None where they hint at nothing."""
    family = family_of(text)
    if family is None:
        return None
    bandwidth, flops = float(family.bandwidth_bytes_per_s), float(family.flops)
    return Chip(device_class=family.device_class, arch="", bandwidth=bandwidth, flops=flops)
