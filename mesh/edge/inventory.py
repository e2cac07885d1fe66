"""This machine's own devices: what the probes found, as registrations and as live readings."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from mathcore.device import DeviceSpec
from mathcore.hardware.described import PRIOR_BANDWIDTH, describe, usable_bytes
from mesh.config import Config
from mesh.edge.planning import with_free
from mesh.state.facts.device import ProbedDevice
from mesh.state.facts.fact import encode, readings
from mesh.state.fleet import DeviceView, spec
from mesh.state.peer_id import peer_id
from mesh.state.state import State
from providers.probe import Machine, probe_machine
from providers.probe.compute import Compute, measure_compute
from providers.probe.disk import measure_disk_read
from providers.probe.engines import FoundEngine
from providers.probe.gpu import Gpu
from providers.telemetry.health import MISMATCH, UNRESPONSIVE, Health
from providers.telemetry.machine import Device, Sample

# What changes from one start to the next without the device having changed.
READINGS = readings(ProbedDevice)
# llama.cpp's wheel from the package index computes on the CPU (Metal on a Mac); a card needs a
# CUDA or ROCm build, found as an executable.
CPU_ENGINES = ("llama.cpp",)


# Characters of the peer's id in a device's: enough that nobody makes another key with the same.
ID_CHARACTERS = 10
# Until version 0.2 there were 8; a machine that was registered so keeps its name in old bills.
OLD_ID_CHARACTERS = 8

Rate = tuple[int, str]  # operations per second, and how that is known


class LocalDevices:
    """The devices this peer owns, named after the machine and this peer's id."""

    def __init__(self, config: Config, peer_id: str, home: Path) -> None:
        self._config = config
        self._home = home
        self.measured: Compute | None = None  # the last measurement of this process
        self._peer_id = peer_id
        self._prefix = self._named(ID_CHARACTERS)

    @property
    def primary_id(self) -> str:
        """The CPU: the device every machine has."""
        return f"{self._prefix}-cpu"

    def _named(self, characters: int) -> str:
        return f"dev-{self._peer_id.replace('-', '').lower()[:characters]}"

    def _settle(self, state: State) -> None:
        """Go by the shorter name where the ledger has devices of this very peer under it."""
        old = self._named(OLD_ID_CHARACTERS)
        ours = (view for key, view in list(state.devices.items()) if key.startswith(f"{old}-"))
        if any(peer_id(view.owner) == self._peer_id for view in ours):
            self._prefix = old

    def registrations(
        self, state: State, *, every: bool = False
    ) -> list[tuple[str, dict[str, object]]]:
        """(device_id, payload) of each device that is new or is not what the ledger says.

        `every`: of all of them, with compute and disk measured, so that fresh readings of
        unchanged devices go in, too. What was measured once stands until it is measured again.
        """
        self._settle(state)
        machine = probe_machine(disk=self._home)
        disk = self._disk_rate(state, every=every)
        compute = self._measure() if every else self._known_compute(state, machine)
        found = [(self.primary_id, encode(self._cpu(machine, compute, disk)))]
        found += [
            (f"{self._prefix}-gpu{i}", encode(self._gpu(machine, i, disk)))
            for i in range(len(machine.gpus))
        ]
        return [(key, fact) for key, fact in found if every or _differs(state, key, fact)]

    def _measure(self) -> Rate:
        """The processor's rate, measured now."""
        self.measured = measure_compute()
        return self.measured.flops, "measured"

    def _known_compute(self, state: State, machine: Machine) -> Rate:
        """The processor's rate: as the ledger has it, where that was measured on this very one."""
        view = state.devices.get(self.primary_id)
        if view is not None and view.model == machine.host.cpu_model:
            known = view.facts
            if known.flops_basis == "measured":
                return known.flops, known.flops_basis
        return machine.host.flops, "estimated"

    def _disk_rate(self, state: State, *, every: bool) -> int:
        """What reading under our home was measured at: once, and again when asked; 0 = never."""
        view = state.devices.get(self.primary_id)
        if view is None or every:
            return measure_disk_read(self._home)
        return view.facts.disk_read_bytes_per_s

    def device_id(self, index: int | None) -> str:
        """The id of a card by its number on this machine; of the processor for None."""
        return self.primary_id if index is None else f"{self._prefix}-gpu{index}"

    def own(self, state: State) -> list[DeviceView]:
        """This machine's registered devices, the processor first."""
        self._settle(state)
        views = [v for k, v in list(state.devices.items()) if k.startswith(f"{self._prefix}-")]
        ours = [v for v in views if v.device_id == self.primary_id or self.is_own_card(v.device_id)]
        return sorted(ours, key=lambda v: ("-gpu" in v.device_id, len(v.device_id), v.device_id))

    def is_own_card(self, device_id: str) -> bool:
        """Whether an id names a card of this machine, there or not."""
        return device_id.removeprefix(f"{self._prefix}-gpu").isdigit()

    def unseen(self, sample: Sample) -> Health:
        """How a card is that is registered and gave no reading since this program began."""
        if sample.waits and not sample.faults:
            return Health()
        grave = [one for one in sample.faults if one.kind in (MISMATCH, UNRESPONSIVE)]
        if grave:
            return Health(state=cast(Any, grave[0].kind), text=grave[0].text)
        return Health(state="lost", text="it was registered here and is not found any more")

    def live(self, state: State, sample: Sample) -> list[DeviceSpec]:
        """This machine's devices with the memory that was free in a sample.

        A device that can take no work says why; one whose memory is unknown keeps what the ledger
        says of it.
        """
        seen = {self.device_id(one.index): one for one in sample.devices}
        cpu = seen.get(self.primary_id)
        ram = cpu.reading.free_bytes or 0 if cpu is not None and cpu.reading is not None else 0
        return [self._live(view, seen.get(view.device_id), sample, ram) for view in self.own(state)]

    def _live(self, view: DeviceView, seen: Device | None, sample: Sample, ram: int) -> DeviceSpec:
        device = spec(view)
        health = self.unseen(sample) if seen is None else seen.health
        if health.refused_by:
            return replace(device, withheld=(health.refused_by, f"{health.state}: {health.text}"))
        reading = None if seen is None else seen.reading
        if reading is None or reading.free_bytes is None:
            return device
        return with_free(device, reading.free_bytes, 0 if reading.shares_ram else ram)

    def _cpu(self, machine: Machine, compute: Rate, disk: int) -> ProbedDevice:
        found = {one.engine for one in machine.engines if one.runs}
        return self._probed(
            machine,
            disk=disk,
            name=self._config.name,
            kind="cpu",
            model=machine.host.cpu_model,
            memory_bytes=machine.host.ram_bytes,
            free_bytes=machine.host.ram_free_bytes,
            bandwidth=(machine.host.ram_bandwidth_bytes_per_s, "measured"),
            compute=compute,
            watts=self._config.host_watts,
            engines=found.intersection(CPU_ENGINES),
        )

    def _gpu(self, machine: Machine, index: int, disk: int) -> ProbedDevice:
        gpu = machine.gpus[index]
        what = describe(gpu.name)  # a part of a card (MIG) has its part of the rates
        known = what.facts if what.kind != "cpu" else None
        catalogued = (what.bandwidth_bytes_per_s, "catalogue") if known else None
        return self._probed(
            machine,
            disk=disk,
            name=f"{self._config.name}-gpu{index}",
            kind="apple" if gpu.vendor == "apple" else "gpu",
            model=known.name if known else gpu.name,
            memory_bytes=gpu.memory_bytes or usable_bytes(0, known),
            free_bytes=gpu.free_bytes,
            bandwidth=catalogued or (PRIOR_BANDWIDTH, "prior"),
            compute=(what.flops if known else 0, ""),
            watts=gpu.watts_limit or (known.watts if known else 0),
            # llama.cpp's wheel computes on a Mac's GPU, on no other.
            engines={one.engine for one in machine.engines if not one.runs or _is_metal(gpu, one)},
            shares_ram=gpu.unified,
        )

    def _probed(
        self,
        machine: Machine,
        *,
        disk: int,
        name: str,
        kind: str,
        model: str,
        memory_bytes: int,
        free_bytes: int,
        bandwidth: tuple[int, str],
        compute: Rate,
        watts: int,
        engines: Iterable[str],
        shares_ram: bool = False,
    ) -> ProbedDevice:
        """One device's facts with those of its host; `bandwidth` and `compute` with their basis."""
        host, config = machine.host, self._config
        return ProbedDevice(
            name=name,
            kind=kind,
            model=model,
            count=1,
            memory_bytes=memory_bytes,
            free_bytes=free_bytes,
            free_basis="measured",
            bandwidth_bytes_per_s=bandwidth[0],
            bandwidth_basis=bandwidth[1],
            flops=compute[0],
            flops_basis=compute[1],
            watts=watts,
            engines=tuple(sorted(engines)),
            location="local",
            transport="agent",
            provider="local",
            cores=host.cores,
            disk_free_bytes=host.disk_free_bytes,
            disk_read_bytes_per_s=disk,
            network_bps=max((nic.bits_per_s for nic in host.nics), default=0),
            ram_bytes=0 if shares_ram else host.ram_bytes,  # there is none beside its memory
            ram_free_bytes=0 if shares_ram else host.ram_free_bytes,
            ram_bandwidth_bytes_per_s=host.ram_bandwidth_bytes_per_s,
            tariff_nusd_per_kwh=config.tariff_nusd_per_kwh,
            price_nusd=config.host_price_nusd,
            lifetime_months=config.host_lifetime_months,
            described_by="probe",
            os=host.os,
            hostname=host.hostname,
        )


def _is_metal(gpu: Gpu, engine: FoundEngine) -> bool:
    return gpu.vendor == "apple" and engine.engine in CPU_ENGINES


def _differs(state: State, device_id: str, fact: dict[str, object]) -> bool:
    view = state.devices.get(device_id)
    if view is None:
        return True
    old = {k: v for k, v in view.payload.items() if k not in READINGS}
    return old != {k: v for k, v in fact.items() if k not in READINGS}
