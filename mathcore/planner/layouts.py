"""How a model can lie on one device: cards, cache type, layers and experts left in RAM."""

from dataclasses import replace
from typing import final

from mathcore.device import DeviceSpec
from mathcore.engines.flags import moved_names
from mathcore.engines.footprint import Footprint
from mathcore.engines.llamacpp.device.backends import BACKENDS, BackendName, backend_bytes
from mathcore.engines.llamacpp.fit import Split, cpu_experts, gpu_layers
from mathcore.engines.llamacpp.layer_sums import LayerSums
from mathcore.engines.llamacpp.offload import ALL_LAYERS, Moved, Sums, placed_footprint
from mathcore.engines.mlx import KV_BITS, mlx_footprint
from mathcore.engines.mlx_scores import BUILD, MlxShape, has_neural
from mathcore.engines.options import build_of
from mathcore.hardware.described import shares_memory
from mathcore.hardware.makers import vendor_of
from mathcore.hardware.names import lookup_gpu
from mathcore.model.spec import ModelSpec, SpecError
from mathcore.planner.answer import Layout
from mathcore.planner.query import Query
from mathcore.planner.served.starts import Served, candidates, served
from mathcore.quant.families import FAMILIES
from mathcore.quant.weights import Weights

# Cards of AMD and Intel run Vulkan, too; a plan takes what their makers' own builds come with. An
# unknown card counts as Nvidia's, as its speed does.
_BACKENDS: dict[str, BackendName] = {
    "nvidia": "cuda",
    "amd": "rocm",
    "intel": "vulkan",
    "apple": "metal",
}


def backend_of(device: DeviceSpec, built_for: str = "") -> BackendName:
    """The back end llama.cpp and Ollama would use there; `built_for` is the one a person names."""
    named = next((one for one in BACKENDS if one == built_for), None)
    if named is not None:
        return named
    if device.kind != "gpu":
        return "metal" if device.kind == "apple" else "cpu"
    fact = lookup_gpu(device.model)
    return _BACKENDS.get("" if fact is None else vendor_of(fact.arch), "cuda")


@final
class DeviceFit:
    """One device, and the model at a quantisation and cache type to lay out on it."""

    __slots__ = ("column", "device", "engine", "kv_type", "quant", "query", "spec", "weights")

    def __init__(
        self,
        query: Query,
        device: DeviceSpec,
        engine: str,
        quant: str,
        kv_type: str,
        weights: Weights,
        column: LayerSums | None = None,
    ) -> None:
        self.column = column  # of engines that read GGUF
        self.query = query
        self.spec: ModelSpec = query.model
        self.device = device
        self.engine = engine
        self.quant = quant
        self.kv_type = kv_type
        self.weights = weights

    def layout(
        self,
        cards: int,
        need: Footprint,
        free_bytes: int,
        on_gpu: int = ALL_LAYERS,
        off_experts: int = 0,
    ) -> Layout:
        device = self.device
        counted = device.kind == "gpu" and device.ram_free_bytes > 0
        return Layout(
            engine=self.engine,
            quant=self.quant,
            kv_type=self.kv_type,
            cards=cards,
            gpu_layers=on_gpu,
            cpu_experts=off_experts,
            footprint=need,
            spare_bytes=free_bytes - need.card_bytes,
            host_spare_bytes=device.ram_free_bytes - need.host_bytes if counted else 0,
            build=build_of(self.engine, self.query.options),
        )

    def layouts(self) -> list[Layout]:
        """Those worth timing; at least one, unless the engine cannot serve the model at all."""
        family = FAMILIES[self.engine]
        if family == "gguf":
            return self._llamacpp()
        if family == "mlx":
            return self._mlx()
        return self._served()

    def _llamacpp(self) -> list[Layout]:
        """On as few cards as hold it: more of them add memory, not speed, to one pipeline."""
        device, column = self.device, self.column
        assert column is not None
        if self.query.flags.places and device.kind == "gpu":
            return self._placed()
        backend = backend_of(device, self.query.flags.backend)
        need, cards = column.on_one(device.kind, backend), 1
        more = need.card_bytes // max(1, device.free_bytes) + 1
        while not self._fits(need) and 1 < more <= device.count:
            need, cards = column.on_cards(more, backend), more
            more += 1
        split = device.kind == "gpu" and device.ram_free_bytes > 0 and device.free_bytes > 0
        if not self._fits(need):
            away = self._offloaded(column) if split else []
            if away:
                return away
            if cards < device.count and need.card_bytes > device.free_bytes:  # all miss by least
                need, cards = column.on_cards(device.count, backend), device.count
        return [self.layout(cards, need, device.free_bytes)]

    def _placed(self) -> list[Layout]:
        """Where the flags put it: one layout, whether it fits or not."""
        device, flags, spec = self.device, self.query.flags, self.spec
        free = (device.free_bytes,) * device.count
        placing = flags.placing(len(spec.layers), free)
        moved = None
        if placing.cpu_experts > 0:
            moved = Moved(spec, self.quant, moved_names(spec, flags))
        shape = self.query.shape(self.kv_type)
        sums = Sums(spec, self.weights, shape, moved)
        beside = backend_bytes(spec, self.quant, backend_of(device, flags.backend))
        backends = (beside,) * len(placing.split)
        need = placed_footprint(spec, self.weights, shape, placing, sums, backends)
        made = self.layout(
            sum([1 for size in need.cards if size > 0]) or 1,
            need,
            device.free_bytes,
            placing.gpu_layers,
            min(len(spec.layers), flags.cpu_experts or 0),
        )
        if shares_memory(device.model):  # what is left to the processor is the same memory's
            room = device.memory_bytes - need.card_bytes - need.host_bytes
            made = replace(made, spare_bytes=min(made.spare_bytes, room))
        if moved is None:
            return [made]
        return [replace(made, moved_share=self._share(placing.gpu_layers, moved))]

    def _share(self, on_gpu: int, moved: Moved) -> float:
        """Share of what a token reads that lies in RAM: moved tensors, and whole layers there."""
        weights, count = self.weights, len(self.spec.layers)
        below = 0 if on_gpu == ALL_LAYERS else count + 1 - on_gpu
        away, inside = float(moved.active_bytes), max(1, sum(moved.layer_bytes))
        for i in range(min(below, count)):
            experts = weights.expert_bytes[i]
            layer = self.spec.layers[i]
            used = experts * layer.experts_used // layer.experts if layer.experts > 0 else 0
            whole = weights.layer_bytes[i] - experts + used
            away += whole - moved.active_bytes * moved.layer_bytes[i] / inside
        return min(1.0, max(0.0, away) / max(1, weights.active_bytes))

    def _fits(self, need: Footprint) -> bool:
        """What `layout(...).fits` says, for the many that do not and that nobody will see."""
        device = self.device
        if need.card_bytes > device.free_bytes:
            return False
        counted = device.kind == "gpu" and device.ram_free_bytes > 0
        return not counted or need.host_bytes <= device.ram_free_bytes

    def _offloaded(self, column: LayerSums) -> list[Layout]:
        """Experts in RAM where there are any, and as many whole layers on the cards as fit."""
        device, weights = self.device, self.weights
        free = (device.free_bytes,) * device.count
        beside = column.backend_bytes(backend_of(device, self.query.flags.backend))
        split = Split(
            self.spec, weights, column.shape, free, device.ram_free_bytes, column.sums, beside
        )
        out: list[Layout] = []
        if max(weights.expert_bytes, default=0) > 0:
            off = cpu_experts(split)
            if off > 0:
                need = split.need(ALL_LAYERS, off)
                out.append(self.layout(device.count, need, device.free_bytes, ALL_LAYERS, off))
        on_gpu = gpu_layers(split)
        if on_gpu > 0:
            need = split.need(on_gpu, 0)
            out.append(self.layout(device.count, need, device.free_bytes, on_gpu))
        return out

    def _loaded_bytes(self) -> int:
        """Weights as an engine loads them that knows of no files beside the model."""
        return self.weights.total_bytes + self.query.beside.weights_bytes

    def _mlx(self) -> list[Layout]:
        """Unified memory; the device says how much of it Metal lets one process have."""
        if self.device.kind != "apple" or self.kv_type not in KV_BITS:
            return []
        bits = KV_BITS[self.kv_type]
        shape = MlxShape(
            context=self.query.context,
            sequences=self.query.batch,
            kv_bits=bits,
            build=self.query.options.build or BUILD,
            neural=has_neural(self.device.model),
        )
        try:
            need = mlx_footprint(self.spec, self._loaded_bytes(), shape)
        except SpecError:
            return []
        return [self.layout(1, need, self.device.free_bytes)]

    def _served(self) -> list[Layout]:
        """Every number of cards the engine can split the model over; it takes a share of each.

        A pipeline adds memory, not speed: it is tried where less does not fit, or by name.
        """
        device, query = self.device, self.query
        out: list[Layout] = []
        if device.kind != "gpu":
            return out
        for split in candidates(self.spec, self.engine, query.options, device.count):
            fits = any(layout.fits for layout in out)
            if split[1] > 1 and fits and query.options.pipeline_parallel == 0:
                continue
            found = served(
                self.spec,
                self.weights,
                device,
                self.engine,
                query.options,
                query.context,
                self.kv_type,
                split,
                query.beside.weights_bytes,
            )
            if found is None:
                return out
            out.append(self._laid(found))
        return out

    def _laid(self, found: Served) -> Layout:
        need = found.need(self.query.batch)
        made = self.layout(found.cards, need, found.usable_bytes)
        return replace(made, stages=found.stages, log=found.figures())
