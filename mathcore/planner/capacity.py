"""What a device can do with a model at most: every inverse question of `capacity`, answered once.

Whether something fits is the planner's rule: one card if it can be, else as many as there are.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import final

from mathcore.device import DeviceSpec
from mathcore.engines.footprint import MAX_CONTEXT, MAX_SEQUENCES, ContextShape
from mathcore.engines.llamacpp.cache import CELL_PAD
from mathcore.engines.llamacpp.device.backends import backend_bytes
from mathcore.engines.llamacpp.fit import Split, cpu_experts, gpu_layers
from mathcore.engines.llamacpp.memory import footprint
from mathcore.engines.llamacpp.offload import Placing, Sums, placed_footprint
from mathcore.engines.mlx import KV_BITS, mlx_footprint
from mathcore.engines.mlx_scores import MlxShape
from mathcore.engines.ollama import OllamaStart, ollama_start, slots
from mathcore.model.spec import ModelSpec, SpecError
from mathcore.planner.layouts import backend_of
from mathcore.quant.ladder import ladder, nats_of
from mathcore.quant.weights import Weights, quant_fault, weigh

LLAMACPP, MLX = "llama.cpp", "mlx"
OLLAMA = "ollama"  # llama.cpp's memory, with slots and a batch of its own choice
ENGINES: tuple[str, ...] = (LLAMACPP, MLX)


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Capacity:
    """The most of each kind; 0 or "" where nothing fits, -1 where RAM does not help either.

    All but `best_quant` are at `quant`; `context` is per sequence at the batch asked about,
    `sequences` at the context asked about. Layers count the output as one, as llama.cpp does.
    """

    device: DeviceSpec
    engine: str
    quant: str
    best_quant: str
    context: int
    sequences: int
    gpu_layers: int  # of `layers`; all of them when it fits
    layers: int
    cpu_experts: int  # layers whose experts must stay in RAM; 0 when it fits
    quality: float  # at `quant`: 1 = as published
    chosen: OllamaStart | None = None  # what Ollama starts with where nobody says otherwise


@final
class Model:
    """A model on a device with an engine."""

    __slots__ = ("device", "engine", "spec", "weighed")

    def __init__(self, spec: ModelSpec, device: DeviceSpec, engine: str) -> None:
        self.spec = spec
        self.device = device
        self.engine = engine
        self.weighed: dict[str, Weights] = {}

    def weights(self, quant: str) -> Weights:
        if quant not in self.weighed:
            self.weighed[quant] = weigh(self.spec, quant)
        return self.weighed[quant]

    def fits(self, quant: str, shape: ContextShape) -> bool:
        """Whether it lies wholly on the device, within what is free there for sure."""
        device, weights = self.device, self.weights(quant)
        if self.engine == MLX:
            asked = MlxShape(
                context=shape.context, sequences=shape.sequences, kv_bits=KV_BITS[shape.kv_type]
            )
            need = mlx_footprint(self.spec, weights.total_bytes, asked)
            return need.card_bytes <= device.sure_bytes
        beside = backend_bytes(self.spec, quant, backend_of(device))
        need = footprint(self.spec, weights, shape, device.kind, beside)
        if need.card_bytes <= device.sure_bytes:
            return True
        sums = Sums(self.spec, weights, shape) if device.count > 1 else None
        for cards in range(2, device.count + 1):
            placing = Placing(split=(1,) * cards)
            need = placed_footprint(self.spec, weights, shape, placing, sums, (beside,) * cards)
            if need.card_bytes <= device.sure_bytes:
                return True
        return False

    def best(self, shape: ContextShape) -> str:
        """The best type that fits; a file has only its own."""
        tried = (self.spec.quant,) if self.spec.quant else ladder(self.spec, self.engine)
        for quant in tried:
            known = bool(self.spec.quant) or not quant_fault(self.spec, quant)
            if known and self.fits(quant, shape):
                return quant
        return ""


def most(fits: Callable[[int], bool], limit: int) -> int:
    """The largest number up to `limit` that fits, 0 when not even 1 does."""
    low, high = 0, 1
    while high <= limit and fits(high):
        low, high = high, high * 2
    high = min(high, limit + 1)
    while high - low > 1:
        middle = (low + high) // 2
        if fits(middle):
            low = middle
        else:
            high = middle
    return low


def _shape(shape: ContextShape, context: int, sequences: int) -> ContextShape:
    return ContextShape(
        context=context,
        sequences=sequences,
        kv_type=shape.kv_type,
        micro_batch=shape.micro_batch,
    )


def largest_context(model: Model, quant: str, shape: ContextShape) -> int:
    """Tokens per sequence, in steps of 256 cells, at most what the model was trained for."""
    trained = model.spec.longest or MAX_CONTEXT

    def fits(steps: int) -> bool:
        context = min(trained, steps * CELL_PAD)
        return model.fits(quant, _shape(shape, context, shape.sequences))

    return min(trained, CELL_PAD * most(fits, (trained + CELL_PAD - 1) // CELL_PAD))


def largest_sequences(model: Model, quant: str, shape: ContextShape) -> int:
    """Sequences of the context asked about."""

    def fits(sequences: int) -> bool:
        return model.fits(quant, _shape(shape, shape.context, sequences))

    return most(fits, MAX_SEQUENCES)


def capacity(
    spec: ModelSpec, device: DeviceSpec, shape: ContextShape, quant: str = "", asked: str = ""
) -> Capacity:
    """Every answer for one device, at `quant` or the best that fits, with llama.cpp or else MLX.

    `asked` names the engine: one of these or Ollama. SpecError where the device runs none, or the
    model cannot be stored as `quant`.
    """
    if asked and asked not in device.engines:
        raise SpecError("engine", f"{device.name} does not run {asked}")
    engine = asked or next((name for name in ENGINES if name in device.engines), "")
    if not engine or (engine == MLX and shape.kv_type not in KV_BITS):
        raise SpecError("engine", f"{device.name} runs neither llama.cpp nor MLX")
    named, engine = engine, LLAMACPP if engine == OLLAMA else engine
    model = Model(spec, device, engine)
    best = model.best(shape)
    chosen = quant or best or spec.quant or ladder(spec, engine)[-1]
    fault = "" if spec.quant else quant_fault(spec, chosen, "mlx" if engine == MLX else "gguf")
    if fault or (spec.quant and chosen != spec.quant):
        raise SpecError("quant", fault or f"the file holds {spec.quant}, not {chosen}")
    layers = len(spec.layers) + 1
    on_gpu, off_experts = layers, 0
    if not model.fits(chosen, shape):
        on_gpu, off_experts = _offloaded(model, chosen, shape)
    return Capacity(
        device=device,
        engine=named,
        quant=chosen,
        best_quant=best,
        context=largest_context(model, chosen, shape),
        sequences=_slots(spec, named, largest_sequences(model, chosen, shape)),
        gpu_layers=on_gpu,
        layers=layers,
        cpu_experts=off_experts,
        quality=math.exp(-nats_of(spec, chosen)),
        chosen=_chosen(model, chosen) if named == OLLAMA else None,
    )


def _chosen(model: Model, quant: str) -> OllamaStart:
    """Ollama's own start on all cards of the device."""
    device = model.device
    total, free = device.memory_bytes * device.count, device.free_bytes * device.count
    return ollama_start(model.spec, model.weights(quant).total_bytes, total, free)


def _slots(spec: ModelSpec, engine: str, most: int) -> int:
    """Sequences at once: as many as fit, and as Ollama serves of such a model."""
    return min(most, slots(spec.architecture, most)) if engine == OLLAMA and most else most


def _offloaded(model: Model, quant: str, shape: ContextShape) -> tuple[int, int]:
    """(layers on the cards, layers whose experts are in RAM), -1 for what does not work."""
    device, weights = model.device, model.weights(quant)
    if model.engine != LLAMACPP or device.kind != "gpu":
        return -1, -1
    if device.ram_free_bytes == 0 or device.free_bytes == 0:
        return -1, -1
    free = (device.free_bytes,) * device.count
    beside = backend_bytes(model.spec, quant, backend_of(device))
    split = Split(model.spec, weights, shape, free, device.ram_free_bytes, None, beside)
    experts = cpu_experts(split) if max(weights.expert_bytes, default=0) > 0 else -1
    return gpu_layers(split), experts
