"""A device as the planner sees it: memory, speed, engines, what it costs."""

from dataclasses import dataclass
from typing import Literal, final

from mathcore.price import Rate

DeviceKind = Literal["gpu", "cpu", "apple"]


# Values a device is looked up by, made once for each of thousands of offers: plain tuples, which
# mypyc builds in C; a NamedTuple is a class of the interpreter's.
Pace = tuple[object, ...]  # what decides how fast one accelerator of a device runs a layout
# What a device is, whoever owns it: devices of equal hardware and equally free memory have the same
# layouts and speeds. The memory free now, names, places and prices are no part of it.
Hardware = tuple[object, ...]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceSpec:
    """`count` identical accelerators of one host (or its CPU); bytes are per accelerator."""

    device_id: str
    name: str
    kind: DeviceKind
    model: str
    count: int
    memory_bytes: int
    free_bytes: int
    free_basis: str  # "measured" | "estimated"
    bandwidth_bytes_per_s: int
    bandwidth_basis: str  # "measured" | "catalogue" | "prior"
    flops: int  # dense fp16/bf16 FLOP/s, 0 = unknown
    watts: int
    engines: tuple[str, ...]
    location: str
    provider: str
    ram_free_bytes: int
    ram_bandwidth_bytes_per_s: int
    rate: Rate
    host: str = ""  # devices of one host share its RAM and its links; "" = a host of its own
    network_bps: int = 0  # the host's link to others, nominal bits; 0 = unknown
    disk_read_bytes_per_s: int = 0  # measured, a large file not in the page cache; 0 = never
    wait_ms: int = 0  # until the job that holds it is expected to end
    free_low_bytes: int = 0  # where `free_bytes` is the best end of a rule's range: the worst; or 0
    withheld: tuple[str, str] | None = None  # (reason code, why) while it takes no work at all

    @property
    def sure_bytes(self) -> int:
        """What of the free memory is there whatever the settings nobody stated are."""
        low = self.free_low_bytes
        return low if 0 < low < self.free_bytes else self.free_bytes

    @property
    def hardware(self) -> Hardware:
        """Its pace, how many accelerators, the memory of each, and its engines."""
        return (self.pace, self.count, self.memory_bytes, self.engines)

    @property
    def pace(self) -> Pace:
        """Its kind and model, and its rates with what they rest on."""
        return (
            self.kind,
            self.model,
            self.bandwidth_bytes_per_s,
            self.bandwidth_basis,
            self.flops,
            self.ram_bandwidth_bytes_per_s,
            self.disk_read_bytes_per_s,
        )
