"""This machine's own devices: what the probes found, as registrations and as live readings."""

from pathlib import Path

from mathcore.device import DeviceSpec
from mathcore.hardware import lookup_gpu
from mesh.config import Config
from mesh.hardware_requests import PRIOR_BANDWIDTH, usable_bytes
from mesh.state.fleet import spec
from mesh.state.fold import State
from mesh.views import with_free
from providers.probe import Machine, probe_machine

# What changes from one start to the next without the device having changed.
READINGS = frozenset({"free_bytes", "ram_free_bytes", "ram_bandwidth_bytes_per_s",
                      "bandwidth_bytes_per_s", "disk_free_bytes"})  # fmt: skip
# llama.cpp's wheel from the package index computes on the CPU (Metal on a Mac); a card needs a
# CUDA or ROCm build, found as an executable.
CPU_ENGINES = ("llama.cpp",)


class LocalDevices:
    """The devices this peer owns, named after the machine and this peer's id."""

    def __init__(self, config: Config, peer_id: str, home: Path) -> None:
        self._config = config
        self._home = home
        self._prefix = f"dev-{peer_id.replace('-', '').lower()[:8]}"

    @property
    def primary_id(self) -> str:
        """The CPU: the device every machine has."""
        return f"{self._prefix}-cpu"

    def registrations(
        self, state: State, every: bool = False
    ) -> list[tuple[str, dict[str, object]]]:
        """(device_id, payload) of each device that is new or is not what the ledger says.

        `every`: of all of them, so that fresh readings of unchanged devices go in, too.
        """
        machine = probe_machine(disk=self._home)
        found = [(self.primary_id, self._cpu(machine))]
        found += [(f"{self._prefix}-gpu{i}", self._gpu(machine, i))
                  for i in range(len(machine.gpus))]  # fmt: skip
        return [(key, fact) for key, fact in found if every or _differs(state, key, fact)]

    def live(self, state: State) -> list[DeviceSpec]:
        """This machine's devices with the free memory of this moment."""
        machine = probe_machine(measure=False)
        free = {self.primary_id: machine.host.ram_free_bytes}
        for i, gpu in enumerate(machine.gpus):
            free[f"{self._prefix}-gpu{i}"] = gpu.free_bytes
        return [
            with_free(spec(view), free[key], machine.host.ram_free_bytes)
            for key, view in list(state.devices.items())
            if key in free
        ]

    def _common(self, machine: Machine) -> dict[str, object]:
        config = self._config
        return {
            "count": 1,
            "free_basis": "measured",
            "location": "local",
            "transport": "agent",
            "provider": "local",
            "cores": machine.host.cores,
            "disk_free_bytes": machine.host.disk_free_bytes,
            "network_bps": max((nic.bits_per_s for nic in machine.host.nics), default=0),
            "ram_bytes": machine.host.ram_bytes,
            "ram_free_bytes": machine.host.ram_free_bytes,
            "ram_bandwidth_bytes_per_s": machine.host.ram_bandwidth_bytes_per_s,
            "tariff_nusd_per_kwh": config.tariff_nusd_per_kwh,
            "price_nusd": config.host_price_nusd,
            "lifetime_months": config.host_lifetime_months,
            "described_by": "probe",
            "os": machine.host.os,
            "hostname": machine.host.hostname,
        }

    def _cpu(self, machine: Machine) -> dict[str, object]:
        found = {one.engine for one in machine.engines if one.runs}
        return self._common(machine) | {
            "name": self._config.name,
            "kind": "cpu",
            "model": machine.host.cpu_model,
            "memory_bytes": machine.host.ram_bytes,
            "free_bytes": machine.host.ram_free_bytes,
            "bandwidth_bytes_per_s": machine.host.ram_bandwidth_bytes_per_s,
            "bandwidth_basis": "measured",
            "flops": machine.host.flops,
            "watts": self._config.host_watts,
            "engines": sorted(found.intersection(CPU_ENGINES)),
        }

    def _gpu(self, machine: Machine, index: int) -> dict[str, object]:
        gpu = machine.gpus[index]
        known = lookup_gpu(gpu.name)
        return self._common(machine) | {
            "name": f"{self._config.name}-gpu{index}",
            "kind": "gpu",
            "model": known.name if known else gpu.name,
            "memory_bytes": gpu.memory_bytes or usable_bytes(0, known),
            "free_bytes": gpu.free_bytes,
            "bandwidth_bytes_per_s": known.bandwidth_bytes_per_s if known else PRIOR_BANDWIDTH,
            "bandwidth_basis": "catalogue" if known else "prior",
            "flops": known.flops if known else 0,
            "watts": gpu.watts_limit or (known.watts if known else 0),
            "engines": sorted({one.engine for one in machine.engines if not one.runs}),
        }


def _differs(state: State, device_id: str, fact: dict[str, object]) -> bool:
    view = state.devices.get(device_id)
    if view is None:
        return True
    old = {k: v for k, v in view.payload.items() if k not in READINGS}
    return old != {k: v for k, v in fact.items() if k not in READINGS}
