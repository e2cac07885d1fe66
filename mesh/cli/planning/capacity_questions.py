"""One question of `fleet capacity`, put to every device with the engine it names or has."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from mesh.cli.exits import USAGE, stop
from mesh.cli.planning import capacity_served

if TYPE_CHECKING:
    from mathcore.device import DeviceSpec
    from mathcore.model.spec import ModelSpec
    from mathcore.planner.capacity import Capacity
    from mathcore.planner.served.capacity import ServedCapacity

# Engines whose layers may lie in RAM, then those that take a share of each card.
OWN: Final = ("llama.cpp", "mlx", "ollama")
SERVERS: Final = ("vllm", "sglang", "tgi")
HELP: Final = "fleet capacity --help"


class Question:
    """What is asked of every device."""

    def __init__(
        self,
        spec: "ModelSpec",
        batch: int,
        context: int,
        kv_type: str,
        quant: str,
        engine: str,
        options: Mapping[str, Any],
    ) -> None:
        if engine and engine not in (*OWN, *SERVERS):
            stop(USAGE, f"engine: {engine!r} is none", f"one of {', '.join((*OWN, *SERVERS))}")
        self.spec = spec
        self.batch = batch
        self.context = context
        self.kv_type = kv_type
        self.quant = quant
        self.engine = engine
        self.options = options
        self.engines = (engine,) if engine else (*OWN, *SERVERS)

    def engine_on(self, device: "DeviceSpec") -> str:
        """The engine named, else the first the device runs."""
        return self.engine or next((name for name in self.engines if name in device.engines), "")

    def answers(
        self, devices: "Sequence[DeviceSpec]"
    ) -> "tuple[list[Capacity], list[ServedCapacity]]":
        """(of engines of one's own, of servers), in the order of the devices."""
        own: list[Capacity] = []
        served: list[ServedCapacity] = []
        for device in devices:
            engine = self.engine_on(device)
            if engine in SERVERS:
                served.append(self._served(device, engine))
            else:
                own.append(self._own(device, engine))
        return own, served

    def _served(self, device: "DeviceSpec", engine: str) -> "ServedCapacity":
        return capacity_served.answer(
            self.spec,
            device,
            engine,
            self.options,
            self.batch,
            self.context,
            self.kv_type,
            self.quant,
        )

    def _own(self, device: "DeviceSpec", engine: str) -> "Capacity":
        from mathcore.engines.footprint import ContextShape
        from mathcore.engines.llamacpp.cache import cache_refusal
        from mathcore.model.spec import SpecError
        from mathcore.planner.capacity import capacity

        fault = "" if engine == "mlx" else cache_refusal(self.spec, self.kv_type)
        if fault:
            stop(USAGE, f"kv_type: {fault}", HELP)
        shape = ContextShape(context=self.context, sequences=self.batch, kv_type=self.kv_type)
        try:
            return capacity(self.spec, device, shape, self.quant, engine)
        except SpecError as error:
            stop(USAGE, f"{error.field}: {error.text}", HELP)

    def smallest(self) -> str | None:
        """The name of the smallest common hardware that holds what is asked, or None."""
        from mathcore.planner.ways_out import HARDWARE
        from mesh.edge.planning import what_ifs

        for name in HARDWARE:
            (device,) = what_ifs([name]).values()
            engine = self.engine_on(device)
            if engine not in device.engines:
                continue
            if engine in SERVERS:
                found = self._served(device, engine)
                holds = found.sequences >= self.batch and found.best_quant != ""
            else:
                holds = self._own(device, engine).sequences >= self.batch
            if holds:
                return name
        return None
