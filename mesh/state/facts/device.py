"""Facts about hardware: what a device is, what it costs, and that it is gone."""

from typing import Annotated

from mesh.state.facts.fact import Fact, amount, said

Network = Annotated[str, said("The host's link as a person typed it")]
HostName = Annotated[str, said("The host it sits in; devices that name one share its RAM and link")]
Disk = Annotated[int, amount("Free on the disk of the state directory", "B", reading=True)]
DiskRead = Annotated[
    int,
    amount(
        "Read from that disk, a large file not in the page cache, measured; 0 = never",
        "B/s",
        since="0.2.0",
        reading=True,
    ),
]
Ram = Annotated[int, amount("The host's RAM", "B")]
RamFree = Annotated[int, amount("The host's free RAM; 0 = unknown", "B", reading=True)]
RamBandwidth = Annotated[
    int, amount("Read from the host's RAM, measured; 0 = unknown", "B/s", reading=True)
]
System = Annotated[str, said("Operating system and its version")]
HostLabel = Annotated[str, said("What the host calls itself")]


class DeviceRegistered(Fact, frozen=True, kw_only=True):
    """Hardware as its owner knows it; the last registration of a device id counts.

    The event's device_id names it. Whoever registered an id first owns it for good. Bytes, rates
    and watts are of one accelerator; a processor's memory is the host's.
    """

    name: Annotated[str, said("What people call it; missing = its device_id")]
    kind: Annotated[str, said('"gpu", "cpu" or "apple"')]
    model: Annotated[str, said("The maker's name for it, as catalogued where it is")]
    count: Annotated[int, amount("Identical accelerators in the host; 0 counts as 1")]
    memory_bytes: Annotated[int, amount("Memory: as reported, or nominal where described", "B")]
    free_bytes: Annotated[int, said("Memory that was free", "B", reading=True)]
    free_basis: Annotated[str, said('"measured", or "estimated" from what drivers leave')]
    bandwidth_bytes_per_s: Annotated[int, amount("Memory bandwidth", "B/s", reading=True)]
    bandwidth_basis: Annotated[
        str, said('"measured", "catalogue", or "prior" = the median of desktop cards')
    ]
    flops: Annotated[int, amount("Dense 16-bit operations; 0 = unknown", "1/s")]
    watts: Annotated[int, amount("Power drawn under load; 0 = unknown", "W")]
    engines: Annotated[tuple[str, ...], said("Inference engines it can run, sorted")]
    location: Annotated[str, said('"local", "lan", "tailnet" or "cloud"')]
    transport: Annotated[str, said('How jobs reach it: "agent", "ssh" or "api"')]
    provider: Annotated[str, said('"local", or the transport of one described by hand')]
    cores: Annotated[int, amount("Physical cores of the host; 0 = unknown")]
    network_bps: Annotated[int, amount("The host's link, nominal; 0 = unknown", "bit/s")]
    price_nusd: Annotated[int, amount("Purchase price; 0 = not stated", "nano-USD")]
    lifetime_months: Annotated[int, amount("Written off over so long; 0 counts as 60", "months")]
    tariff_nusd_per_kwh: Annotated[int, amount("Price of electricity", "nano-USD/kWh")]
    described_by: Annotated[str, said('"probe", or "hand": nobody can start a job there yet')]
    flops_basis: Annotated[str, said('"measured" or "estimated"; missing = catalogue')] = ""
    network: Network = ""
    host: HostName = ""
    disk_free_bytes: Disk = 0
    ram_bytes: Ram = 0
    ram_free_bytes: RamFree = 0
    ram_bandwidth_bytes_per_s: RamBandwidth = 0
    os: System = ""
    hostname: HostLabel = ""
    resale_nusd: Annotated[int, amount("Resale value after its lifetime", "nano-USD")] = 0
    disk_read_bytes_per_s: DiskRead = 0
    hourly_nusd: Annotated[int, amount("Rent; above 0 it is rented, not owned", "nano-USD/h")] = 0
    free_low_bytes: Annotated[
        int,
        amount(
            "Where `free_bytes` is the upper end of a rule's range, its lower; 0 = none",
            "B",
            since="0.2.0",
            reading=True,
        ),
    ] = 0


class ProbedDevice(DeviceRegistered, frozen=True, kw_only=True):
    """As a peer finds its own hardware, at its start and at `fleet calibrate`."""

    disk_free_bytes: Disk
    ram_bytes: Ram
    ram_free_bytes: RamFree
    ram_bandwidth_bytes_per_s: RamBandwidth
    os: System
    hostname: HostLabel


class DescribedDevice(DeviceRegistered, frozen=True, kw_only=True):
    """As a person describes it: `fleet devices add`."""

    network: Network
    host: HostName


class DeviceRemoved(Fact, frozen=True, kw_only=True):
    """The device is gone; its owner or an admin may say so. Its bills stay."""

    reason: Annotated[str, said("Why, for people")]
